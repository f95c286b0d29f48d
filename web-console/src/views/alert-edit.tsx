// Making or changing a rule, with what it would say now beside it: the rule as it stands in the form is tried as it is written.

import { lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { alert as askAlert, putAlert, tryAlert, type Alert, type KnownChannel, type Op, type Severity, type Tried } from "../api/alerts";
import { metrics } from "../api/cluster";
import { asApiError, type ApiError } from "../api/error";
import { mayAny } from "../api/session";
import { Dialog } from "../parts/dialog";
import { figure } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Failed, Loading } from "../parts/state";
import { Badge, Name } from "../parts/text";
import { useSession } from "../session";
import { BLANK, conditionText, formOf, FUNCTIONS, OPS, periodText, ruleOf, SEVERITIES, type Form } from "./alerting";
import { useVocabulary } from "./vocabulary";

const Editor = lazy(() => import("../parts/editor"));

const EVERY = ["PT10S", "PT30S", "PT1M", "PT5M", "PT15M", "PT1H"];
const FOR = ["PT0S", "PT30S", "PT1M", "PT5M", "PT15M", "PT1H"];
const OVER = ["PT1M", "PT5M", "PT15M", "PT1H", "P1D"];
const REPEAT = ["", "PT30M", "PT1H", "PT4H", "P1D"];
const BEFORE = ["PT5M", "PT1H", "P1D", "P7D"];

