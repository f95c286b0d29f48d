// What a result can be drawn as, by its columns; and its rows laid out for each drawing. Pure: `chart.tsx` draws.

import type { Cell, Column } from "../api/sql";

export type ChartKind = "time" | "bar" | "pie" | "heat";

export interface Shape {
  /** Fit for drawing, the best first. */
  kinds: ChartKind[];
  times: number[];
  names: number[];
  measures: number[];
}

const NUMERIC = /^(TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|REAL|DOUBLE|DECIMAL)$/;

export function shapeOf(columns: Column[], rows: Cell[][]): Shape {
  const times: number[] = [];
  const names: number[] = [];
  const measures: number[] = [];
  columns.forEach((column, at) => {
    if (column.type === "TIMESTAMP" || column.type === "DATE") times.push(at);
    else if (NUMERIC.test(column.type)) measures.push(at);
    else if (column.type === "VARCHAR" || column.type === "BOOLEAN" || column.type === "CHAR") names.push(at);
  });
  const kinds: ChartKind[] = [];
  if (measures.length > 0 && rows.length > 0) {
    const first = measures[0] ?? 0;
    if (times.length > 0) kinds.push("time");
    if (names.length >= 2 || (names.length >= 1 && times.length > 0)) kinds.push("heat");
    if (names.length > 0 || times.length > 0) kinds.push("bar");
    const positive = rows.every((row) => row[first] === null || Number(row[first]) >= 0);
    if (names.length > 0 && rows.length <= 400 && positive) kinds.push("pie");
    // With two names and no time, the first glance is at the sizes, not at the grid.
    if (times.length === 0 && kinds[0] === "heat") kinds.push(kinds.shift() ?? "heat");
    if (times.length > 0 && names.length > 0) kinds.sort((a, b) => order[a] - order[b]);
  }
  return { kinds, times, names, measures };
}

const order: Record<ChartKind, number> = { time: 0, bar: 1, heat: 2, pie: 3 };

export const NULL_NAME = "null";
export const OTHERS = "others";

export const nameOf = (cell: Cell | undefined): string => (cell === null || cell === undefined ? NULL_NAME : typeof cell === "object" ? JSON.stringify(cell) : String(cell));

export function timeOf(cell: Cell | undefined): number {
  return typeof cell === "number" ? cell : typeof cell === "string" ? Date.parse(cell) : NaN;
}

const numberOf = (cell: Cell | undefined): number | null => (cell === null || cell === undefined ? null : Number(cell));

export interface Series {
  name: string;
  values: (number | null)[];
}

/** Times in milliseconds, ascending, and one value or nothing for each, by series. */
export function timeSeries(columns: Column[], rows: Cell[][], time: number, measures: number[], split: number | null, seriesMax = 8): { times: number[]; series: Series[]; left: number } {
  const valid = rows.filter((row) => !Number.isNaN(timeOf(row[time])));
  if (split === null) {
    let ascending = true;
    const stamps = valid.map((row) => timeOf(row[time]));
    for (let at = 1; at < stamps.length; at += 1) {
      const step = (stamps[at] ?? 0) - (stamps[at - 1] ?? 0);
      if (step < 0) ascending = false;
    }
    // Events of the same instant stay points of their own; a million rows in order are not sorted again.
    const order = ascending ? null : stamps.map((_, at) => at).sort((a, b) => (stamps[a] ?? 0) - (stamps[b] ?? 0));
    const pick = <T>(values: T[]): T[] => (order === null ? values : order.map((at) => values[at] as T));
    return {
      times: pick(stamps),
      series: measures.slice(0, seriesMax).map((measure) => ({ name: columns[measure]?.name ?? "", values: pick(valid.map((row) => numberOf(row[measure]))) })),
      left: Math.max(0, measures.length - seriesMax),
    };
  }
  const measure = measures[0] ?? 0;
  const totals = new Map<string, number>();
  const stamps = new Set<number>();
  for (const row of valid) {
    const name = nameOf(row[split]);
    totals.set(name, (totals.get(name) ?? 0) + Math.abs(numberOf(row[measure]) ?? 0));
    stamps.add(timeOf(row[time]));
  }
  const times = [...stamps].sort((a, b) => a - b);
  const place = new Map(times.map((stamp, at) => [stamp, at]));
  const chosen = [...totals].sort((a, b) => b[1] - a[1]).slice(0, seriesMax);
  const series = new Map(chosen.map(([name]) => [name, new Array<number | null>(times.length).fill(null)]));
  for (const row of valid) {
    const values = series.get(nameOf(row[split]));
    const at = place.get(timeOf(row[time]));
    const value = numberOf(row[measure]);
    if (values !== undefined && at !== undefined && value !== null) values[at] = (values[at] ?? 0) + value;
  }
  return { times, series: [...series].map(([name, values]) => ({ name, values })), left: Math.max(0, totals.size - seriesMax) };
}

/** Sums by name, the largest first; what does not fit is told as its number. */
export function bars(rows: Cell[][], name: number, measure: number, most: number): { bars: { name: string; value: number }[]; left: number } {
  const sums = new Map<string, number>();
  for (const row of rows) sums.set(nameOf(row[name]), (sums.get(nameOf(row[name])) ?? 0) + (numberOf(row[measure]) ?? 0));
  const all = [...sums].map(([key, value]) => ({ name: key, value }));
  all.sort((a, b) => b.value - a.value);
  return { bars: all.slice(0, most), left: Math.max(0, all.length - most) };
}

/** Slices of a whole: the largest, and the rest as one. */
export function slices(rows: Cell[][], name: number, measure: number, most = 8): { name: string; value: number; share: number }[] {
  const { bars: all } = bars(rows, name, measure, Infinity);
  const whole = all.reduce((sum, one) => sum + one.value, 0);
  const shown = all.length <= most ? all : [...all.slice(0, most - 1), { name: OTHERS, value: all.slice(most - 1).reduce((sum, one) => sum + one.value, 0) }];
  return shown.map((one) => ({ ...one, share: whole === 0 ? 0 : one.value / whole }));
}

export interface Heat {
  across: string[];
  down: string[];
  /** By row of `down`, then `across`. */
  values: (number | null)[][];
  low: number;
  high: number;
}

export function heat(rows: Cell[][], across: number, down: number, measure: number, time: boolean, most = { across: 60, down: 40 }): Heat {
  const sums = new Map<string, Map<string, number>>();
  const byAcross = new Map<string, number>();
  const byDown = new Map<string, number>();
  for (const row of rows) {
    const x = nameOf(row[across]);
    const y = nameOf(row[down]);
    const value = numberOf(row[measure]) ?? 0;
    const line = sums.get(y) ?? new Map<string, number>();
    sums.set(y, line.set(x, (line.get(x) ?? 0) + value));
    byAcross.set(x, (byAcross.get(x) ?? 0) + value);
    byDown.set(y, (byDown.get(y) ?? 0) + value);
  }
  const largest = (of: Map<string, number>, count: number): string[] => [...of].sort((a, b) => b[1] - a[1]).slice(0, count).map(([key]) => key);
  // Times keep their order, and the newest are kept.
  const xs = time ? [...byAcross.keys()].sort().slice(-most.across) : largest(byAcross, most.across);
  const ys = largest(byDown, most.down);
  const values = ys.map((y) => xs.map((x) => sums.get(y)?.get(x) ?? null));
  const known = values.flat().filter((value) => value !== null);
  return { across: xs, down: ys, values, low: Math.min(...known, Infinity), high: Math.max(...known, -Infinity) };
}
