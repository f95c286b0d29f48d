// A load on its way: a task that reads files, from the moment it was sent to the moment its rows can be asked for.

import { useState, type ReactNode } from "react";
import { loadedPercent } from "../api/cluster";
import { cancelTask, taskReport, taskStatus, type Task } from "../api/ingestion";
import { may } from "../api/session";
import { quoted } from "../api/sql";
import { Confirm, type Question } from "../parts/dialog";
import { bytes, count, duration, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive, useNow } from "../parts/live";
import { Shown } from "../parts/state";
import { Name } from "../parts/text";
import { Link } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { reportOf, type Told } from "./task";

interface Way {
  task: Task;
  told: Told;
  /** Its rows can be asked for. */
  served: boolean;
}

type Stage = "waits" | "reads" | "loads" | "there" | "failed";

export function stageOf({ task, served }: Pick<Way, "task" | "served">): Stage {
  if (task.statusCode === "FAILED") return "failed";
  if (task.statusCode === "SUCCESS") return served ? "there" : "loads";
  return task.runnerStatusCode === "RUNNING" ? "reads" : "waits";
}

const STAGES: [Stage, string, string][] = [
  ["waits", "Waits for its turn", "The task is known, and begins when a node has room for it."],
  ["reads", "Reads and publishes", "Events become rows, and rows become segments."],
  ["loads", "Is being loaded", "The segments are published; a node that answers queries fetches them."],
  ["there", "Can be asked for", "Queries find the rows."],
];

export function Arrival({ task: id }: { task: string }): ReactNode {
  const { who } = useSession();
  const [over, setOver] = useState(false);
  const [question, setQuestion] = useState<Question | null>(null);
  const live = useLive(
    async (signal): Promise<Way> => {
      const task = await taskStatus(id, signal);
      const told = reportOf(await taskReport(id, signal).catch(() => null));
      const ended = task.statusCode === "SUCCESS";
      const way = { task, told, served: ended && (told.processed === 0 || (await loadedPercent(task.dataSource, signal)) >= 100) };
      if (stageOf(way) === "there" || stageOf(way) === "failed") setOver(true);
      return way;
    },
    [id],
    over ? null : 1000,
  );
  const now = useNow(500);
  return (
    <div className="page arrival">
      <Head title={live.data === null || !over ? "Loading" : stageOf(live.data) === "failed" ? "Not loaded" : "Loaded"} about={<Name mono>{id}</Name>}>
        {live.data !== null && stageOf(live.data) === "there" && live.data.told.processed > 0 && (
          <>
            <Link to="/explore" with={{ source: live.data.task.dataSource }} className="button primary">
              <Icon name="explore" size={15} /> Explore it
            </Link>
            <Link to="/query" with={{ q: `SELECT *\nFROM ${quoted(live.data.task.dataSource)}\nLIMIT 100` }} className="button">
              Query it
            </Link>
          </>
        )}
        {live.data !== null && stageOf(live.data) === "failed" && (
          <Link to="/load" with={{ again: id }} className="button primary">
            Change it and try again
          </Link>
        )}
        <Link to="/load" className="button">
          Load more
        </Link>
        <Link to="/ingestion" with={{ tab: "tasks", task: id }} className="button">
          The task
        </Link>
      </Head>
      <Shown live={live}>
        {({ task, told, served }) => {
          const stage = stageOf({ task, served });
          const reached = STAGES.findIndex(([one]) => one === stage);
          const writes = may(who, "DATASOURCE", task.dataSource, "WRITE") || may(who, "TASK", task.dataSource, "WRITE");
          const took = task.duration >= 0 ? task.duration : Math.max(0, now - Date.parse(task.createdTime));
          return (
            <>
              <section className="panel" aria-label="How far it is">
                <ol className="stages">
                  {STAGES.map(([one, title, about], at) => {
                    const state = stage === "failed" ? (at === 0 ? "done" : at === 1 ? "failed" : "ahead") : at < reached || stage === "there" ? "done" : at === reached ? "now" : "ahead";
                    return (
                      <li key={one} className={state} aria-current={state === "now" ? "step" : undefined}>
                        <span className="stage-mark" aria-hidden="true">
                          {state === "done" ? <Icon name="check" size={14} /> : state === "failed" ? <Icon name="close" size={14} /> : state === "now" ? <span className="spinner" /> : null}
                        </span>
                        <div>
                          <strong>{state === "failed" ? "It failed" : title}</strong>
                          <div className="muted">{about}</div>
                        </div>
                      </li>
                    );
                  })}
                </ol>
              </section>
              {task.errorMsg !== null && (
                <div className="notice bad" role="alert">
                  <Icon name="warn" />
                  <div className="said">
                    <bdi>{task.errorMsg}</bdi>
                  </div>
                </div>
              )}
              {stage === "there" && told.processed === 0 && (
                <div className="notice warn" role="status">
                  <Icon name="warn" />
                  <div>
                    <strong>No row came of it.</strong> {told.thrownAway > 0 ? "The filter left all events out." : told.unparseable > 0 ? "No event could be read." : "There was nothing to read."}
                  </div>
                </div>
              )}
              <section className="panel" aria-label="What was read">
                <div className="inside">
                  <dl className="facts">
                    <dt>Into</dt>
                    <dd>
                      <Name>{task.dataSource}</Name>
                    </dd>
                    <dt>Rows</dt>
                    <dd>{count(told.processed)}</dd>
                    <dt>Read</dt>
                    <dd>{bytes(told.processedBytes)}</dd>
                    {told.thrownAway > 0 && (
                      <>
                        <dt>Left out by the filter</dt>
                        <dd>{count(told.thrownAway)}</dd>
                      </>
                    )}
                    {(told.unparseable > 0 || told.processedWithError > 0) && (
                      <>
                        <dt>Could not be read</dt>
                        <dd>
                          {count(told.unparseable)}
                          {told.processedWithError > 0 && `, and ${count(told.processedWithError)} in part`}
                        </dd>
                      </>
                    )}
                    {told.segments !== null && (
                      <>
                        <dt>Published</dt>
                        <dd>{plural(told.segments, "segment")}</dd>
                      </>
                    )}
                    <dt>Took</dt>
                    <dd>{duration(took)}</dd>
                    {told.ignored.length > 0 && (
                      <>
                        <dt>Fields without meaning here</dt>
                        <dd>{told.ignored.join(", ")}</dd>
                      </>
                    )}
                  </dl>
                  {told.events.length > 0 && (
                    <details>
                      <summary>Events that could not be read</summary>
                      <pre className="document">{told.events.slice(0, 50).join("\n\n")}</pre>
                    </details>
                  )}
                </div>
              </section>
              <div className="row">
                {!over && writes && (
                  <button
                    type="button"
                    onClick={() => setQuestion({ title: "Cancel this load?", consequence: "It stops, and what it has not published is thrown away. What was there before stays.", action: "Cancel it", grave: true, act: () => cancelTask(id) })}
                  >
                    Cancel it…
                  </button>
                )}
              </div>
            </>
          );
        }}
      </Shown>
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={live.refresh} />}
    </div>
  );
}
