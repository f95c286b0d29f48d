// Explore: a datasource over time and by its dimensions, without writing a statement. Clicking a bar filters, brushing the time
// narrows it, every view is its address, and every view shows the statements that it asks.

import { lazy, Suspense, type ReactNode } from "react";
import { datasourceNames } from "../api/cluster";
import { rowsOf, tables, type Column } from "../api/sql";
import { figure, instant, short } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Empty, Loading, Shown } from "../parts/state";
import { Name } from "../parts/text";
import { go, usePlace } from "../router";
import { useSession } from "../session";
import { useSettings } from "../settings";
import { Head } from "../shell";
import { before, change, filled, measureName, read, SPANS, splitSql, timelineSql, toggled, totalSql, windowOf, write, type Filter, type View } from "./pivot";

const TimeLines = lazy(() => import("../parts/chart").then((part) => ({ default: part.TimeLines })));

const MOST = 10;
const NUMERIC = /^(TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|REAL|DOUBLE|DECIMAL)$/;

interface SplitRow {
  name: string | null;
  value: number | null;
  before?: number | null;
}

export default function Explore(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const known = useLive(
    async (signal) => {
      const [names, all] = await Promise.all([datasourceNames(signal), tables(signal)]);
      return { names, columns: Object.fromEntries(all.filter((one) => one.schema === "druid").map((one) => [one.name, one.columns])) as Record<string, Column[]> };
    },
    [who.username],
    15_000,
  );
  return (
    <Shown live={known} what="Looking at what there is">
      {({ names, columns }) => {
        const asked = read(parameters);
        const source = asked.source !== "" ? asked.source : (names[0] ?? "");
        if (source === "") return <Empty title="There is nothing to explore yet">Datasources appear here with their first event.</Empty>;
        const dimensions = (columns[source] ?? []).filter((one) => one.type === "VARCHAR" || one.type === "BOOLEAN").map((one) => one.name);
        const view = { ...asked, source, splits: parameters.get("split") === null ? dimensions.slice(0, 4) : asked.splits };
        return <Pivot view={view} names={names} columns={columns[source] ?? []} />;
      }}
    </Shown>
  );
}

