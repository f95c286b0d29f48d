// A panel of a dashboard: asks its statement for the stretch of time that is shown, again and again, and draws what comes. What
// goes wrong is told in the panel, beside what was there before.

import { lazy, Suspense, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { runSql, type Result } from "../api/sql";
import { figure, quantity } from "../parts/format";
import { useLive } from "../parts/live";
import { shapeOf, timeSeries, type ChartKind } from "../parts/shape";
import { Spark } from "../parts/spark";
import { Empty, Failed, Loading } from "../parts/state";
import { Table } from "../parts/table";
import { useSettings } from "../settings";
import { filled, windowOf, type Panel, type Range } from "./board";
import { cellText, tableColumns } from "./results";

const Drawing = lazy(() => import("../parts/chart").then((part) => ({ default: part.Drawing })));

const DRAWN: Record<Exclude<Panel["kind"], "table" | "number">, ChartKind> = { line: "time", bar: "bar", pie: "pie", heat: "heat" };

/** Rows that one panel reads; a drawing of more would show no more. */
const ROWS_MAX = 10_000;

export interface Asking {
  range: Range;
  variables: Record<string, string>;
  everyMs: number | null;
  /** Asked again at once when it changes. */
  round: number;
}

export function PanelBody({ panel, asking }: { panel: Pick<Panel, "title" | "kind" | "query" | "unit">; asking: Asking }): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const element = box.current;
    if (element === null || seen) return;
    // What nobody has scrolled to is not asked for.
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((one) => one.isIntersecting)) setSeen(true);
    }, { rootMargin: "200px" });
    observer.observe(element);
    return () => observer.disconnect();
  }, [seen]);
  return (
    <div ref={box} className="board-body">
      {seen ? <Asked panel={panel} asking={asking} /> : <Loading />}
    </div>
  );
}

function Asked({ panel, asking }: { panel: Pick<Panel, "title" | "kind" | "query" | "unit">; asking: Asking }): ReactNode {
  const blank = panel.query.trim() === "";
  const live = useLive(
    async (signal): Promise<Result | null> =>
      blank ? null : runSql(filled(panel.query, windowOf(asking.range, Date.now()), asking.variables), { signal, unasked: true, rowsMax: ROWS_MAX, context: { sqlOuterLimit: ROWS_MAX, priority: -5 } }),
    [panel.query, JSON.stringify(asking.range), JSON.stringify(asking.variables)],
    asking.everyMs,
  );
  const round = useRef(asking.round);
  useEffect(() => {
    if (round.current !== asking.round) live.refresh();
    round.current = asking.round;
  }, [asking.round]);
  if (blank) return <Empty title="No statement yet" />;
  return (
    <>
      {live.error !== null && <Failed error={live.error} retry={live.refresh} />}
      {live.data === null ? live.error === null && <Loading what="Asking" /> : <Drawn panel={panel} result={live.data} />}
    </>
  );
}

function Drawn({ panel, result }: { panel: Pick<Panel, "title" | "kind" | "unit">; result: Result }): ReactNode {
  const { zone } = useSettings();
  const columns = useMemo(() => tableColumns(result.columns, zone), [result.columns, zone]);
  const short = result.cut || result.rows.length >= ROWS_MAX;
  if (result.rows.length === 0) return <Empty title="No rows">Nothing matches in this stretch of time.</Empty>;
  return (
    <>
      {short && <p className="board-note">of the first {figure(ROWS_MAX)} rows</p>}
      {result.uncovered.length > 0 && <p className="board-note">Rows are missing for now: they are being read again.</p>}
      {panel.kind === "table" ? (
        <Table label={panel.title} fit={false} rows={result.rows} columns={columns} />
      ) : panel.kind === "number" ? (
        <Figure result={result} unit={panel.unit} title={panel.title} />
      ) : (
        <Suspense fallback={<Loading what="Drawing" />}>
          {/* What may be longer than its panel is scrolled by the keyboard too; lines are a place of it already. */}
          <div className={`board-drawing as-${panel.kind}`} tabIndex={panel.kind === "line" ? undefined : 0} role="group" aria-label={panel.title === "" ? "Drawing" : panel.title}>
            <Drawing columns={result.columns} rows={result.rows} kind={DRAWN[panel.kind]} unit={panel.unit} label={panel.title} />
          </div>
        </Suspense>
      )}
    </>
  );
}

/** The first number; of a series over time the newest, with how it went. */
function Figure({ result, unit, title }: { result: Result; unit: string | null; title: string }): ReactNode {
  const { zone } = useSettings();
  const shape = shapeOf(result.columns, result.rows);
  const measure = shape.measures[0];
  const time = shape.times[0];
  if (measure === undefined) return <p className="board-figure">{cellText(result.rows[0]?.[0] ?? null, result.columns[0]?.type ?? "", zone) ?? "–"}</p>;
  const values = time === undefined || result.rows.length < 2 ? null : (timeSeries(result.columns, result.rows, time, [measure], null).series[0]?.values ?? []);
  const cell = values === null ? result.rows[0]?.[measure] : values[values.length - 1];
  const value = typeof cell === "number" || typeof cell === "bigint" ? cell : cell === null || cell === undefined ? null : Number(cell);
  return (
    <div className="board-figure">
      <span>{value === null ? "–" : quantity(value, unit)}</span>
      {values !== null && <Spark label={title} values={values.map((one) => one ?? 0)} />}
    </div>
  );
}
