// One task: its status, what its report counts, events that it could not read, its log and spec.

import * as Tabs from "@radix-ui/react-tabs";
import type { ReactNode } from "react";
import { cancelTask, taskLog, taskReport, tasks, taskSpec } from "../api/ingestion";
import { may } from "../api/session";
import { Dialog, type Question } from "../parts/dialog";
import { bytes, count, duration } from "../parts/format";
import { useLive } from "../parts/live";
import { Empty, Shown } from "../parts/state";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { useSession } from "../session";

type Report = {
  ingestionStatsAndErrors?: {
    payload?: {
      ingestionState?: string;
      errorMsg?: string | null;
      rowStats?: Record<string, Record<string, unknown> | undefined> & { totals?: Record<string, Record<string, number>> };
      unparseableEvents?: Record<string, unknown>;
      segmentsPublished?: number;
    };
  };
};

export function TaskDetail({ id, onClose, ask }: { id: string; onClose: () => void; ask: (question: Question) => void }): ReactNode {
  const { who } = useSession();
  const live = useLive(async (signal) => (await tasks(signal)).find((one) => one.id === id) ?? null, [id], 5000);
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
      <Tabs.Root defaultValue="status">
        <Tabs.List className="tabs" aria-label="About this task">
          <Tabs.Trigger value="status">Status</Tabs.Trigger>
          <Tabs.Trigger value="report">Report</Tabs.Trigger>
          <Tabs.Trigger value="log">Log</Tabs.Trigger>
          <Tabs.Trigger value="spec">Spec</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value="status" className="tab-content">
          <Shown live={live}>
            {(one) =>
              one === null ? (
                <Empty title="There is no such task any more" />
              ) : (
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
              )
            }
          </Shown>
        </Tabs.Content>
        <Tabs.Content value="report" className="tab-content">
          <ReportOf id={id} />
        </Tabs.Content>
        <Tabs.Content value="log" className="tab-content">
          <LogOf id={id} />
        </Tabs.Content>
        <Tabs.Content value="spec" className="tab-content">
          <SpecOf id={id} />
        </Tabs.Content>
      </Tabs.Root>
    </Dialog>
  );
}

function ReportOf({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => taskReport(id, signal) as Promise<Report>, [id], 5000);
  return (
    <Shown live={live}>
      {(report) => {
        const payload = report?.ingestionStatsAndErrors?.payload;
        const counts = (payload?.rowStats?.totals?.buildSegments ?? payload?.rowStats?.buildSegments ?? {}) as Record<string, unknown>;
        const events = Object.values(payload?.unparseableEvents ?? {}).flat();
        return (
          <>
            <dl className="facts">
              <dt>Stage</dt>
              <dd>{payload?.ingestionState?.toLowerCase().replaceAll("_", " ") ?? "–"}</dd>
              {Object.entries(counts).map(([name, value]) =>
                typeof value === "number" ? (
                  <div key={name} style={{ display: "contents" }}>
                    <dt>{name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}</dt>
                    <dd>{name === "processedBytes" ? bytes(value) : count(value)}</dd>
                  </div>
                ) : null,
              )}
            </dl>
            {events.length > 0 && (
              <>
                <h3>Events that were not understood</h3>
                <pre className="document">{events.slice(0, 100).map((one) => (typeof one === "string" ? one : JSON.stringify(one, null, 2))).join("\n\n")}</pre>
              </>
            )}
            <details>
              <summary className="muted">The report as JSON</summary>
              <pre className="document">{JSON.stringify(report, null, 2)}</pre>
            </details>
          </>
        );
      }}
    </Shown>
  );
}

function LogOf({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => taskLog(id, signal), [id], 5000);
  return <Shown live={live}>{(text) => <pre className="document">{text}</pre>}</Shown>;
}

function SpecOf({ id }: { id: string }): ReactNode {
  const live = useLive((signal) => taskSpec(id, signal), [id]);
  return <Shown live={live}>{(spec) => <pre className="document">{JSON.stringify(spec, null, 2)}</pre>}</Shown>;
}
