// What the explore page shows, as its address says it, and the statements that ask for it. Pure.

import { literal, quoted } from "../api/sql";

export interface Filter {
  column: string;
  /** `null` is the value that there is none. */
  value: string | null;
  not: boolean;
}

export interface View {
  source: string;
  /** A stretch up to now, in seconds; or from and to in milliseconds. */
  span: { last: number } | { from: number; to: number };
  measure: string;
  splits: string[];
  filters: Filter[];
  compare: boolean;
}

export const SPANS: [number, string][] = [[900, "15 minutes"], [3600, "hour"], [21_600, "6 hours"], [86_400, "24 hours"], [604_800, "7 days"], [2_592_000, "30 days"]];

/** Reads the address; whatever it holds becomes a view. */
export function read(parameters: URLSearchParams): View {
  const last = Number(parameters.get("last"));
  const from = Date.parse(parameters.get("from") ?? "");
  const to = Date.parse(parameters.get("to") ?? "");
  return {
    source: parameters.get("source") ?? "",
    span: from < to ? { from, to } : { last: Number.isFinite(last) && last >= 1 && last <= 366 * 86_400 ? last : 3600 },
    measure: parameters.get("measure") ?? "count",
    splits: listOf(parameters.get("split")),
    filters: filtersOf(parameters.get("filter")),
    compare: parameters.get("compare") === "1",
  };
}

function listOf(text: string | null): string[] {
  try {
    const list = JSON.parse(text ?? "[]") as unknown;
    return Array.isArray(list) ? list.filter((one): one is string => typeof one === "string").slice(0, 12) : [];
  } catch {
    return [];
  }
}

function filtersOf(text: string | null): Filter[] {
  try {
    const list = JSON.parse(text ?? "[]") as unknown;
    if (!Array.isArray(list)) return [];
    return (list as unknown[]).flatMap((one) => {
      if (!Array.isArray(one)) return [];
      const [column, value, not] = one as unknown[];
      return typeof column === "string" && (typeof value === "string" || value === null) ? [{ column, value, not: not === 1 }] : [];
    }).slice(0, 50);
  } catch {
    return [];
  }
}

export function write(view: View): Record<string, string | null> {
  return {
    source: view.source,
    last: "last" in view.span && view.span.last !== 3600 ? String(view.span.last) : null,
    from: "from" in view.span ? new Date(view.span.from).toISOString() : null,
    to: "to" in view.span ? new Date(view.span.to).toISOString() : null,
    measure: view.measure === "count" ? null : view.measure,
    // Without any, the address says so: of an address that says nothing the first dimensions are shown.
    split: JSON.stringify(view.splits),
    filter: view.filters.length === 0 ? null : JSON.stringify(view.filters.map((one) => [one.column, one.value, one.not ? 1 : 0])),
    compare: view.compare ? "1" : null,
  };
}

export interface Window {
  from: number;
  to: number;
}

export function windowOf(view: View, now: number): Window {
  if ("from" in view.span) return view.span;
  const window = { from: now - view.span.last * 1000, to: now };
  // It begins with a whole bucket: half of one looks like a fall.
  const { ms } = bucketOf(window);
  return { from: Math.floor(window.from / ms) * ms, to: now };
}

/** The stretch of the same length just before. */
export const before = (window: Window): Window => ({ from: 2 * window.from - window.to, to: window.from });

const BUCKETS: [number, string][] = [[1e3, "PT1S"], [5e3, "PT5S"], [15e3, "PT15S"], [6e4, "PT1M"], [3e5, "PT5M"], [9e5, "PT15M"], [3.6e6, "PT1H"], [2.16e7, "PT6H"], [8.64e7, "P1D"], [6.048e8, "P7D"]];

/** So wide that the stretch has at most some two hundred of them. */
export function bucketOf(window: Window): { ms: number; period: string } {
  const [ms, period] = BUCKETS.find(([size]) => (window.to - window.from) / size <= 240) ?? BUCKETS[BUCKETS.length - 1] ?? [8.64e7, "P1D"];
  return { ms, period };
}

/** `sum:added` and its like; what is none counts rows. */
export function measureSql(measure: string, within = ""): string {
  const [, how, column] = /^(sum|avg|min|max|distinct):(.+)$/s.exec(measure) ?? [];
  const filter = within === "" ? "" : ` FILTER (WHERE ${within})`;
  if (how === undefined || column === undefined) return `COUNT(*)${filter}`;
  if (how === "distinct") return `APPROX_COUNT_DISTINCT(${quoted(column)})${filter}`;
  return `${how.toUpperCase()}(${quoted(column)})${filter}`;
}

