// Alerts: the rules with how they stand, the worst first; one of them with its history; and the channels that are told.

import * as Tabs from "@radix-ui/react-tabs";
import { useState, type ReactNode } from "react";
import { alertHistory, alerts as askAlerts, channels as askChannels, deleteAlert, putAlert, silence, unsilence, type Alert, type KnownChannel } from "../api/alerts";
import { asApiError, type ApiError } from "../api/error";
import { mayAlert } from "../api/session";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { figure, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive, useNow } from "../parts/live";
import { Plain } from "../parts/plain";
import { Empty, Failed, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Badge, Instant } from "../parts/text";
import { adjust, Link, usePlace } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { useWatch } from "../watch";
import { AlertEditor } from "./alert-edit";
import { conditionText, ordered, periodText, queryText, ruleOf, formOf, SEVERITIES, silenced, STATE_TITLES, stateTone, wanting } from "./alerting";
import { Channels } from "./channels";

const severityText = (alert: Pick<Alert, "severity">): string => SEVERITIES.find(([name]) => name === alert.severity)?.[1] ?? alert.severity;

export default function Alerts(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const { refresh } = useWatch();
  const writes = mayAlert(who, "WRITE");
  const tab = writes && parameters.get("tab") === "channels" ? "channels" : "rules";
  const name = parameters.get("name");
  const [wanted, setWanted] = useState("");
  const [editing, setEditing] = useState<Alert | "new" | null>(null);
  const [channel, setChannel] = useState<KnownChannel | "new" | null>(null);
  const live = useLive(async (signal) => (await askAlerts(signal)) ?? [], [who.username], 10_000);
  // Channels are told to whom may change them.
  const told = useLive(async (signal) => (writes ? askChannels(signal) : ([] as KnownChannel[])), [who.username, writes], 60_000);
  const again = (): void => {
    live.refresh();
    refresh();
  };
  const open = live.data?.find((one) => one.name === name) ?? null;
  return (
    <div className="page fill">
      <Head title="Alerts" about="Rules over statements and metrics that the cluster evaluates by itself, and whom it tells.">
        {tab === "rules" && <Filter value={wanted} onChange={setWanted} label="Find a rule" />}
        {writes && (
          <button type="button" className="primary" onClick={() => (tab === "rules" ? setEditing("new") : setChannel("new"))}>
            <Icon name="add" /> {tab === "rules" ? "New rule" : "New channel"}
          </button>
        )}
      </Head>
      <Tabs.Root value={tab} onValueChange={(value) => adjust({ tab: value === "rules" ? null : value, name: null })} className="panel column">
        {writes && (
          <Tabs.List className="tabs" aria-label="About alerts">
            <Tabs.Trigger value="rules">Rules</Tabs.Trigger>
            <Tabs.Trigger value="channels">Channels</Tabs.Trigger>
          </Tabs.List>
        )}
        <Tabs.Content value="rules" className="panel-content">
          <Shown live={live}>{(all) => <Rules all={all} wanted={wanted} writes={writes} />}</Shown>
        </Tabs.Content>
        <Tabs.Content value="channels" className="panel-content">
          <Shown live={told}>{(all) => <Channels all={all} used={live.data ?? []} editing={channel} onEdit={setChannel} again={told.refresh} />}</Shown>
        </Tabs.Content>
      </Tabs.Root>
      {open !== null && editing === null && <One alert={open} writes={writes} onClose={() => adjust({ name: null })} onEdit={() => setEditing(open)} again={again} />}
      {name !== null && open === null && live.data !== null && editing === null && (
        <Dialog title={<bdi>{name}</bdi>} kind="side" onClose={() => adjust({ name: null })}>
          <Empty title="There is no such alert">It may have been deleted.</Empty>
        </Dialog>
      )}
      {editing !== null && (
        <AlertEditor
          alert={editing === "new" ? null : editing}
          channels={told.data ?? []}
          onClose={() => setEditing(null)}
          onDone={(made) => {
            again();
            adjust({ name: made, tab: null });
          }}
        />
      )}
    </div>
  );
}

