// How the cluster goes, of its own metrics (`sys.metrics`): counters of all nodes as rates over time. Pure but for asking.

import { literal, rowsOf } from "../api/sql";

export interface MetricRow {
  time: number;
  node: string;
  name: string;
  /** A JSON object, or nothing. */
  labels: string;
  value: number;
}

export interface Rates {
  /** Milliseconds, ascending. */
  times: number[];
  queries: number[];
  failed: number[];
  /** Mean of a query, in milliseconds; `null` where none was answered. */
  latency: (number | null)[];
  rows: number[];
  lag: number[];
}

const QUERIES = "henge_server_queries_total";
const SECONDS = "henge_server_query_seconds_sum";
const COUNT = "henge_server_query_seconds_count";
const ROWS = "henge_ingest_rows_processed_total";
const LAG = "henge_ingest_lag";

const STEP = { ms: 30_000, period: "PT30S" };
export const SPAN_MS = 1_800_000;

/** `null` where the server keeps no metrics of its own. */
export async function metricRows(signal?: AbortSignal): Promise<MetricRow[] | null> {
  // Asked for a table that there is not, it would answer with an error.
  const known = await rowsOf<{ n: number }>("SELECT COUNT(*) AS n FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'sys' AND TABLE_NAME = 'metrics'", signal);
  if ((known[0]?.n ?? 0) === 0) return null;
  const rows = await rowsOf<Omit<MetricRow, "time"> & { time: string }>(
    `SELECT TIME_FLOOR(__time, '${STEP.period}') AS "time", node, name, labels, MAX("value") AS "value"
     FROM sys.metrics WHERE __time >= CURRENT_TIMESTAMP - INTERVAL '31' MINUTE AND name IN (${[QUERIES, SECONDS, COUNT, ROWS, LAG].map(literal).join(", ")})
     GROUP BY 1, 2, 3, 4 LIMIT 50000`,
    signal,
    { priority: -10 },
  );
  return rows.map((row) => ({ ...row, time: Date.parse(row.time) }));
}

function outcome(labels: string): string | null {
  try {
    const said = (JSON.parse(labels === "" ? "{}" : labels) as { outcome?: unknown }).outcome;
    return typeof said === "string" ? said : null;
  } catch {
    return null;
  }
}

/** What is not over yet is left out: half of a step looks like a fall. */
export function ratesOf(rows: MetricRow[], now: number): Rates {
  const whole = rows.filter((row) => row.time + STEP.ms <= now);
  const series = new Map<string, MetricRow[]>();
  for (const row of whole) {
    const key = JSON.stringify([row.node, row.name, row.labels]);
    const known = series.get(key);
    if (known === undefined) series.set(key, [row]);
    else known.push(row);
  }
  const rises = new Map<string, Map<number, number>>();
  const add = (name: string, time: number, value: number): void => {
    const at = rises.get(name) ?? new Map<number, number>();
    rises.set(name, at.set(time, (at.get(time) ?? 0) + value));
  };
  for (const list of series.values()) {
    list.sort((a, b) => a.time - b.time);
    list.forEach((row, index) => {
      if (row.name === LAG) return add(LAG, row.time, row.value);
      const before = list[index - 1];
      if (before === undefined) return;
      // A node that began anew counts from nothing.
      const rise = (row.value < before.value ? row.value : row.value - before.value) / ((row.time - before.time) / 1000);
      add(row.name, row.time, rise);
      if (row.name === QUERIES && outcome(row.labels) === "failed") add("failed", row.time, rise);
    });
  }
  const first = Math.min(...whole.map((row) => row.time));
  // The first step of a series has nothing to rise from.
  const times = [...new Set(whole.map((row) => row.time))].filter((time) => time > first).sort((a, b) => a - b);
  const of = (name: string): number[] => times.map((time) => rises.get(name)?.get(time) ?? 0);
  const counts = of(COUNT);
  return {
    times,
    queries: of(QUERIES),
    failed: of("failed"),
    latency: of(SECONDS).map((seconds, at) => ((counts[at] ?? 0) > 0 ? (1000 * seconds) / (counts[at] ?? 1) : null)),
    rows: of(ROWS),
    lag: of(LAG),
  };
}
