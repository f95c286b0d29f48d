// Services: the processes of the cluster, what each does, how full it is and since when it runs.

import type { ReactNode } from "react";
import { servers, workers, type Server, type Worker } from "../api/cluster";
import { bytes, count, plural } from "../parts/format";
import { useLive, useNow } from "../parts/live";
import { ListPage } from "./list";
import type { TableColumn } from "../parts/table";
import { Instant, Name } from "../parts/text";

interface Node {
  server: string;
  roles: string[];
  leads: string[];
  tier: string | null;
  size: number;
  room: number;
  started: string;
  version: string;
  processors: number;
  memory: number;
  tasks: number | null;
  capacity: number | null;
}

/** A process has a line for each of its roles; here it has one. */
export function nodes(list: Server[], working: Worker[]): Node[] {
  const found = new Map<string, Node>();
  for (const one of list) {
    let node = found.get(one.server);
    if (node === undefined) {
      node = { server: one.server, roles: [], leads: [], tier: null, size: 0, room: 0, started: one.start_time, version: one.version, processors: one.available_processors, memory: one.total_memory, tasks: null, capacity: null };
      found.set(one.server, node);
    }
    if (!node.roles.includes(one.server_type)) node.roles.push(one.server_type);
    if (one.is_leader === 1) node.leads.push(one.server_type);
    node.tier ??= one.tier;
    node.size = Math.max(node.size, one.curr_size);
    node.room = Math.max(node.room, one.max_size);
  }
  for (const { worker, currCapacityUsed } of working) {
    const node = found.get(worker.host);
    if (node !== undefined) {
      node.tasks = currCapacityUsed;
      node.capacity = worker.capacity;
    }
  }
  return [...found.values()];
}

export function Meter({ of, within }: { of: number; within: number }): ReactNode {
  const share = within <= 0 ? 0 : Math.min(1, of / within);
  return (
    <span className="meter" aria-hidden="true">
      <svg viewBox="0 0 100 10" preserveAspectRatio="none">
        <rect width={share * 100} height="10" fill={share > 0.9 ? "var(--bad)" : share > 0.75 ? "var(--warn)" : "var(--c1)"} />
      </svg>
    </span>
  );
}

export default function Services(): ReactNode {
  const now = useNow(5000);
  const live = useLive(async (signal) => nodes(...(await Promise.all([servers(signal), workers(signal)]))), [], 5000);
  const columns: TableColumn<Node>[] = [
    { key: "server", title: "Node", width: 170, text: (one) => one.server, show: (one) => (
        <span title={`${one.server}: ${plural(one.processors, "processor")}, ${bytes(one.memory)} in use`}>
          <Name mono>{one.server}</Name>
        </span>
      ) },
    { key: "roles", title: "Does", least: 150, text: (one) => one.roles.join(", "), show: (one) => <span className="cell-text" title={one.roles.join(", ")}>{one.roles.join(", ")}</span> },
    { key: "leads", title: "Leads", width: 180, yields: 2, text: (one) => one.leads.join(", ") || "–", show: (one) => (one.leads.length === 0 ? <span className="muted">–</span> : <span className="cell-text">{one.leads.join(", ")}</span>) },
    { key: "tier", title: "Tier", width: 110, yields: 3, text: (one) => one.tier ?? "–" },
    {
      key: "size",
      title: "Segments on disk",
      width: 140,
      text: (one) => bytes(one.size),
      value: (one) => one.size,
      show: (one) => (
        <span className="figures" title={one.room > 0 ? `${bytes(one.size)} of ${bytes(one.room)}` : bytes(one.size)}>
          {one.room > 0 && <Meter of={one.size} within={one.room} />}
          {bytes(one.size)}
        </span>
      ),
    },
    {
      key: "tasks",
      title: "Tasks",
      width: 160,
      text: (one) => (one.capacity === null ? "–" : `${one.tasks} of ${one.capacity}`),
      value: (one) => one.tasks,
      show: (one) =>
        one.capacity === null ? (
          <span className="muted">–</span>
        ) : (
          <span className="figures">
            <Meter of={one.tasks ?? 0} within={one.capacity} />
            {count(one.tasks)} <span className="muted">of {count(one.capacity)}</span>
          </span>
        ),
    },
    { key: "since", title: "Started", width: 125, text: (one) => one.started, show: (one) => <Instant at={one.started} relative={now} /> },
    { key: "version", title: "Version", width: 90, yields: 4, text: (one) => one.version },
  ];
  return <ListPage title="Services" about="The processes of this cluster, and what each of them does." find="Find a node" live={live} columns={columns} />;
}