function Rules({ all, wanted, writes }: { all: Alert[]; wanted: string; writes: boolean }): ReactNode {
  const now = useNow(5000);
  const columns: TableColumn<Alert>[] = [
    {
      key: "state",
      title: "State",
      width: 150,
      text: (one) => STATE_TITLES[one.state],
      value: (one) => ordered(all, now).indexOf(one),
      show: (one) => (
        <span className="row-tight">
          <Badge tone={silenced(one, now) ? "quiet" : stateTone(one.state)}>{STATE_TITLES[one.state]}</Badge>
          {silenced(one, now) && <Icon name="mute" size={14} />}
        </span>
      ),
    },
    { key: "severity", title: "Severity", width: 138, yields: 2, text: severityText, value: (one) => SEVERITIES.findIndex(([name]) => name === one.severity) },
    { key: "name", title: "Name", least: 180, text: (one) => one.name },
    { key: "value", title: "Value", width: 110, end: true, text: (one) => (one.value === null ? "–" : figure(one.value)), value: (one) => one.value },
    { key: "condition", title: "Fires when", width: 170, text: (one) => conditionText(one.condition) },
    { key: "query", title: "Of", yields: 3, text: (one) => queryText(one.query) },
    { key: "since", title: "Since", width: 125, yields: 1, text: (one) => one.since ?? "–", show: (one) => <Instant at={one.since} relative={now} /> },
  ];
  const bad = wanting(all, now).length;
  const quiet = all.filter((one) => silenced(one, now)).length;
  return (
    <>
      {all.length > 0 && (
        <p className="toolbar muted small" role="status">
          {plural(all.length, "rule")}
          {bad === 0 ? "; none wants anybody now" : `; ${bad} ${bad === 1 ? "wants" : "want"} somebody`}
          {quiet > 0 && `; ${quiet} silenced`}.
        </p>
      )}
      <Table
          label="Rules"
          rows={matching(ordered(all, now), columns, wanted)}
          columns={columns}
          heightMax={2000}
          onOpen={(one) => adjust({ name: one.name })}
          empty={<Empty title={all.length === 0 ? "No rules yet" : "None like that"}>{all.length === 0 && (writes ? "A rule watches a figure: rows that stop coming, errors that rise, a stream that falls behind." : "Who may change alerts has made none.")}</Empty>}
      />
    </>
  );
}