function Pivot({ view, names, columns }: { view: View; names: string[]; columns: Column[] }): ReactNode {
  const { zone } = useSettings();
  const set = (change: Partial<View>): void => go("/explore", write({ ...view, ...change }));
  const filter = (wanted: Filter): void => set({ filters: toggled(view.filters, wanted) });
  const about = JSON.stringify(write(view));
  const moving = "last" in view.span;
  const live = useLive(
    async (signal) => {
      const window = windowOf(view, Date.now());
      const earlier = before(window);
      const [total, past, line, pastLine, ...splits] = await Promise.all([
        rowsOf<{ value: number | null }>(totalSql(view, window), signal),
        view.compare ? rowsOf<{ value: number | null }>(totalSql(view, earlier), signal) : [],
        rowsOf<{ time: string; value: number | null }>(timelineSql(view, window), signal),
        view.compare ? rowsOf<{ time: string; value: number | null }>(timelineSql(view, earlier), signal) : [],
        ...view.splits.map((column) => rowsOf<SplitRow>(splitSql(view, column, window, MOST), signal)),
      ]);
      const now = filled(line, window, view.measure);
      const then = view.compare ? filled(pastLine, earlier, view.measure) : null;
      return {
        window,
        total: total[0]?.value ?? null,
        past: past[0]?.value ?? null,
        times: now.times,
        series: [{ name: measureName(view.measure), values: now.values }, ...(then === null ? [] : [{ name: "the stretch before", values: now.times.map((_, at) => then.values[at] ?? null) }])],
        splits: view.splits.map((column, at) => ({ column, rows: splits[at] ?? [] })),
      };
    },
    [about],
    moving ? 10_000 : null,
  );
  const numbers = columns.filter((one) => NUMERIC.test(one.type)).map((one) => one.name);
  const dimensions = columns.filter((one) => one.type !== "TIMESTAMP" && one.type !== "OTHER" && !one.type.startsWith("COMPLEX")).map((one) => one.name);
  const statement = timelineSql(view, live.data?.window ?? windowOf(view, Date.now()));
  return (
    <div className="page">
      <Head title={<Name>{view.source}</Name>} about={live.data === null ? undefined : `${instant(live.data.window.from, zone).slice(0, 19)} to ${instant(live.data.window.to, zone).slice(0, 19)} ${zone === "utc" ? "UTC" : "local time"}${moving ? ", following" : ""}`}>
        <button type="button" onClick={() => go("/query", { q: statement })}>
          <Icon name="query" size={15} /> Open as a query
        </button>
      </Head>
      <div className="pivot">
        <section className="panel side-fields" aria-label="What is shown">
          <label className="field">
            <span>Datasource</span>
            <select value={view.source} onChange={(event) => go("/explore", { source: event.target.value, last: "last" in view.span ? String(view.span.last) : null })}>
              {[...new Set([view.source, ...names])].map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          <label className="field">
            <span>Time</span>
            <select value={"last" in view.span ? view.span.last : ""} onChange={(event) => set({ span: { last: Number(event.target.value) } })}>
              {"from" in view.span && <option value="">as chosen in the chart</option>}
              {SPANS.map(([seconds, words]) => (
                <option key={seconds} value={seconds}>
                  the last {words}
                </option>
              ))}
            </select>
          </label>
          <label className="field">
            <span>Measure</span>
            <select value={view.measure} onChange={(event) => set({ measure: event.target.value })}>
              <option value="count">Number of rows</option>
              {numbers.flatMap((name) => ["sum", "avg", "max", "min"].map((how) => `${how}:${name}`)).map((one) => (
                <option key={one} value={one}>
                  {measureName(one)}
                </option>
              ))}
              {dimensions.filter((name) => !numbers.includes(name)).map((name) => (
                <option key={name} value={`distinct:${name}`}>
                  {measureName(`distinct:${name}`)}
                </option>
              ))}
            </select>
          </label>
          <label className="check">
            <input type="checkbox" checked={view.compare} onChange={(event) => set({ compare: event.target.checked })} /> Compare with the stretch before
          </label>
          <fieldset>
            <legend>Split by</legend>
            <div className="split-choices">
              {dimensions.slice(0, 300).map((name) => (
                <label key={name} className="check">
                  <input type="checkbox" checked={view.splits.includes(name)} disabled={!view.splits.includes(name) && view.splits.length >= 8} onChange={(event) => set({ splits: event.target.checked ? [...view.splits, name] : view.splits.filter((one) => one !== name) })} />
                  <Name>{name}</Name>
                </label>
              ))}
            </div>
          </fieldset>
        </section>
        <div className="results">
          {view.filters.length > 0 && (
            <div className="row" role="group" aria-label="Filters">
              {view.filters.map((one) => (
                <span key={`${one.column}/${one.value}`} className="row" style={{ gap: 2 }}>
                  <button type="button" className="chip" title="Turn it around" onClick={() => filter({ ...one, not: !one.not })}>
                    <Name>{one.column}</Name> {one.not ? "is not" : "is"} <Name>{one.value ?? "null"}</Name>
                  </button>
                  <button type="button" className="bare" aria-label={`Take away the filter on ${one.column}`} onClick={() => set({ filters: view.filters.filter((each) => each !== one) })}>
                    <Icon name="close" size={12} />
                  </button>
                </span>
              ))}
              <button type="button" className="link" onClick={() => set({ filters: [] })}>
                All of them away
              </button>
            </div>
          )}
          <Shown live={live} what="Asking">
            {(data) => (
              <>
                <section className="panel" aria-label="Over time">
                  <header>
                    <h2 className="grow">{measureName(view.measure)}</h2>
                    {view.compare && <Change of={change(data.total, data.past)} />}
                    <span className="tile-figure">{data.total === null ? "–" : figure(data.total)}</span>
                  </header>
                  <div className="inside">
                    <Suspense fallback={<div className="chart-to-come"><Loading what="Drawing" /></div>}>
                      <TimeLines times={data.times} series={data.series} label={measureName(view.measure)} height={200} onBrush={(from, to) => set({ span: { from: Math.round(from), to: Math.round(to) } })} />
                    </Suspense>
                    <p className="muted small">
                      Drag across the chart to look closer.{" "}
                      {"from" in view.span && (
                        <button type="button" className="link" onClick={() => set({ span: { last: 3600 } })}>
                          Follow the last hour again
                        </button>
                      )}
                    </p>
                  </div>
                </section>
                <div className="columns">
                  {data.splits.map((split) => (
                    <Split key={split.column} column={split.column} rows={split.rows} view={view} onFilter={filter} />
                  ))}
                </div>
              </>
            )}
          </Shown>
          <details>
            <summary className="muted">The statements of this view</summary>
            <pre className="document">{[statement, ...view.splits.map((column) => splitSql(view, column, live.data?.window ?? windowOf(view, Date.now()), MOST))].join(";\n\n")}</pre>
          </details>
        </div>
      </div>
    </div>
  );
}

function Change({ of }: { of: number | null }): ReactNode {
  if (of === null) return <span className="muted">–</span>;
  return <span className={of < 0 ? "downward" : "up"}>{`${of < 0 ? "−" : "+"}${(Math.abs(of) * 100).toFixed(Math.abs(of) < 0.1 ? 1 : 0)}%`}</span>;
}

function Split({ column, rows, view, onFilter }: { column: string; rows: SplitRow[]; view: View; onFilter: (filter: Filter) => void }): ReactNode {
  const most = Math.max(1e-9, ...rows.map((row) => Math.abs(row.value ?? 0)));
  // All of a column are written alike: whole as long as the largest has room, or else all in short.
  const told = (value: number): string => (most < 1e7 ? figure(Math.abs(value) < 100 ? value : Math.round(value)) : short(value));
  return (
    <section className="panel" aria-label={`By ${column}`}>
      <header>
        <h2>
          <Name>{column}</Name>
        </h2>
      </header>
      <div className="inside split">
        {rows.length === 0 && <Empty title="No rows in this stretch" />}
        {rows.map((row) => {
          const on = view.filters.find((one) => one.column === column && one.value === row.name);
          const label = row.name === null ? "null" : row.name === "" ? "(empty)" : row.name;
          return (
            <button key={row.name ?? "\u0000"} type="button" aria-pressed={on !== undefined} title={`${label}: ${row.value === null ? "nothing" : figure(row.value)}`} onClick={() => onFilter({ column, value: row.name, not: on?.not ?? false })}>
              <bdi className="cell-text">{label}</bdi>
              <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                <rect width={(100 * Math.abs(row.value ?? 0)) / most} height="10" fill={on === undefined ? "var(--c1)" : on.not ? "var(--c6)" : "var(--c2)"} />
              </svg>
              <span className="value">{row.value === null ? "–" : told(row.value)}</span>
              <span className="change">{view.compare ? <Change of={change(row.value, row.before ?? null)} /> : null}</span>
            </button>
          );
        })}
      </div>
    </section>
  );
}
