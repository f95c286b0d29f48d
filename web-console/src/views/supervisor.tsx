// One supervisor: how far it is behind by partition, what its tasks read, what could not be parsed, its spec and what it was.

import { useState, type ReactNode } from "react";
import { actOnSupervisor, parseErrors, supervisorHistory, supervisorSpec, supervisorStats, supervisorStatus, type SupervisorAction, type SupervisorStatus } from "../api/ingestion";
import { may } from "../api/session";
import { Dialog, type Question } from "../parts/dialog";
import { bytes, count, duration, figure, plural } from "../parts/format";
import { useLive } from "../parts/live";
import { Document, LiveDocument, Panes } from "../parts/panes";
import { Plain } from "../parts/plain";
import { Empty, Shown } from "../parts/state";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { Link, usePlace } from "../router";
import { useSession } from "../session";

export function questionOf(action: SupervisorAction, id: string): Question {
  const act = (): Promise<void> => actOnSupervisor(id, action);
  switch (action) {
    case "suspend":
      return { title: `Suspend ${id}?`, consequence: "Its tasks publish what they have read and stop. New events wait in Kafka, as long as Kafka keeps them, and are read when it goes on.", action: "Suspend it", act };
    case "resume":
      return { title: `Let ${id} go on?`, consequence: "It reads on from where it stopped; what waited meanwhile is read first.", action: "Go on", act };
    case "reset":
      return {
        title: `Forget the positions of ${id}?`,
        consequence: "It begins anew at the earliest or latest event, as its spec says. Events may then be counted twice, or be passed over: use it only when Kafka no longer has the events at its positions.",
        action: "Forget the positions",
        grave: true,
        type: id,
        act,
      };
    case "terminate":
      return { title: `End ${id}?`, consequence: "Its tasks publish what they have read, and nothing reads this stream any more. What was published stays. Its spec stays in its history.", action: "End it", grave: true, type: id, act };
  }
}

export function SupervisorDetail({ id, onClose, ask, round }: { id: string; onClose: () => void; ask: (question: Question) => void; round: number }): ReactNode {
  const { who } = useSession();
  const live = useLive((signal) => supervisorStatus(id, signal), [id, round], 3000);
  const status = live.data;
  const writes = status !== null && (may(who, "DATASOURCE", status.dataSource, "WRITE") || may(who, "SUPERVISOR", status.dataSource, "WRITE"));
  return (
    <Dialog
      kind="side"
      wide
      title={<Name>{id}</Name>}
      onClose={onClose}
      foot={
        writes ? (
          <>
            <button type="button" onClick={() => ask(questionOf("terminate", id))}>
              End…
            </button>
            <button type="button" onClick={() => ask(questionOf("reset", id))}>
              Forget positions…
            </button>
            <button type="button" onClick={() => ask(questionOf(status.suspended ? "resume" : "suspend", id))}>
              {status.suspended ? "Go on…" : "Suspend…"}
            </button>
            <Link to="/load" with={{ edit: id }} className="button primary">
              Edit its spec
            </Link>
          </>
        ) : undefined
      }
    >
      <Panes
        label="About this supervisor"
        first={usePlace().parameters.get("about") === "errors" ? "errors" : "status"}
        panes={[
          { key: "status", title: "Status", show: () => <Shown live={live}>{(now) => <StatusOf id={id} now={now} />}</Shown> },
          { key: "errors", title: "Parse errors", show: () => <Errors id={id} /> },
          { key: "spec", title: "Spec", show: () => <LiveDocument id={id} load={supervisorSpec} /> },
          { key: "history", title: "History", show: () => <Versions id={id} /> },
        ]}
      />
    </Dialog>
  );
}

