// An explained statement as steps that people read: what each native query reads, keeps, groups and makes.

export interface Step {
  kind: string;
  reads: string[];
  inner: Step[];
  facts: { name: string; text: string }[];
  query: Record<string, unknown>;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {});
const list = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
const said = (value: unknown): string => (typeof value === "string" ? `'${value}'` : JSON.stringify(value));

/** A native filter, close to SQL; what has no words here is shown as its JSON. */
export function filterText(filter: unknown): string {
  const one = object(filter);
  const column = String(one.column ?? one.dimension ?? "?");
  switch (one.type) {
    case "and":
      return list(one.fields).map(grouped).join(" AND ");
    case "or":
      return list(one.fields).map(grouped).join(" OR ");
    case "not":
      return `NOT ${grouped(one.field)}`;
    case "equals":
      return `${column} = ${said(one.matchValue)}`;
    case "selector":
      return one.value === null || one.value === undefined ? `${column} IS NULL` : `${column} = ${said(one.value)}`;
    case "null":
      return `${column} IS NULL`;
    case "in":
    case "inType": {
      const values = list(one.values ?? one.sortedValues);
      return `${column} IN (${values.slice(0, 8).map(said).join(", ")}${values.length > 8 ? `, … ${values.length} values` : ""})`;
    }
    case "range": {
      const parts = [];
      if (one.lower !== undefined && one.lower !== null) parts.push(`${column} ${one.lowerOpen === true ? ">" : "≥"} ${said(one.lower)}`);
      if (one.upper !== undefined && one.upper !== null) parts.push(`${column} ${one.upperOpen === true ? "<" : "≤"} ${said(one.upper)}`);
      return parts.join(" AND ");
    }
    case "like":
      return `${column} LIKE ${said(one.pattern)}`;
    case "expression":
      return String(one.expression);
    case "true":
      return "everything";
    case "false":
      return "nothing";
    default:
      return JSON.stringify(filter);
  }
}

const grouped = (filter: unknown): string => (["and", "or"].includes(String(object(filter).type)) ? `(${filterText(filter)})` : filterText(filter));

function intervalsText(value: unknown): string | null {
  const intervals = list(object(value).intervals ?? value).map(String);
  // The whole of time is no restriction.
  if (intervals.length === 0 || intervals.some((one) => one.startsWith("-146136543") && /\/\+?14614/.test(one))) return null;
  return intervals.length > 3 ? `${intervals.slice(0, 3).join(", ")}, … ${intervals.length} intervals` : intervals.join(", ");
}

const named = (value: unknown): string => {
  const one = object(value);
  if (typeof value === "string") return value;
  const from = String(one.dimension ?? one.fieldName ?? one.expression ?? "");
  const to = String(one.outputName ?? one.name ?? "");
  const by = one.type !== undefined && one.type !== "default" ? `${String(one.type)}(${from})` : from;
  return by === to || to === "" ? by : `${by} → ${to}`;
};

function sources(source: unknown): { reads: string[]; inner: Step[] } {
  const one = object(source);
  if (typeof source === "string") return { reads: [source], inner: [] };
  switch (one.type) {
    case "table":
      return { reads: [String(one.name)], inner: [] };
    case "lookup":
      return { reads: [`lookup ${String(one.lookup)}`], inner: [] };
    case "inline":
      return { reads: [`${list(one.rows).length} rows of the statement`], inner: [] };
    case "query":
      return { reads: [], inner: [stepOf(object(one.query))] };
    case "union":
      return { reads: list(one.dataSources).map((each) => String(object(each).name ?? each)), inner: [] };
    case "join": {
      const left = sources(one.left);
      const right = sources(one.right);
      return { reads: [...left.reads, ...right.reads], inner: [...left.inner, ...right.inner] };
    }
    default: {
      const base = one.base === undefined ? { reads: [], inner: [] } : sources(one.base);
      return { reads: [...base.reads, String(one.type ?? "?")], inner: base.inner };
    }
  }
}

export function stepOf(query: Json): Step {
  const facts: Step["facts"] = [];
  const fact = (name: string, text: string | null | undefined): void => {
    if (text !== null && text !== undefined && text !== "") facts.push({ name, text });
  };
  const source = object(query.dataSource);
  if (source.type === "join") fact("joined on", `${String(source.joinType ?? "INNER")} ${String(source.condition ?? "")}`);
  fact("in time", intervalsText(query.intervals));
  fact("only where", query.filter === undefined || query.filter === null ? null : filterText(query.filter));
  fact("grain", query.granularity === "all" ? null : typeof query.granularity === "string" ? query.granularity : query.granularity === undefined ? null : JSON.stringify(query.granularity));
  fact("computes", list(query.virtualColumns).map(named).join(", "));
  fact("grouped by", list(query.dimensions).map(named).join(", ") || (query.dimension === undefined ? null : named(query.dimension)));
  fact("aggregates", list(query.aggregations).map(aggregation).join(", "));
  fact("then", list(query.postAggregations).map(named).join(", "));
  fact("having", query.having === undefined || query.having === null ? null : JSON.stringify(query.having));
  const limit = object(query.limitSpec);
  fact("ordered by", list(limit.columns ?? query.orderBy).map((each) => `${String(object(each).dimension ?? object(each).columnName)}${/desc/i.test(String(object(each).direction ?? object(each).order)) ? " ↓" : " ↑"}`).join(", "));
  const most = limit.limit ?? query.limit ?? query.threshold;
  fact("at most", most === undefined || most === null ? null : `${Number(most).toLocaleString("en-US")} rows`);
  fact("columns", list(query.columns).length === 0 ? null : list(query.columns).slice(0, 30).join(", "));
  return { kind: String(query.queryType ?? "?"), ...sources(query.dataSource), facts, query };
}

function aggregation(value: unknown): string {
  const one = object(value);
  if (one.type === "filtered") return `${aggregation(one.aggregator)} where ${filterText(one.filter)}`;
  return one.type === "count" ? `count → ${String(one.name)}` : named(value);
}

export const KINDS: Record<string, string> = {
  groupBy: "Group",
  topN: "Top",
  timeseries: "Time series",
  scan: "Read rows",
  search: "Search",
  timeBoundary: "First and last time",
  segmentMetadata: "Describe segments",
  windowOperator: "Window",
};