function One({ alert, writes, onClose, onEdit, again }: { alert: Alert; writes: boolean; onClose: () => void; onEdit: () => void; again: () => void }): ReactNode {
  const now = useNow(5000);
  const [question, setQuestion] = useState<Question | null>(null);
  const [silencing, setSilencing] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const history = useLive((signal) => alertHistory(alert.name, signal), [alert.name, alert.state, alert.version], 15_000);
  const quiet = silenced(alert, now);
  const act = async (how: () => Promise<unknown>): Promise<void> => {
    setError(null);
    try {
      await how();
      again();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  const off = alert.disabled === true || alert.state === "disabled";
  const toggle = (): Promise<unknown> => {
    const said = ruleOf({ ...formOf(alert.name, alert), disabled: !off });
    return "rule" in said ? putAlert(alert.name, said.rule, alert.version) : Promise.resolve();
  };
  return (
    <>
    <Dialog
      kind="side"
      wide
      title={<bdi>{alert.name}</bdi>}
      onClose={onClose}
      foot={
        writes ? (
          <>
            <button type="button" onClick={() => setQuestion({ title: `Delete the rule ${alert.name}?`, consequence: "It is no longer evaluated, and its history goes with it. Nobody is told that it is gone.", action: "Delete it", grave: true, type: alert.name, act: () => deleteAlert(alert.name) })}>
              Delete…
            </button>
            <span className="grow" />
            <button type="button" onClick={() => void act(toggle)}>
              {off ? "Switch on" : "Switch off"}
            </button>
            {quiet ? (
              <button type="button" onClick={() => void act(() => unsilence(alert.name))}>
                End the silence
              </button>
            ) : (
              <button type="button" onClick={() => setSilencing(true)}>
                Silence…
              </button>
            )}
            <button type="button" className="primary" onClick={onEdit}>
              Change
            </button>
          </>
        ) : undefined
      }
    >
      {error !== null && <Failed error={error} />}
      {alert.description !== null && alert.description !== undefined && alert.description !== "" && <p className="prose">{alert.description}</p>}
      {quiet && alert.silence !== null && (
        <div className="notice warn" role="status">
          <Icon name="mute" />
          <div>
            <strong>Silenced</strong> until <Instant at={alert.silence.until} /> by <bdi>{alert.silence.by}</bdi>: <bdi>{alert.silence.reason}</bdi>
          </div>
        </div>
      )}
      {alert.lastError !== null && (
        <div className="notice bad" role="alert">
          <Icon name="warn" />
          <div className="grow">
            <strong>It could not be evaluated</strong>
            <div className="said">
              <bdi>{alert.lastError}</bdi>
            </div>
          </div>
        </div>
      )}
      <dl className="facts">
        <dt>State</dt>
        <dd>
          <Badge tone={stateTone(alert.state)}>{STATE_TITLES[alert.state]}</Badge> {alert.since !== null && <span className="muted">since <Instant at={alert.since} /></span>}
        </dd>
        <dt>Value</dt>
        <dd className="figures">{alert.value === null ? "none" : figure(alert.value)}</dd>
        <dt>Fires when</dt>
        <dd>
          {conditionText(alert.condition)}{alert.for === "PT0S" ? "" : `, for ${periodText(alert.for)}`}
        </dd>
        <dt>Evaluated</dt>
        <dd>
          each {periodText(alert.every)}, {alert.lastEvaluated === null ? "not yet" : <>last <Instant at={alert.lastEvaluated} relative={now} /></>}
        </dd>
        <dt>Severity</dt>
        <dd>{severityText(alert)}</dd>
        <dt>Tells</dt>
        <dd>{alert.notify.length === 0 ? "nobody: it is seen here only" : `${alert.notify.join(", ")}${alert.repeat === null || alert.repeat === undefined ? "" : `, again each ${periodText(alert.repeat)} while it fires`}`}</dd>
        <dt>Owner</dt>
        <dd>
          <bdi>{alert.owner}</bdi>
        </dd>
      </dl>
      <div className="stack">
        <h3>{"sql" in alert.query ? "Statement" : "Metric"}</h3>
        <pre className="document">{"sql" in alert.query ? alert.query.sql : queryText(alert.query)}</pre>
        {"sql" in alert.query && (
          <Link to="/query" with={{ q: alert.query.sql }}>
            Open as a query
          </Link>
        )}
      </div>
      <section className="stack" aria-label="History">
        <h3>History</h3>
        <Shown live={history}>
          {(all) =>
            all.length === 0 ? (
              <p className="muted">Its state has not changed yet.</p>
            ) : (
              <Plain heads={["When", "From", "To", { figures: "Value" }, "Told"]}>
                {all.slice(0, 100).map((one) => (
                  <tr key={`${one.time} ${one.from} ${one.to} ${String(one.repeat)}`}>
                    <td>
                      <Instant at={one.time} />
                    </td>
                    <td className="muted">{STATE_TITLES[one.from] ?? one.from}</td>
                    <td>
                      <Badge tone={stateTone(one.to)}>{STATE_TITLES[one.to] ?? one.to}</Badge>
                      {one.repeat === true && <div className="muted small">told again</div>}
                    </td>
                    <td className="number">{one.value === null ? "–" : figure(one.value)}</td>
                    <td>
                      {one.notified.length === 0 ? (
                        <span className="muted">nobody</span>
                      ) : (
                        one.notified.map((each) => (
                          <div key={each.channel} title={each.error ?? undefined}>
                            <Badge tone={each.ok === null ? "warn" : each.ok ? "good" : "bad"}>
                              <bdi>{each.channel}</bdi>
                            </Badge>
                            {each.ok === null && <div className="muted small">not told yet</div>}
                            {each.error !== null && each.error !== undefined && (
                              <div className="muted small">
                                <bdi>{each.error}</bdi>
                              </div>
                            )}
                          </div>
                        ))
                      )}
                    </td>
                  </tr>
                ))}
              </Plain>
            )
          }
        </Shown>
      </section>
    </Dialog>
      {silencing && <SilenceDialog name={alert.name} onClose={() => setSilencing(false)} onDone={again} />}
      {question !== null && (
        <Confirm
          question={question}
          onClose={() => setQuestion(null)}
          onDone={() => {
            onClose();
            again();
          }}
        />
      )}
    </>
  );
}

const LENGTHS: [number, string][] = [[30, "30 minutes"], [60, "1 hour"], [240, "4 hours"], [720, "12 hours"], [1440, "1 day"], [10_080, "7 days"]];

function SilenceDialog({ name, onClose, onDone }: { name: string; onClose: () => void; onDone: () => void }): ReactNode {
  const [minutes, setMinutes] = useState(60);
  const [reason, setReason] = useState("");
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const until = useNow(30_000) + minutes * 60_000;
  const act = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await silence(name, new Date(Date.now() + minutes * 60_000).toISOString(), reason.trim());
      onDone();
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={<>Silence <bdi>{name}</bdi></>}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Keep it as it is
          </button>
          <button type="button" className="primary" disabled={busy || reason.trim() === ""} onClick={() => void act()}>
            Silence it
          </button>
        </>
      }
    >
      <p className="prose">It is evaluated as before, and nobody is told. When the silence ends and it fires still, it is told then.</p>
      <div className="pair">
        <label className="field">
          <span>For</span>
          <select value={minutes} onChange={(event) => setMinutes(Number(event.target.value))}>
            {LENGTHS.map(([length, title]) => (
              <option key={length} value={length}>
                {title}
              </option>
            ))}
          </select>
          <small>
            until <Instant at={Math.round(until / 60_000) * 60_000} />
          </small>
        </label>
        <label className="field">
          <span>Why</span>
          <input value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} placeholder="what is being done about it" autoComplete="off" data-first />
        </label>
      </div>
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

