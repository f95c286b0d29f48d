// The audit log: who did or tried what, from the datasource `sys.audit`.

import { useEffect, useState, type ReactNode } from "react";
import { literal, rowsOf } from "../api/sql";
import { Dialog } from "../parts/dialog";
import { bytes, count, duration, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive, useSettled } from "../parts/live";
import { PAGE, Pager } from "../parts/pager";
import { Pick } from "../parts/pick";
import { Empty, Shown } from "../parts/state";
import { Filter, Table, type Sort, type TableColumn } from "../parts/table";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { adjust, go, usePlace } from "../router";
import { Head } from "../shell";
import "../styles/pages.css";

interface Event {
  __time: string;
  kind: string;
  user: string | null;
  address: string | null;
  method: string | null;
  path: string | null;
  object: string | null;
  query_id: string | null;
  query_type: string | null;
  datasources: string | string[] | null;
  statement: string | null;
  rows: number | null;
  bytes: number | null;
  duration_ms: number | null;
  outcome: string | null;
  status: number | null;
  error: string | null;
  node: string | null;
}

const KINDS = ["query", "signin", "signout", "denied", "user", "role", "policy", "token", "spec", "rule", "lookup", "config", "segments", "request"];
const SPANS: [string, string][] = [["1", "1 hour"], ["24", "24 hours"], ["168", "7 days"], ["720", "30 days"]];
/** Of a statement that is opened as a query. */
const MOST = 5_000;

export interface AuditWanted {
  kind: string;
  user: string;
  outcome: string;
  hours: number;
  find: string;
}

/** What events can be sorted by, and the column of each. */
const ORDERS: Record<string, string> = { time: "__time", kind: "kind", outcome: "outcome", user: '"user"', rows: '"rows"', took: "duration_ms" };

const whereOf = ({ kind, user, outcome, hours, find }: AuditWanted): string => {
  const where = [`__time > CURRENT_TIMESTAMP - INTERVAL '${hours}' HOUR`];
  if (kind !== "") where.push(`kind = ${literal(kind)}`);
  if (user !== "") where.push(`"user" = ${literal(user)}`);
  if (outcome !== "") where.push(`outcome = ${literal(outcome)}`);
  const text = find.trim();
  if (text !== "") where.push(`(${["statement", "object", "path", '"user"', "error"].map((column) => `ICONTAINS_STRING(${column}, ${literal(text)})`).join(" OR ")})`);
  return where.join("\n  AND ");
};

export function statementOf(wanted: AuditWanted, sort: Sort | null = null, page: number | null = null): string {
  const column = sort === null ? undefined : ORDERS[sort.key];
  const order = column === undefined || column === "__time" ? `__time ${column === undefined || sort?.down === true ? "DESC" : "ASC"}` : `${column} ${sort?.down === true ? "DESC" : "ASC"}, __time DESC`;
  return `SELECT *\nFROM sys.audit\nWHERE ${whereOf(wanted)}\nORDER BY ${order}\nLIMIT ${page === null ? MOST : `${PAGE} OFFSET ${page * PAGE}`}`;
}

/** The page's own looks are events too: by this in their id they are told from what others did. */
const LOOK = "console-audit-";