function Period({ label, value, of, zero, onChange }: { label: string; value: string; of: string[]; zero?: string; onChange: (value: string) => void }): ReactNode {
  return (
    <label className="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {[...new Set([...of, value])].map((one) => (
          <option key={one} value={one}>
            {(one === "PT0S" || one === "") && zero !== undefined ? zero : periodText(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

export function AlertEditor({ alert, channels, onClose, onDone }: { alert: Alert | null; channels: KnownChannel[]; onClose: () => void; onDone: (name: string) => void }): ReactNode {
  const { who } = useSession();
  const [form, setForm] = useState<Form>(() => (alert === null ? BLANK : formOf(alert.name, alert)));
  const [version, setVersion] = useState(alert?.version ?? null);
  const [theirs, setTheirs] = useState<Alert | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const known = useVocabulary();
  const names = useLive(async (signal) => (mayAny(who, "STATE", "READ") ? [...new Set((await metrics(signal)).map((one) => one.name))].sort() : []), [who.username]);
  const set = (change: Partial<Form>): void => setForm((before) => ({ ...before, ...change }));
  const said = ruleOf(form);
  const ready = "rule" in said && form.name.trim() !== "";

  const save = async (over: number | null): Promise<void> => {
    if (!("rule" in said)) return;
    setBusy(true);
    setError(null);
    try {
      await putAlert(form.name.trim(), said.rule, over);
      onDone(form.name.trim());
      onClose();
    } catch (thrown) {
      const failed = asApiError(thrown);
      const now = failed.status === 409 ? await askAlert(form.name.trim()).catch(() => null) : null;
      if (now !== null && now.version !== over) setTheirs(now);
      else setError(failed);
      setBusy(false);
    }
  };
  const numbers = form.condition !== "absence";
  return (
    <Dialog
      kind="side"
      wide
      title={alert === null ? "New rule" : <>Change <bdi>{alert.name}</bdi></>}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={!ready || busy} onClick={() => void save(version)}>
            {busy ? "Saving…" : alert === null ? "Make the rule" : "Save"}
          </button>
        </>
      }
    >
      {theirs !== null && (
        <div className="notice warn" role="alert">
          <Icon name="warn" />
          <div className="grow">
            <strong>{alert === null ? "There is a rule of this name" : "Somebody else has changed this rule"}</strong>
            <div>
              {alert === null ? "Choose another name, or see what it says." : "Take what they wrote, or put yours over it."}
              <span className="row">
                <button
                  type="button"
                  onClick={() => {
                    setForm(formOf(theirs.name, theirs));
                    setVersion(theirs.version);
                    setTheirs(null);
                  }}
                >
                  {alert === null ? "Open it here" : "Take theirs"}
                </button>
                {alert !== null && (
                  <button type="button" onClick={() => void save(theirs.version).then(() => setTheirs(null))}>
                    Put mine over it
                  </button>
                )}
              </span>
            </div>
          </div>
        </div>
      )}
      <div className="panel-fields">
        <label className="field grow">
          <span>Name</span>
          <input value={form.name} maxLength={128} pattern="[A-Za-z0-9._ \-]+" title="Letters, digits, spaces, dots, dashes and underscores" readOnly={alert !== null} onChange={(event) => set({ name: event.target.value })} autoComplete="off" spellCheck={false} data-first />
        </label>
        <label className="field">
          <span>Severity</span>
          <select value={form.severity} onChange={(event) => set({ severity: event.target.value as Severity })}>
            {SEVERITIES.map(([severity, title]) => (
              <option key={severity} value={severity}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </div>
      <label className="field">
        <span>Description</span>
        <input value={form.description} maxLength={2000} onChange={(event) => set({ description: event.target.value })} placeholder="what it means, and what to do about it" autoComplete="off" />
      </label>
      <fieldset>
        <legend>What is watched</legend>
        <div className="segmented" role="group" aria-label="What is watched">
          <button type="button" aria-pressed={form.from === "sql"} onClick={() => set({ from: "sql" })}>
            A statement
          </button>
          <button type="button" aria-pressed={form.from === "metric"} onClick={() => set({ from: "metric" })}>
            A metric of the cluster
          </button>
        </div>
        {form.from === "sql" ? (
          <div className="field">
            <div className="edit-room">
              <Suspense fallback={<Loading what="Opening the editor" />}>
                <Editor value={form.sql} onChange={(sql) => set({ sql })} language="sql" label="Statement of the rule" vocabulary={known.data} placeholder={'SELECT COUNT(*) FROM "…" WHERE __time > CURRENT_TIMESTAMP - INTERVAL \'5\' MINUTE'} />
              </Suspense>
            </div>
            <small className="muted">The first column of the first row is the value. It is asked with the rights of who saved the rule last.</small>
          </div>
        ) : (
          <>
            <div className="panel-fields">
              <label className="field grow">
                <span>Metric</span>
                <input list="metric-names" value={form.metric} onChange={(event) => set({ metric: event.target.value })} placeholder="henge_…" autoComplete="off" spellCheck={false} />
                <datalist id="metric-names">
                  {(names.data ?? []).map((one) => (
                    <option key={one} value={one} />
                  ))}
                </datalist>
              </label>
              <label className="field">
                <span>Taken as</span>
                <select value={form.function} onChange={(event) => set({ function: event.target.value as Form["function"] })}>
                  {FUNCTIONS.map(([name, title]) => (
                    <option key={name} value={name}>
                      {title}
                    </option>
                  ))}
                </select>
              </label>
              <Period label="Over the last" value={form.over} of={OVER} onChange={(over) => set({ over })} />
            </div>
            <label className="field">
              <span>Labels</span>
              <input value={form.labels} onChange={(event) => set({ labels: event.target.value })} placeholder="supervisor=payments; without any, all of the metric's series" autoComplete="off" spellCheck={false} />
            </label>
          </>
        )}
      </fieldset>
      <fieldset>
        <legend>When it fires</legend>
        <div className="panel-fields">
          <label className="field">
            <span>Figure</span>
            <select value={form.condition} onChange={(event) => set({ condition: event.target.value as Form["condition"] })}>
              <option value="threshold">against a number</option>
              <option value="change">against its past</option>
              <option value="absence">is missing</option>
            </select>
          </label>
          {numbers && (
            <label className="field">
              <span>{form.condition === "change" ? "Its change is" : "It is"}</span>
              <select value={form.op} onChange={(event) => set({ op: event.target.value as Op })}>
                {OPS.map(([name, title]) => (
                  <option key={name} value={name}>
                    {title}
                  </option>
                ))}
              </select>
            </label>
          )}
          {form.condition === "threshold" && (
            <label className="field">
              <span>Number</span>
              <input inputMode="decimal" value={form.value} onChange={(event) => set({ value: event.target.value })} autoComplete="off" />
              {Math.abs(Number(form.value)) >= 10_000 && <small className="figures">{figure(Number(form.value))}</small>}
            </label>
          )}
          {form.condition === "change" && (
            <>
              <label className="field">
                <span>Percent</span>
                <input inputMode="decimal" value={form.percent} onChange={(event) => set({ percent: event.target.value })} autoComplete="off" />
              </label>
              <Period label="Against" value={form.period} of={BEFORE} onChange={(period) => set({ period })} />
            </>
          )}
        </div>
        <div className="panel-fields">
          <Period label="Evaluated each" value={form.every} of={EVERY} onChange={(every) => set({ every })} />
          <Period label="Fires after" value={form.for} of={FOR} zero="at once" onChange={(length) => set({ for: length })} />
          <Period label="Told again each" value={form.repeat} of={REPEAT} zero="never" onChange={(repeat) => set({ repeat })} />
        </div>
        <Trying form={form} />
      </fieldset>
      <fieldset>
        <legend>Whom it tells</legend>
        {channels.length === 0 ? (
          <span className="muted">There are no channels yet. Without one, it is seen on this page and at home.</span>
        ) : (
          <div className="role-list">
            {[...new Set([...channels.map((one) => one.name), ...form.notify])].map((name) => (
              <label key={name} className="check">
                <input type="checkbox" checked={form.notify.includes(name)} onChange={(event) => set({ notify: event.target.checked ? [...form.notify, name] : form.notify.filter((one) => one !== name) })} />
                <Name>{name}</Name>
              </label>
            ))}
          </div>
        )}
      </fieldset>
      {!ready && form.name.trim() === "" && <p className="muted">It needs a name.</p>}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

/** Tried when the person pauses; one try at a time, and an older answer never stands for a newer rule. */
function Trying({ form }: { form: Form }): ReactNode {
  const said = ruleOf({ ...form, notify: [] });
  const asked = "rule" in said ? JSON.stringify(said.rule) : null;
  const [state, setState] = useState<{ of: string; tried: Tried | null; error: ApiError | null } | null>(null);
  useEffect(() => {
    if (asked === null) return;
    const stop = new AbortController();
    const timer = window.setTimeout(() => {
      tryAlert(JSON.parse(asked), stop.signal).then(
        (tried) => setState({ of: asked, tried, error: null }),
        (thrown: unknown) => {
          if (!stop.signal.aborted) setState({ of: asked, tried: null, error: asApiError(thrown) });
        },
      );
    }, 800);
    return () => {
      window.clearTimeout(timer);
      stop.abort();
    };
  }, [asked]);
  const known = state !== null && state.of === asked ? state : null;
  const problem = known?.error?.message ?? known?.tried?.error ?? null;
  return (
    <div className="trying" role="status" aria-label="What it would say now">
      {"lacks" in said ? (
        <span className="muted">{said.lacks}</span>
      ) : known === null ? (
        <span className="muted">Trying…</span>
      ) : problem !== null ? (
        <span className="wrong said">
          <bdi>{problem}</bdi>
        </span>
      ) : (
        <>
          <span>
            Now <strong className="figures">{known.tried?.value === null || known.tried === null ? "no value" : figure(known.tried.value)}</strong>
          </span>
          <Badge tone={known.tried?.wouldBe === "firing" ? "bad" : "good"}>{known.tried?.wouldBe === "firing" ? "it would fire" : "all would be well"}</Badge>
          <span className="muted">it fires when {conditionText(said.rule.condition)}</span>
        </>
      )}
    </div>
  );
}
