// Datasources: what is stored of each, how long it is kept, and taking one out of use.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { useState, type ReactNode } from "react";
import { datasourceNames, datasources, dropDatasource, restoreDatasource, rules, timeBoundary, type Datasource, type Rule } from "../api/cluster";
import { may, mayAny, maySeeSegments } from "../api/session";
import { rowsOf, quoted, literal } from "../api/sql";
import { useAct } from "../parts/act";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { Drop } from "../parts/drop";
import { bytes, count, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Plain } from "../parts/plain";
import { Empty, Failed, Shown } from "../parts/state";
import type { TableColumn } from "../parts/table";
import { Badge, Instant, Name } from "../parts/text";
import { adjust, go, Link, usePlace } from "../router";
import { useSession } from "../session";
import { FiringOver } from "./firing";
import { ListPage } from "./list";
import { CLUSTER, Retention } from "./retention";
import { ruleText } from "./rules";

interface Row extends Datasource {
  /** Whether its segments may be told. */
  told: boolean;
  rules: Rule[] | null;
}

const retained = (row: Row | null): string => (row === null || row.rules === null || row.rules.length === 0 ? "as the cluster" : row.rules.map(ruleText).join("; "));

export default function Datasources(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
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
  const [editing, setEditing] = useState<{ name: string; all: Record<string, Rule[]> } | null>(null);
  const { error, run } = useAct();
  // What they are when it is opened, not when the list was last asked for.
  const retention = (name: string): void => void run(async () => setEditing({ name, all: await rules() }));
  const editsCluster = may(who, "CONFIG", "CONFIG", "WRITE");
  const untold = (row: Row, text: string): string => (row.told ? text : "–");
  const columns: TableColumn<Row>[] = [
    { key: "name", title: "Name", least: 180, text: (row) => row.datasource },
    ...(sees
      ? ([
          {
            key: "available",
            title: "Availability",
            width: 180,
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
          { key: "segments", title: "Segments", width: 100, yields: 2, end: true, text: (row) => untold(row, count(row.segments)), value: (row) => row.segments },
          { key: "rows", title: "Rows", width: 120, end: true, text: (row) => untold(row, count(row.rows)), value: (row) => row.rows },
          { key: "size", title: "Published", width: 100, end: true, text: (row) => untold(row, bytes(row.size)), value: (row) => row.size },
          { key: "span", title: "From", width: 178, yields: 3, text: (row) => row.earliest, show: (row) => <Instant at={row.earliest} brief /> },
        ] satisfies TableColumn<Row>[])
      : []),
    { key: "rules", title: "Retention", least: 120, text: retained, show: (row) => <span className={row.rules === null ? "muted cell-text" : "cell-text"} title={retained(row)}>{retained(row)}</span> },
  ];
  return (
    <ListPage
      title="Datasources"
      about="What can be queried, how much of it there is, and how long it is kept."
      find="Find a datasource"
      live={live}
      columns={columns}
      sort={{ key: "name", down: false }}
      onOpen={(row) => adjust({ name: row.datasource })}
      empty={(others) => <Empty title={others ? "None of that name" : "No data yet"} />}
      notice={error !== null && <Failed error={error} />}
      actions={
        <>
          {editsCluster && (
            <button type="button" onClick={() => retention(CLUSTER)}>
              Retention of the cluster…
            </button>
          )}
          {mayAny(who, "DATASOURCE", "WRITE") && (
            <Link to="/load" className="button primary">
              <Icon name="load" /> Load data
            </Link>
          )}
        </>
      }
    >
      {chosen !== null && live.data !== null && (
        <One
          name={chosen}
          row={live.data.find((row) => row.datasource === chosen) ?? null}
          onClose={() => adjust({ name: null })}
          onRetention={() => retention(chosen)}
          ask={setQuestion}
        />
      )}
      {editing !== null && <Retention name={editing.name} all={editing.all} onClose={() => setEditing(null)} onDone={live.refresh} />}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={live.refresh} />}
    </ListPage>
  );
}

function One({ name, row, onClose, onRetention, ask }: { name: string; row: Row | null; onClose: () => void; onRetention: () => void; ask: (question: Question) => void }): ReactNode {
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
  return (
    <Dialog
      kind="side"
      title={<Name>{name}</Name>}
      onClose={onClose}
      foot={
        <>
          {writes && (
            <Drop label="Actions">
              <Menu.Item onSelect={onRetention}>Change its retention…</Menu.Item>
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
      <FiringOver statements={[`SELECT 1 FROM ${quoted(name)}`]} what="this datasource" />
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
                    {plural(row.segments, "segment")}
                  </Link>
                  {row.realtime > 0 && `, ${row.realtime === row.segments ? "" : `${count(row.realtime)} of them `}still filling`}; {row.size === 0 ? "nothing published yet" : `${bytes(row.size)} published`}
                </dd>
              </>
            )}
            <dt>Retention</dt>
            <dd>{retained(row)}</dd>
          </dl>
        )}
      </Shown>
      <h3>Columns</h3>
      <Shown live={columns}>
        {(list) => (
          <Plain heads={["Name", "Type"]}>
            {list.slice(0, 400).map((one) => (
              <tr key={one.COLUMN_NAME}>
                <td>
                  <Name>{one.COLUMN_NAME}</Name>
                </td>
                <td className="muted">{one.DATA_TYPE.toLowerCase()}</td>
              </tr>
            ))}
            {list.length > 400 && (
              <tr>
                <td colSpan={2} className="muted">
                  and {plural(list.length - 400, "more column")}
                </td>
              </tr>
            )}
          </Plain>
        )}
      </Shown>
    </Dialog>
  );
}
