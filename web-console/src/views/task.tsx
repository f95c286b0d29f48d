// One task: its status, what its report counts, events that it could not read, its log and spec.

import type { ReactNode } from "react";
import { asApiError } from "../api/error";
import { cancelTask, taskLog, taskReport, taskSpec, taskStatus, type Task } from "../api/ingestion";
import { may } from "../api/session";
import { Dialog, type Question } from "../parts/dialog";
import { bytes, count, duration } from "../parts/format";
import { useLive } from "../parts/live";
import { Document, LiveDocument, Panes } from "../parts/panes";
import { Empty, Shown } from "../parts/state";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { useSession } from "../session";

interface Payload {
  ingestionState?: string;
  rowStats?: Record<string, Record<string, unknown> | undefined> & { totals?: Record<string, Record<string, number>> };
  unparseableEvents?: Record<string, unknown>;
  segmentsPublished?: number;
  ignored?: string[] | null;
}

/** What a task's report tells, whichever stage it is in. */
export interface Told {
  stage: string | null;
  /** Every figure of it that is a number, by its name. */
  counts: [string, number][];
  processed: number;
  processedBytes: number;
  processedWithError: number;
  thrownAway: number;
  unparseable: number;
  segments: number | null;
  /** Events that were not understood, as they came, with the reason where it is told. */
  events: string[];
  /** Fields of the spec that have no meaning here. */
  ignored: string[];
}

export function reportOf(report: unknown): Told {
  const payload = (report as { ingestionStatsAndErrors?: { payload?: Payload } } | null)?.ingestionStatsAndErrors?.payload;
  const stats = (payload?.rowStats?.totals?.buildSegments ?? payload?.rowStats?.buildSegments ?? {}) as Record<string, unknown>;
  const number = (name: string): number => (typeof stats[name] === "number" ? stats[name] : 0);
  return {
    stage: payload?.ingestionState?.toLowerCase().replaceAll("_", " ") ?? null,
    counts: Object.entries(stats).filter((one): one is [string, number] => typeof one[1] === "number"),
    processed: number("processed"),
    processedBytes: number("processedBytes"),
    processedWithError: number("processedWithError"),
    thrownAway: number("thrownAway"),
    unparseable: number("unparseable"),
    segments: typeof payload?.segmentsPublished === "number" ? payload.segmentsPublished : null,
    events: Object.values(payload?.unparseableEvents ?? {})
      .flat()
      .filter((one) => one !== null && one !== undefined)
      .map((one) => (typeof one === "string" ? one : JSON.stringify(one, null, 2))),
    ignored: Array.isArray(payload?.ignored) ? payload.ignored : [],
  };
}

export function TaskDetail({ id, onClose, ask }: { id: string; onClose: () => void; ask: (question: Question) => void }): ReactNode {
  const { who } = useSession();
  const live = useLive(
    (signal) =>
      taskStatus(id, signal).catch((thrown: unknown) => {
        if (asApiError(thrown).kind === "missing") return null;
        throw thrown;
      }),
    [id],
    3000,
  );
  const task = live.data;
  const writes = task !== null && (may(who, "DATASOURCE", task.dataSource, "WRITE") || may(who, "TASK", task.dataSource, "WRITE"));
  return (
    <Dialog
      kind="side"
      wide
      title={<Name>{id}</Name>}
      onClose={onClose}
      foot={
        writes && task.statusCode === "RUNNING" ? (
          <button
            type="button"
            onClick={() =>
              ask({
                title: "Cancel this task?",
                consequence: task.type.startsWith("index_kafka")
                  ? "It stops without publishing what it holds in memory. Its supervisor starts another, which reads these events again from Kafka: nothing is lost, and answers lack them until then."
                  : "It stops, and what it has not published is thrown away.",
                action: "Cancel it",
                grave: true,
                act: () => cancelTask(id),
              })
            }
          >
            Cancel this task…
          </button>
        ) : undefined
      }
    >
      <Panes
        label="About this task"
        panes={[
          { key: "status", title: "Status", show: () => <Shown live={live}>{(one) => (one === null ? <Empty title="There is no such task any more" /> : <StatusOf task={one} />)}</Shown> },
          { key: "report", title: "Report", show: () => <ReportOf id={id} /> },
          { key: "log", title: "Log", show: () => <LiveDocument id={id} load={taskLog} everyMs={5000} /> },
          { key: "spec", title: "Spec", show: () => <LiveDocument id={id} load={taskSpec} /> },
        ]}
      />
    </Dialog>
  );
}

function StatusOf({ task: one }: { task: Task }): ReactNode {
  return (
    <>
      <dl className="facts">
        <dt>State</dt>
        <dd>
          <Badge tone={toneOf(one.statusCode)}>{one.statusCode.toLowerCase()}</Badge>
        </dd>
        <dt>Kind</dt>
        <dd>{one.type}</dd>
        <dt>Datasource</dt>
        <dd>
          <Name>{one.dataSource}</Name>
        </dd>
        <dt>Made</dt>
        <dd>
          <Instant at={one.createdTime} />
        </dd>
        <dt>Took</dt>
        <dd>{one.duration < 0 ? "still at work" : duration(one.duration)}</dd>
        <dt>Node</dt>
        <dd>{one.location?.host == null ? "–" : `${one.location.host}:${one.location.port}`}</dd>
      </dl>
      {one.errorMsg !== null && (
        <div className="notice bad">
          <div className="said">
            <bdi>{one.errorMsg}</bdi>
          </div>
        </div>
      )}
    </>
  );
}

const wordsOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function ReportOf({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => taskReport(id, signal), [id], 5000);
  return (
    <Shown live={live}>
      {(report) => {
        const told = reportOf(report);
        return (
          <>
            <dl className="facts">
              <dt>Stage</dt>
              <dd>{told.stage ?? "–"}</dd>
              {told.counts.map(([name, value]) => (
                <div key={name} style={{ display: "contents" }}>
                  <dt>{wordsOf(name)}</dt>
                  <dd>{name === "processedBytes" ? bytes(value) : count(value)}</dd>
                </div>
              ))}
            </dl>
            {told.events.length > 0 && (
              <>
                <h3>Events that were not understood</h3>
                <Document of={told.events.slice(0, 100).join("\n\n")} />
              </>
            )}
            <details>
              <summary className="muted">The report as JSON</summary>
              <Document of={report} />
            </details>
          </>
        );
      }}
    </Shown>
  );
}
