// An explained statement as steps that people read: what each native query reads, keeps, groups and makes; and, of a run, how long
// each step took, on which node.

import type { RunStep } from "../api/progress";

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
  // An end that no event reaches is none.
  const open = (one: string): string => one.replace(/^-146136543[^/]*\//, "until ").replace(/^(?!until )(.*)\/\+?14614.*$/, "from $1 on");
  return intervals.length > 3 ? `${intervals.slice(0, 3).map(open).join(", ")}, … ${intervals.length} intervals` : intervals.map(open).join(", ");
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
  sql: "The statement",
  merge: "Put together",
  join: "Join",
  sort: "Order",
  filter: "Keep some rows",
  aggregate: "Group",
  union: "One after another",
};

/** A step of a run, with what the plan says of it. */
export interface Timed {
  name: string;
  table: string | null;
  /** Of the slowest node. */
  ms: number;
  rows: number;
  segments: number | null;
  /** The same step on each node; none for what was done where the statement was sent. */
  nodes: RunStep[];
  step: Step | null;
  inner: Timed[];
}

const alike = (a: RunStep, b: RunStep): boolean => a.name === b.name && a.table === b.table;
const sum = (steps: RunStep[]): number | null => (steps.every((one) => one.segments === null) ? null : steps.reduce((all, one) => all + (one.segments ?? 0), 0));

/** Steps of a run as a tree, the same step of several nodes as one; steps of the plan that no step of the run tells of are left over. */
export function timed(steps: RunStep[], plan: Step[]): { tree: Timed[]; left: Step[] } {
  const known = new Set(steps.map((one) => one.id));
  const below = (parent: number | null): RunStep[] => steps.filter((one) => (parent === null ? one.parent === null || !known.has(one.parent) : one.parent === parent));
  const done = new Set<number>();
  const grow = (level: RunStep[]): Timed[] => {
    const grown: Timed[] = [];
    for (const first of level) {
      if (done.has(first.id)) continue;
      const group = first.node === null ? [first] : level.filter((one) => one.node !== null && alike(one, first) && !done.has(one.id));
      for (const one of group) done.add(one.id);
      const inner = group.flatMap((one) => below(one.id)).filter((one) => !done.has(one.id));
      // What a step has done by nodes is that step.
      const byNode = first.node === null ? inner.filter((one) => one.node !== null && alike(one, first)) : [];
      for (const one of byNode) done.add(one.id);
      const deeper = [...inner.filter((one) => !byNode.includes(one)), ...byNode.flatMap((one) => below(one.id))];
      const all = first.node === null ? byNode : group;
      grown.push({
        name: first.name,
        table: first.table,
        ms: Math.max(...group.map((one) => one.ms)),
        rows: first.node === null ? first.rows : group.reduce((rows, one) => rows + one.rows, 0),
        segments: first.segments !== null && first.node === null ? first.segments : sum(all),
        nodes: all,
        step: null,
        inner: grow(deeper),
      });
    }
    return grown;
  };
  const tree = grow(below(null));
  const left = new Set<Step>();
  const gather = (step: Step): void => {
    left.add(step);
    step.inner.forEach(gather);
  };
  plan.forEach(gather);
  const match = (one: Timed): void => {
    one.step = [...left].find((step) => step.kind === one.name && (one.table === null ? step.reads.length === 0 : step.reads.includes(one.table))) ?? null;
    if (one.step !== null) left.delete(one.step);
    one.inner.forEach(match);
  };
  tree.forEach(match);
  return { tree, left: [...left] };
}
