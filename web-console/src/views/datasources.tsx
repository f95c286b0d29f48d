// Datasources: what is stored of each, how long it is kept, and taking one out of use.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { lazy, Suspense, useState, type ReactNode } from "react";
import { datasourceNames, datasources, dropDatasource, restoreDatasource, rules, setRules, timeBoundary, type Datasource, type Rule } from "../api/cluster";
import { asApiError, type ApiError } from "../api/error";
import { may, mayAny, maySeeSegments } from "../api/session";
import { rowsOf, quoted, literal } from "../api/sql";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { bytes, count, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Empty, Failed, Loading, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Badge, Instant, Name } from "../parts/text";
import { adjust, go, Link, usePlace } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { Drop } from "./results";

const Editor = lazy(() => import("../parts/editor"));

interface Row extends Datasource {
  /** Whether its segments may be told. */
  told: boolean;
  rules: Rule[] | null;
}

export function ruleText(rule: Rule): string {
  const copies = Object.entries(rule.tieredReplicants ?? {}).map(([tier, number]) => `${plural(number, "copy", "copies")} in ${tier}`).join(", ");
  const what = rule.type.startsWith("load") ? "keep" : rule.type.startsWith("drop") ? "drop" : rule.type;
  const when = rule.type.endsWith("Forever") ? "for ever" : rule.type.endsWith("BeforeByPeriod") ? `older than ${rule.period}` : rule.type.endsWith("ByPeriod") ? `the last ${rule.period}` : rule.type.endsWith("ByInterval") ? `${rule.interval}` : "";
  return `${what} ${when}${copies === "" ? "" : ` (${copies})`}`.trim();
}

