// The audit log: who did or tried what, from the datasource `sys.audit`.

import { useState, type ReactNode } from "react";
import { literal, rowsOf } from "../api/sql";
import { Dialog } from "../parts/dialog";
import { bytes, count, duration, plural } from "../parts/format";
import { useLive } from "../parts/live";
import { Empty, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Badge, Instant, Name, toneOf } from "../parts/text";
import { adjust, go, usePlace } from "../router";
import { Head } from "../shell";

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
const MOST = 5_000;

export function statementOf(kind: string, user: string, outcome: string, hours: number): string {
  const where = [`__time > CURRENT_TIMESTAMP - INTERVAL '${hours}' HOUR`];
  if (kind !== "") where.push(`kind = ${literal(kind)}`);
  if (user !== "") where.push(`"user" = ${literal(user)}`);
  if (outcome !== "") where.push(`outcome = ${literal(outcome)}`);
  return `SELECT *\nFROM sys.audit\nWHERE ${where.join("\n  AND ")}\nORDER BY __time DESC\nLIMIT ${MOST}`;
}

const many = (value: string | string[] | null): string => (Array.isArray(value) ? value.join(", ") : (value ?? ""));

export default function Audit(): ReactNode {
  const { parameters } = usePlace();
  const [wanted, setWanted] = useState("");
  const [open, setOpen] = useState<Event | null>(null);
  const kind = parameters.get("kind") ?? "";
  const user = parameters.get("user") ?? "";
  const outcome = parameters.get("outcome") ?? "";
  const hours = SPANS.some(([one]) => one === parameters.get("hours")) ? (parameters.get("hours") ?? "24") : "24";
  const statement = statementOf(kind, user, outcome, Number(hours));
  const live = useLive((signal) => rowsOf<Event>(statement, signal), [statement], 15_000);
  const columns: TableColumn<Event>[] = [
    { key: "time", title: "When", width: 200, text: (one) => one.__time, show: (one) => <Instant at={one.__time} /> },
    { key: "kind", title: "What", width: 85, text: (one) => one.kind },
    { key: "outcome", title: "Outcome", width: 110, text: (one) => one.outcome, show: (one) => <Badge tone={toneOf(one.outcome ?? "")}>{one.outcome ?? "–"}</Badge> },
    { key: "user", title: "Who", width: 130, text: (one) => one.user ?? "nobody known" },
    { key: "about", title: "About", text: (one) => one.statement ?? one.object ?? `${one.method ?? ""} ${one.path ?? ""}`, show: (one) => <bdi className={one.statement === null ? "cell-text" : "cell-text mono"}>{(one.statement ?? one.object ?? `${one.method ?? ""} ${one.path ?? ""}`).slice(0, 300)}</bdi> },
    { key: "sources", title: "Datasources", width: 130, text: (one) => many(one.datasources) },
    { key: "rows", title: "Rows", width: 90, end: true, text: (one) => count(one.rows), value: (one) => one.rows },
    { key: "took", title: "Took", width: 90, end: true, text: (one) => duration(one.duration_ms), value: (one) => one.duration_ms },
  ];
  const choose = (label: string, name: string, value: string, of: [string, string][]): ReactNode => (
    <label className="row">
      <span className="muted">{label}</span>
      <select value={value} onChange={(event) => adjust({ [name]: event.target.value })}>
        {of.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <div className="page fill">
      <Head title="Audit log" about="Every query, sign-in, refusal and change, as it was recorded. Nothing here can be changed by anybody.">
        <button type="button" onClick={() => go("/query", { q: statement })}>
          Open as a query
        </button>
      </Head>
      <Shown live={live}>
        {(all) => (
          <section className="panel column grow" aria-label="Events">
            <div className="toolbar">
              {choose("What", "kind", kind, [["", "everything"], ...KINDS.map((one): [string, string] => [one, one])])}
              {choose("Outcome", "outcome", outcome, [["", "any"], ["ok", "ok"], ["denied", "denied"], ["failed", "failed"], ["cancelled", "cancelled"], ["begun", "begun"]])}
              {choose("Within", "hours", hours, SPANS)}
              {user !== "" && (
                <button type="button" className="chip" onClick={() => adjust({ user: null })}>
                  by <bdi>{user}</bdi> ✕
                </button>
              )}
              <span className="told">
                {all.length >= MOST && "newest "}
                {plural(all.length, "event")}
              </span>
              <span className="spread">
                <Filter value={wanted} onChange={setWanted} label="Find in these" />
              </span>
            </div>
            <Table label="Events" rows={matching(all, columns, wanted)} columns={columns} onOpen={setOpen} empty={<Empty title="Nothing was recorded">Choose another stretch of time, or everything.</Empty>} />
          </section>
        )}
      </Shown>
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