export function measureName(measure: string): string {
  const [, how, column] = /^(sum|avg|min|max|distinct):(.+)$/s.exec(measure) ?? [];
  if (how === undefined) return "Number of rows";
  return { sum: `Sum of ${column}`, avg: `Mean of ${column}`, min: `Least ${column}`, max: `Largest ${column}`, distinct: `Different ${column}` }[how] ?? measure;
}

const stamp = (ms: number): string => `TIMESTAMP '${new Date(ms).toISOString().replace("T", " ").replace("Z", "")}'`;
const within = (window: Window): string => `__time >= ${stamp(window.from)} AND __time < ${stamp(window.to)}`;

export function condition(filter: Filter): string {
  const name = quoted(filter.column);
  if (filter.value === null) return `${name} IS ${filter.not ? "NOT " : ""}NULL`;
  const is = `CAST(${name} AS VARCHAR) = ${literal(filter.value)}`;
  return filter.not ? `(${name} IS NULL OR NOT ${is})` : is;
}

const where = (window: Window, filters: Filter[]): string => [within(window), ...filters.map(condition)].join("\n  AND ");

export function timelineSql(view: View, window: Window): string {
  return `SELECT TIME_FLOOR(__time, '${bucketOf(window).period}') AS "time", ${measureSql(view.measure)} AS "value"\nFROM ${quoted(view.source)}\nWHERE ${where(window, view.filters)}\nGROUP BY 1\nORDER BY 1`;
}

export function totalSql(view: View, window: Window): string {
  return `SELECT ${measureSql(view.measure)} AS "value"\nFROM ${quoted(view.source)}\nWHERE ${where(window, view.filters)}`;
}

/** The largest values of a column. A filter on the column itself does not hide its other values, so that one can change one's mind. */
export function splitSql(view: View, column: string, window: Window, most: number): string {
  const filters = view.filters.filter((one) => one.column !== column);
  const from = `FROM ${quoted(view.source)}`;
  if (!view.compare) {
    return `SELECT CAST(${quoted(column)} AS VARCHAR) AS "name", ${measureSql(view.measure)} AS "value"\n${from}\nWHERE ${where(window, filters)}\nGROUP BY 1\nORDER BY 2 DESC\nLIMIT ${most}`;
  }
  const earlier = before(window);
  return (
    `SELECT CAST(${quoted(column)} AS VARCHAR) AS "name", ${measureSql(view.measure, within(window))} AS "value",\n  ${measureSql(view.measure, within(earlier))} AS "before"\n` +
    `${from}\nWHERE ${where({ from: earlier.from, to: window.to }, filters)}\nGROUP BY 1\nORDER BY 2 DESC\nLIMIT ${most}`
  );
}

/** Adds the filter, turns it, or takes it away if it is there. */
export function toggled(filters: Filter[], wanted: Filter): Filter[] {
  const same = filters.find((one) => one.column === wanted.column && one.value === wanted.value);
  const rest = filters.filter((one) => one !== same);
  if (same !== undefined && same.not === wanted.not) return rest;
  // A column is one value or another, never both: what is clicked takes the place of what was.
  return [...(wanted.not ? rest : rest.filter((one) => one.column !== wanted.column || one.not)), wanted];
}

export function change(now: number | null, then: number | null): number | null {
  return now === null || then === null || then === 0 ? null : (now - then) / Math.abs(then);
}

/** Buckets in which there was nothing are drawn as nothing, if the measure is one that counts. */
export function filled(rows: { time: string; value: number | null }[], window: Window, measure: string): { times: number[]; values: (number | null)[] } {
  const { ms } = bucketOf(window);
  const known = new Map(rows.map((row) => [Date.parse(row.time), row.value]));
  const empty = /^(count$|sum:|distinct:)/.test(measure) ? 0 : null;
  const times: number[] = [];
  for (let time = Math.floor(window.from / ms) * ms; time < window.to; time += ms) times.push(time);
  // Weeks and the like do not begin at multiples of their length.
  if (![...known.keys()].every((time) => (time - (times[0] ?? 0)) % ms === 0)) return { times: [...known.keys()], values: [...known.values()] };
  return { times, values: times.map((time) => known.get(time) ?? empty) };
}