const looking = (): Record<string, unknown> => ({ sqlQueryId: `${LOOK}${crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`}` });

async function countOf(wanted: AuditWanted, signal: AbortSignal): Promise<number> {
  const [found] = await rowsOf<{ n: number }>(`SELECT COUNT(*) AS n FROM sys.audit WHERE ${whereOf(wanted)}`, signal, looking());
  return found?.n ?? 0;
}

/** How many came since an instant, without the page's own. */
async function newerOf(wanted: AuditWanted, since: string, signal: AbortSignal): Promise<number> {
  const [found] = await rowsOf<{ n: number }>(`SELECT COUNT(*) AS n FROM sys.audit WHERE ${whereOf(wanted)} AND __time > TIMESTAMP ${literal(since.replace("T", " ").replace("Z", ""))} AND (query_id IS NULL OR query_id NOT LIKE '${LOOK}%')`, signal, looking());
  return found?.n ?? 0;
}

const many = (value: string | string[] | null): string => (Array.isArray(value) ? value.join(", ") : (value ?? ""));

export default function Audit(): ReactNode {
  const { parameters } = usePlace();
  const [typed, setTyped] = useState("");
  const find = useSettled(typed, 400);
  const [sort, setSort] = useState<Sort | null>({ key: "time", down: true });
  const [page, setPage] = useState(0);
  const [open, setOpen] = useState<Event | null>(null);
  const kind = parameters.get("kind") ?? "";
  const user = parameters.get("user") ?? "";
  const outcome = parameters.get("outcome") ?? "";
  const hours = SPANS.some(([one]) => one === parameters.get("hours")) ? (parameters.get("hours") ?? "24") : "24";
  const wanted: AuditWanted = { kind, user, outcome, hours: Number(hours), find };
  const about = JSON.stringify(wanted);
  useEffect(() => setPage(0), [about, sort]);
  // The list stands still under the eye; what came since is counted, and shown when somebody wants it.
  const live = useLive(
    async (signal) => {
      const [events, total] = await Promise.all([rowsOf<Event>(statementOf(wanted, sort, page), signal, looking()), countOf(wanted, signal)]);
      return { events, total };
    },
    [about],
    null,
    `${JSON.stringify(sort)} ${page}`,
  );
  const since = live.at === null ? null : new Date(live.at).toISOString();
  const newer = useLive(async (signal) => (since === null ? 0 : newerOf(wanted, since, signal)), [about, since], 20_000);
  const columns: TableColumn<Event>[] = [
    { key: "time", title: "When", width: 196, text: (one) => one.__time, show: (one) => <Instant at={one.__time} /> },
    { key: "kind", title: "What", width: 100, text: (one) => one.kind },
    { key: "outcome", title: "Outcome", width: 110, text: (one) => one.outcome, show: (one) => <Badge tone={toneOf(one.outcome ?? "")}>{one.outcome ?? "–"}</Badge> },
    { key: "user", title: "Who", width: 130, text: (one) => one.user ?? "nobody known" },
    { key: "about", title: "About", least: 220, unsorted: true, text: (one) => one.statement ?? one.object ?? `${one.method ?? ""} ${one.path ?? ""}`, show: (one) => <bdi className={one.statement === null ? "cell-text" : "cell-text mono"}>{(one.statement ?? one.object ?? `${one.method ?? ""} ${one.path ?? ""}`).slice(0, 300)}</bdi> },
    { key: "sources", title: "Datasources", width: 130, yields: 2, unsorted: true, text: (one) => many(one.datasources) },
    { key: "rows", title: "Rows", width: 90, yields: 1, end: true, text: (one) => count(one.rows), value: (one) => one.rows },
    { key: "took", title: "Took", width: 90, end: true, text: (one) => duration(one.duration_ms), value: (one) => one.duration_ms },
  ];
  return (
    <div className="page fill">
      <Head title="Audit log" about="Every query, sign-in, refusal and change, as it was recorded. Nothing here can be changed by anybody.">
        <button type="button" onClick={() => go("/query", { q: statementOf(wanted, sort) })}>
          <Icon name="query" size={15} /> Open as a query
        </button>
      </Head>
      <section className="panel column grow" aria-label="Events">
        <div className="toolbar">
          <Pick label="What" value={kind} of={[["", "everything"], ...KINDS.map((one): [string, string] => [one, one])]} onChange={(value) => adjust({ kind: value })} />
          <Pick label="Outcome" value={outcome} of={[["", "any"], ["ok", "ok"], ["denied", "denied"], ["failed", "failed"], ["cancelled", "cancelled"], ["begun", "begun"]]} onChange={(value) => adjust({ outcome: value })} />
          <Pick label="Within" value={hours} of={SPANS} onChange={(value) => adjust({ hours: value })} />
          {user !== "" && (
            <button type="button" className="chip" onClick={() => adjust({ user: null })}>
              by <bdi>{user}</bdi> ✕
            </button>
          )}
          {live.data !== null && <span className="told">{plural(live.data.total, "event")}</span>}
          {newer.data !== null && newer.data > 0 && (
            <button type="button" className="chip" onClick={() => (page === 0 ? live.refresh() : setPage(0))}>
              <Icon name="refresh" size={12} /> {count(newer.data)} newer
            </button>
          )}
          <span className="spread">
            <Filter value={typed} onChange={setTyped} label="Find in these" />
          </span>
        </div>
        <Shown live={live}>
          {({ events, total }) => (
            <>
              <Table label="Events" rows={events} columns={columns} sort={sort} onSort={setSort} onOpen={setOpen} empty={<Empty title="Nothing was recorded">Choose another stretch of time, or everything.</Empty>} />
              {total > PAGE && (
                <footer className="under">
                  <Pager page={page} total={total} shown={events.length} of="events" onPage={setPage} />
                </footer>
              )}
            </>
          )}
        </Shown>
      </section>
      {open !== null && (
        <Dialog kind="side" title={`${open.kind}, ${open.outcome ?? ""}`} onClose={() => setOpen(null)}>
          <dl className="facts">
            <dt>When</dt>
            <dd>
              <Instant at={open.__time} />
            </dd>
            <dt>Who</dt>
            <dd>
              {open.user === null ? (
                "nobody known"
              ) : (
                <button type="button" className="link" onClick={() => { adjust({ user: open.user }); setOpen(null); }}>
                  <Name>{open.user}</Name>
                </button>
              )}{" "}
              from {open.address ?? "an unknown address"}
            </dd>
            <dt>Request</dt>
            <dd className="mono">
              {open.method} {open.path}
            </dd>
            {open.object !== null && (
              <>
                <dt>About</dt>
                <dd>
                  <bdi>{open.object}</bdi>
                </dd>
              </>
            )}
            <dt>Status</dt>
            <dd>
              {open.status ?? "–"} {open.error}
            </dd>
            <dt>Rows, bytes</dt>
            <dd>
              {count(open.rows)}, {bytes(open.bytes)}
            </dd>
            <dt>Took</dt>
            <dd>{duration(open.duration_ms)}</dd>
            {open.query_id !== null && (
              <>
                <dt>Query</dt>
                <dd className="mono">
                  {open.query_type} {open.query_id}
                </dd>
              </>
            )}
            <dt>Node</dt>
            <dd className="mono">{open.node}</dd>
          </dl>
          {open.statement !== null && <pre className="document">{open.statement}</pre>}
        </Dialog>
      )}
    </div>
  );
}
