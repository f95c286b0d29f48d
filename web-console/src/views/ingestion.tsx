// Ingestion: what reads events (supervisors) and what it runs (tasks): how far behind, what could not be read and why, and what
// can be done about it, each action with what follows from it.

import * as Tabs from "@radix-ui/react-tabs";
import { useState, type ReactNode } from "react";
import { supervisors, supervisorStatus, tasks, type Supervisor, type SupervisorStatus, type Task } from "../api/ingestion";
import { mayAny } from "../api/session";
import { Confirm, type Question } from "../parts/dialog";
import { count, duration, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Empty, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Badge, Instant, toneOf } from "../parts/text";
import { adjust, Link, usePlace } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { SupervisorDetail } from "./supervisor";
import { TaskDetail } from "./task";

export const words = (state: string): string => state.toLowerCase().replaceAll("_", " ");

export default function Ingestion(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const tab = parameters.get("tab") === "tasks" || parameters.get("task") !== null ? "tasks" : "supervisors";
  const [wanted, setWanted] = useState("");
  const [question, setQuestion] = useState<Question | null>(null);
  const [round, setRound] = useState(0);
  return (
    <div className="page fill">
      <Head title="Ingestion" about="Supervisors keep streams flowing; tasks do the reading and publishing.">
        <Filter value={wanted} onChange={setWanted} label={tab === "tasks" ? "Find a task" : "Find a supervisor"} />
        {mayAny(who, "DATASOURCE", "WRITE") && (
          <Link to="/load" className="button primary">
            <Icon name="load" /> Load data
          </Link>
        )}
      </Head>
      <Tabs.Root value={tab} onValueChange={(value) => adjust({ tab: value === "tasks" ? "tasks" : null, task: null, supervisor: null })} className="panel column">
        <Tabs.List className="tabs" aria-label="Ingestion">
          <Tabs.Trigger value="supervisors">Supervisors</Tabs.Trigger>
          <Tabs.Trigger value="tasks">Tasks</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value="supervisors" className="panel-content">
          <SupervisorsList wanted={wanted} round={round} />
        </Tabs.Content>
        <Tabs.Content value="tasks" className="panel-content">
          <TasksList wanted={wanted} round={round} />
        </Tabs.Content>
      </Tabs.Root>
      {parameters.get("supervisor") !== null && <SupervisorDetail key={parameters.get("supervisor")} id={parameters.get("supervisor") ?? ""} onClose={() => adjust({ supervisor: null, about: null })} ask={setQuestion} round={round} />}
      {parameters.get("task") !== null && <TaskDetail key={parameters.get("task")} id={parameters.get("task") ?? ""} onClose={() => adjust({ task: null })} ask={setQuestion} />}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={() => setRound(round + 1)} />}
    </div>
  );
}

type Read = Supervisor & { status: SupervisorStatus | null };

function SupervisorsList({ wanted, round }: { wanted: string; round: number }): ReactNode {
  const live = useLive(
    async (signal): Promise<Read[]> => {
      const list = await supervisors(signal);
      return Promise.all(list.map(async (one, at) => ({ ...one, status: at < 60 ? await supervisorStatus(one.id, signal).catch(() => null) : null })));
    },
    [round],
    4000,
  );
  const columns: TableColumn<Read>[] = [
    { key: "id", title: "Supervisor", text: (one) => one.id },
    { key: "state", title: "State", width: 160, text: (one) => (one.suspended ? "suspended" : words(one.detailedState)), show: (one) => <Badge tone={one.suspended ? "quiet" : one.healthy ? toneOf(one.detailedState) : "bad"}>{one.suspended ? "suspended" : words(one.detailedState)}</Badge> },
    { key: "lag", title: "Lag", note: "events", width: 120, end: true, text: (one) => count(one.status?.aggregateLag), value: (one) => one.status?.aggregateLag ?? null },
    { key: "datasource", title: "Datasource", yields: 2, text: (one) => one.dataSource },
    { key: "source", title: "Reads", least: 150, text: (one) => `${one.type}: ${one.source}` },
    { key: "tasks", title: "Tasks", width: 90, yields: 1, end: true, text: (one) => count(one.status?.activeTasks.length), value: (one) => one.status?.activeTasks.length ?? null },
    { key: "errors", title: "Recent errors", width: 130, end: true, text: (one) => count(one.status?.recentErrors.length), value: (one) => one.status?.recentErrors.length ?? null },
  ];
  return (
    <Shown live={live}>
      {(all) => (
        <Table
          label="Supervisors"
          rows={matching(all, columns, wanted)}
          columns={columns}
          sort={{ key: "id", down: false }}
          heightMax={2000}
          onOpen={(one) => adjust({ supervisor: one.id })}
          empty={
            <Empty title={all.length === 0 ? "Nothing is read yet" : "None like that"}>{all.length === 0 && <Link to="/load">Load data from Kafka</Link>}</Empty>
          }
        />
      )}
    </Shown>
  );
}

function TasksList({ wanted, round }: { wanted: string; round: number }): ReactNode {
  const live = useLive(tasks, [round], 5000);
  const [state, setState] = useState("all");
  const columns: TableColumn<Task>[] = [
    { key: "id", title: "Task", least: 250, text: (one) => one.id },
    { key: "state", title: "State", width: 140, text: (one) => words(one.statusCode), show: (one) => <Badge tone={toneOf(one.statusCode === "RUNNING" ? one.runnerStatusCode : one.statusCode)}>{words(one.statusCode === "RUNNING" ? one.runnerStatusCode : one.statusCode)}</Badge> },
    { key: "type", title: "Kind", width: 150, yields: 3, text: (one) => one.type },
    { key: "datasource", title: "Datasource", text: (one) => one.dataSource },
    { key: "created", title: "Made", width: 178, text: (one) => one.createdTime, show: (one) => <Instant at={one.createdTime} brief /> },
    { key: "duration", title: "Took", width: 110, end: true, text: (one) => (one.duration < 0 ? "–" : duration(one.duration)), value: (one) => (one.duration < 0 ? null : one.duration) },
    { key: "node", title: "Node", width: 170, yields: 4, text: (one) => (one.location?.host == null ? "–" : `${one.location.host}:${one.location.port}`) },
    { key: "error", title: "Error", yields: 1, text: (one) => one.errorMsg ?? "" },
  ];
  return (
    <Shown live={live}>
      {(all) => {
        const shown = all.filter((one) => state === "all" || one.statusCode === state);
        return (
          <>
            <div className="toolbar">
              <div className="segmented" role="group" aria-label="By state">
                {(["all", "RUNNING", "SUCCESS", "FAILED"] as const).map((one) => (
                  <button key={one} type="button" aria-pressed={state === one} onClick={() => setState(one)}>
                    {{ all: "All", RUNNING: "Running", SUCCESS: "Succeeded", FAILED: "Failed" }[one]}
                  </button>
                ))}
              </div>
              <span className="told">{plural(shown.length, "task")}</span>
            </div>
            <Table label="Tasks" rows={matching(shown, columns, wanted)} columns={columns} sort={{ key: "created", down: true }} heightMax={2000} onOpen={(one) => adjust({ task: one.id })} empty={<Empty title="No such tasks" />} />
          </>
        );
      }}
    </Shown>
  );
}