function StatusOf({ id, now }: { id: string; now: SupervisorStatus }): ReactNode {
  const rates = useLive((signal) => supervisorStats(id, signal), [id], 3000);
  const current: Record<string, number> = Object.assign({}, ...now.activeTasks.map((task) => task.currentOffsets ?? {})) as Record<string, number>;
  const partitions = [...new Set([...Object.keys(now.latestOffsets ?? {}), ...Object.keys(current)])].sort((a, b) => Number(a) - Number(b));
  // A task that publishes while it still reads is told in both lists.
  const reading = [...new Map([...now.publishingTasks, ...now.activeTasks].map((task) => [task.id, task])).values()];
  const worst = Math.max(1, ...Object.values(now.minimumLag ?? {}));
  return (
    <>
      <dl className="facts">
        <dt>State</dt>
        <dd>
          <Badge tone={now.suspended ? "quiet" : now.healthy ? toneOf(now.detailedState) : "bad"}>{now.suspended ? "suspended" : now.detailedState.toLowerCase().replaceAll("_", " ")}</Badge>
        </dd>
        <dt>Reads</dt>
        <dd>
          topic <Name>{now.stream}</Name> in {plural(now.partitions, "partition")}, into{" "}
          <Link to="/datasources" with={{ name: now.dataSource }}>
            <Name>{now.dataSource}</Name>
          </Link>
        </dd>
        <dt>Lag</dt>
        <dd>
          {count(now.aggregateLag)} events <span className="muted">(positions as of <Instant at={now.offsetsLastUpdated} />)</span>
        </dd>
        {rates.data !== null && (
          <>
            <dt>Last minute</dt>
            <dd>
              {figure(Math.round(rates.data.perSecond.processed * 10) / 10)} events a second, {bytes(rates.data.perSecond.processedBytes)}/s
            </dd>
            <dt>By its tasks</dt>
            <dd>
              {count(rates.data.totals.processed)} processed, {count(rates.data.totals.unparseable)} unparseable, {count(rates.data.totals.processedWithError)} with errors, {count(rates.data.totals.thrownAway)} thrown away
            </dd>
          </>
        )}
        {(now.ignored?.length ?? 0) > 0 && (
          <>
            <dt>Fields without meaning here</dt>
            <dd>{now.ignored?.join(", ")}</dd>
          </>
        )}
      </dl>
      {typeof now.waiting === "string" && now.waiting !== "" && (
        <div className="notice warn">
          <div>
            <strong>Some of its tasks wait</strong>
            <div className="said">
              <bdi>{now.waiting}</bdi>
            </div>
          </div>
        </div>
      )}
      {now.recentErrors.map((error, at) => (
        <div key={at} className="notice bad">
          <div>
            <strong>{error.exceptionClass ?? "Error"}</strong> <Instant at={error.timestamp} />
            <div className="said">
              <bdi>{error.message}</bdi>
            </div>
          </div>
        </div>
      ))}
      <h3>Partitions</h3>
      {partitions.length === 0 ? (
        <Empty title="No partition is known yet" />
      ) : (
        <Plain heads={["Partition", { figures: "Read to" }, { figures: "Newest" }, { figures: "Lag" }, "Behind"]}>
          {partitions.map((partition) => {
            const lag = now.minimumLag?.[partition] ?? null;
            return (
              <tr key={partition}>
                <td className="figures">{partition}</td>
                <td className="number">{count(current[partition])}</td>
                <td className="number">{count(now.latestOffsets?.[partition])}</td>
                <td className="number">{count(lag)}</td>
                <td>
                  <span className="meter" aria-hidden="true">
                    <svg viewBox="0 0 100 10" preserveAspectRatio="none">
                      <rect width={((lag ?? 0) / worst) * 100} height="10" fill="var(--c2)" />
                    </svg>
                  </span>
                </td>
              </tr>
            );
          })}
        </Plain>
      )}
      <h3>Tasks</h3>
      {reading.length === 0 ? (
        <Empty title="No task runs" />
      ) : (
        <Plain heads={["Task", "State", "Since", { figures: "Publishes in" }]}>
          {reading.map((task) => (
            <tr key={task.id}>
              <td>
                <Link to="/ingestion" with={{ tab: "tasks", task: task.id }}>
                  <Name>{task.id}</Name>
                </Link>
              </td>
              <td>
                <Badge tone={toneOf(task.state ?? task.type)}>{(task.state ?? task.type).toLowerCase()}</Badge>
              </td>
              <td>
                <Instant at={task.startTime} />
              </td>
              <td className="number">{task.remainingSeconds === null ? "–" : duration(task.remainingSeconds * 1000)}</td>
            </tr>
          ))}
        </Plain>
      )}
    </>
  );
}

function Errors({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => parseErrors(id, signal), [id], 5000);
  return (
    <Shown live={live}>
      {(all) =>
        all.length === 0 ? (
          <Empty title="Every event was understood">Events that cannot be parsed are shown here as they came, with the reason.</Empty>
        ) : (
          <ul className="history">
            {all.slice(0, 200).map((error, at) => (
              <li key={at}>
                <div className="row">
                  <strong>
                    <bdi>{[error.details ?? []].flat().join("; ") || error.errorType || "unparseable"}</bdi>
                  </strong>
                  <span className="grow" />
                  <Instant at={error.timeOfExceptionMillis ?? error.timestamp} />
                </div>
                <pre className="document">{error.input ?? ""}</pre>
              </li>
            ))}
          </ul>
        )
      }
    </Shown>
  );
}

function Versions({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => supervisorHistory(id, signal), [id]);
  const [open, setOpen] = useState<number | null>(0);
  return (
    <Shown live={live}>
      {(all) => (
        <ul className="history">
          {all.map((one, at) => (
            <li key={at}>
              <div className="row">
                <Instant at={one.version} />
                {one.spec.suspended === true && <span className="chip">suspended</span>}
                <span className="grow" />
                <button type="button" className="link" aria-expanded={open === at} onClick={() => setOpen(open === at ? null : at)}>
                  {open === at ? "Hide" : "Show"}
                </button>
              </div>
              {open === at && <Document of={one.spec} className="spec" />}
            </li>
          ))}
        </ul>
      )}
    </Shown>
  );
}