export default function Datasources(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const [wanted, setWanted] = useState("");
  const [question, setQuestion] = useState<Question | null>(null);
  const sees = maySeeSegments(who);
  const live = useLive(
    async (signal): Promise<Row[]> => {
      const [names, stored, kept] = await Promise.all([datasourceNames(signal), sees ? datasources(signal) : [], rules(signal).catch(() => ({}) as Record<string, Rule[]>)]);
      const byName = new Map(stored.map((one) => [one.datasource, one]));
      return [...new Set([...names, ...byName.keys()])].sort().map((datasource) => ({
        ...(byName.get(datasource) ?? { datasource, segments: 0, available: 0, realtime: 0, rows: 0, size: 0, earliest: null, latest: null, short: 0 }),
        told: byName.has(datasource),
        rules: kept[datasource] ?? null,
      }));
    },
    [who.username],
    10_000,
  );
  const chosen = parameters.get("name");
  const [cluster, setCluster] = useState<Rule[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const retention = async (): Promise<void> => {
    setError(null);
    try {
      setCluster((await rules())._default ?? []);
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  const editsCluster = may(who, "CONFIG", "CONFIG", "WRITE");
  const untold = (row: Row, text: string): string => (row.told ? text : "–");
  const columns: TableColumn<Row>[] = [
    { key: "name", title: "Name", text: (row) => row.datasource },
    ...(sees
      ? ([
          {
            key: "available",
            title: "Availability",
            width: 200,
            text: (row) => untold(row, row.available === row.segments ? "all available" : `${row.segments - row.available} missing`),
            show: (row) =>
              row.told ? (
                <Badge tone={row.available < row.segments ? "bad" : row.short > 0 ? "warn" : "good"}>
                  {row.available < row.segments ? `${count(row.segments - row.available)} of ${count(row.segments)} missing` : row.short > 0 ? `${count(row.short)} with too few copies` : "all available"}
                </Badge>
              ) : (
                <span className="muted">not for you to see</span>
              ),
          },
          { key: "segments", title: "Segments", width: 110, end: true, text: (row) => untold(row, count(row.segments)), value: (row) => row.segments },
          { key: "rows", title: "Rows", width: 130, end: true, text: (row) => untold(row, count(row.rows)), value: (row) => row.rows },
          { key: "size", title: "Published", width: 110, end: true, text: (row) => untold(row, bytes(row.size)), value: (row) => row.size },
          { key: "span", title: "From", width: 190, text: (row) => row.earliest, show: (row) => <Instant at={row.earliest} /> },
        ] satisfies TableColumn<Row>[])
      : []),
    { key: "rules", title: "Retention", width: 230, text: (row) => (row.rules === null ? "as the cluster" : row.rules.map(ruleText).join("; ")), show: (row) => <span className={row.rules === null ? "muted cell-text" : "cell-text"}>{row.rules === null ? "as the cluster" : row.rules.map(ruleText).join("; ")}</span> },
  ];
  return (
    <div className="page fill">
      <Head title="Datasources" about="What can be queried, how much of it there is, and how long it is kept.">
        <Filter value={wanted} onChange={setWanted} label="Find a datasource" />
        {editsCluster && (
          <button type="button" onClick={() => void retention()}>
            Retention of the cluster…
          </button>
        )}
        {mayAny(who, "DATASOURCE", "WRITE") && (
          <Link to="/load" className="button primary">
            <Icon name="load" /> Load data
          </Link>
        )}
      </Head>
      {error !== null && <Failed error={error} />}
      <Shown live={live}>
        {(all) => (
          <section className="panel column" aria-label="Datasources">
            <Table label="Datasources" rows={matching(all, columns, wanted)} columns={columns} sort={{ key: "name", down: false }} heightMax={2000} onOpen={(row) => adjust({ name: row.datasource })} empty={<Empty title={wanted === "" ? "No data yet" : "None of that name"} />} />
          </section>
        )}
      </Shown>
      {chosen !== null && live.data !== null && (
        <One
          name={chosen}
          row={live.data.find((row) => row.datasource === chosen) ?? null}
          onClose={() => adjust({ name: null })}
          onChanged={live.refresh}
          ask={setQuestion}
        />
      )}
      {cluster !== null && <Retention name="_default" now={cluster} onClose={() => setCluster(null)} onDone={live.refresh} />}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={live.refresh} />}
    </div>
  );
}

function One({ name, row, onClose, onChanged, ask }: { name: string; row: Row | null; onClose: () => void; onChanged: () => void; ask: (question: Question) => void }): ReactNode {
  const { who } = useSession();
  const columns = useLive((signal) => rowsOf<{ COLUMN_NAME: string; DATA_TYPE: string }>(`SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'druid' AND TABLE_NAME = ${literal(name)} ORDER BY ORDINAL_POSITION`, signal), [name]);
  const told = row?.told === true;
  const span = useLive(
    async (signal) => {
      // Who may see the table of segments has the number from there; for others the rows that they see are counted.
      const [boundary, counted] = await Promise.all([timeBoundary(name, undefined, signal), told ? [] : rowsOf<{ n: number }>(`SELECT COUNT(*) AS n FROM ${quoted(name)}`, signal, { priority: -10 })]);
      return { first: boundary.minTime, last: boundary.maxTime, seen: counted[0]?.n };
    },
    [name, told],
  );
  const writes = may(who, "DATASOURCE", name, "WRITE");
  const [editing, setEditing] = useState(false);
  return (
    <Dialog
      kind="side"
      title={<Name>{name}</Name>}
      onClose={onClose}
      foot={
        <>
          {writes && (
            <Drop label="Actions">
              <Menu.Item onSelect={() => setEditing(true)}>Change its retention…</Menu.Item>
              <Menu.Item
                onSelect={() =>
                  ask({
                    title: `Use all segments of ${name} again?`,
                    consequence: "Segments that were marked unused come back, as far as their files are still kept; retention rules may take them out again.",
                    action: "Use them again",
                    act: () => restoreDatasource(name),
                  })
                }
              >
                Use its segments again…
              </Menu.Item>
              <Menu.Separator />
              <Menu.Item
                className="grave-item"
                onSelect={() =>
                  ask({
                    title: `Take ${name} out of use?`,
                    consequence: "All of its segments are marked unused: queries find none of its published rows from now on. The files stay for a while, and the segments can be used again. A supervisor that reads into it goes on.",
                    action: "Take it out of use",
                    grave: true,
                    type: name,
                    act: () => dropDatasource(name),
                  })
                }
              >
                Take it out of use…
              </Menu.Item>
            </Drop>
          )}
          <Link to="/explore" with={{ source: name }} className="button">
            Explore
          </Link>
          <button type="button" className="primary" onClick={() => go("/query", { q: `SELECT *\nFROM ${quoted(name)}\nWHERE __time >= CURRENT_TIMESTAMP - INTERVAL '1' HOUR\nLIMIT 100` })}>
            Query
          </button>
        </>
      }
    >
      <Shown live={span} what="Counting">
        {({ first, last, seen }) => (
          <dl className="facts">
            <dt>{told ? "Rows stored" : "Rows that you see"}</dt>
            <dd>{count(told ? row.rows : seen)}</dd>
            <dt>First event</dt>
            <dd>
              <Instant at={first} />
            </dd>
            <dt>Newest event</dt>
            <dd>
              <Instant at={last} />
            </dd>
            {told && (
              <>
                <dt>Segments</dt>
                <dd>
                  <Link to="/segments" with={{ source: name }}>
                    {count(row.segments)}
                  </Link>
                  , {count(row.realtime)} of them still filling; {bytes(row.size)} published
                </dd>
              </>
            )}
            <dt>Retention</dt>
            <dd>{row?.rules === null || row === null ? "as the cluster" : row.rules.map(ruleText).join("; ")}</dd>
          </dl>
        )}
      </Shown>
      <h3>Columns</h3>
      <Shown live={columns}>
        {(list) => (
          <table className="plain">
            <thead>
              <tr>
                <th>Name</th>
                <th>Type</th>
              </tr>
            </thead>
            <tbody>
              {list.slice(0, 400).map((one) => (
                <tr key={one.COLUMN_NAME}>
                  <td>
                    <Name>{one.COLUMN_NAME}</Name>
                  </td>
                  <td className="muted">{one.DATA_TYPE.toLowerCase()}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Shown>
      {editing && <Retention name={name} now={row?.rules ?? []} onClose={() => setEditing(false)} onDone={onChanged} />}
    </Dialog>
  );
}

function Retention({ name, now, onClose, onDone }: { name: string; now: Rule[]; onClose: () => void; onDone: () => void }): ReactNode {
  const [text, setText] = useState(JSON.stringify(now.length === 0 ? [{ type: "loadByPeriod", period: "P30D", includeFuture: true, tieredReplicants: { _default_tier: 1 } }, { type: "dropForever" }] : now, null, 2));
  const [error, setError] = useState<ApiError | null>(null);
  let list: Rule[] | null = null;
  try {
    const read = JSON.parse(text) as unknown;
    list = Array.isArray(read) ? (read as Rule[]) : null;
  } catch {
    list = null;
  }
  const save = async (): Promise<void> => {
    try {
      await setRules(name, list ?? [], "console");
      onDone();
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  return (
    <Dialog
      title={name === "_default" ? "How long everything is kept that has no rules of its own" : `How long ${name} is kept`}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Keep it as it is
          </button>
          <button type="button" className="primary" disabled={list === null || (name === "_default" && list.length === 0)} onClick={() => void save()}>
            {list?.length === 0 ? "Go by the cluster's rules" : "Set these rules"}
          </button>
        </>
      }
    >
      <p>The first rule that matches a segment holds. {name === "_default" ? "Each datasource's own rules are read before these." : "An empty list goes by the rules of the cluster."} Segments that a drop rule matches leave at the coordinator's next cycle, and with them their rows leave all answers.</p>
      <div style={{ height: 260, border: "1px solid var(--line)", borderRadius: 6, overflow: "hidden" }}>
        <Suspense fallback={<Loading />}>
          <Editor value={text} onChange={setText} language="json" label="Rules" />
        </Suspense>
      </div>
      {list === null ? (
        <p className="wrong">This is not a list of rules in JSON.</p>
      ) : (
        <ol>
          {list.map((rule, at) => (
            <li key={at}>
              {at + 1}. {typeof rule?.type === "string" ? ruleText(rule) : "a rule needs a type"}
            </li>
          ))}
        </ol>
      )}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}
