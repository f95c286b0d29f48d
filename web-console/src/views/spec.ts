// The spec of a Kafka supervisor, read and changed at its paths. The spec is the truth: the form shows what it knows of it and
// leaves alone what it does not know. And what a sample of events suggests for it.

export type Json = Record<string, unknown>;

export const FIRST: Json = {
  type: "kafka",
  spec: {
    dataSchema: {
      dataSource: "",
      timestampSpec: { column: "time", format: "auto" },
      dimensionsSpec: { useSchemaDiscovery: true },
      granularitySpec: { segmentGranularity: "HOUR", queryGranularity: "NONE", rollup: false },
    },
    ioConfig: {
      type: "kafka",
      topic: "",
      consumerProperties: { "bootstrap.servers": "" },
      inputFormat: { type: "json" },
      useEarliestOffset: true,
      taskCount: 1,
    },
    tuningConfig: { type: "kafka" },
  },
};

export function at(from: unknown, path: string[]): unknown {
  return path.reduce<unknown>((here, key) => (typeof here === "object" && here !== null ? (here as Json)[key] : undefined), from);
}

/** A copy in which the path has the value; `undefined` takes it away. Nothing else is touched. */
export function put(from: Json, path: string[], value: unknown): Json {
  const [key, ...rest] = path;
  if (key === undefined) return from;
  const copy: Json = { ...from };
  if (rest.length === 0) {
    if (value === undefined) delete copy[key];
    else copy[key] = value;
    return copy;
  }
  const below = copy[key];
  copy[key] = put(typeof below === "object" && below !== null && !Array.isArray(below) ? (below as Json) : {}, rest, value);
  return copy;
}

export const TIME_COLUMN = ["spec", "dataSchema", "timestampSpec", "column"];
export const TIME_FORMAT = ["spec", "dataSchema", "timestampSpec", "format"];
export const NAME = ["spec", "dataSchema", "dataSource"];
export const DIMENSIONS = ["spec", "dataSchema", "dimensionsSpec"];
export const METRICS = ["spec", "dataSchema", "metricsSpec"];
export const GRANULARITY = ["spec", "dataSchema", "granularitySpec"];
export const TOPIC = ["spec", "ioConfig", "topic"];
export const BROKERS = ["spec", "ioConfig", "consumerProperties", "bootstrap.servers"];
export const FORMAT = ["spec", "ioConfig", "inputFormat"];
export const EARLIEST = ["spec", "ioConfig", "useEarliestOffset"];
export const TASKS = ["spec", "ioConfig", "taskCount"];

export interface Dimension {
  name: string;
  type: string;
}

export function dimensionsOf(spec: Json): Dimension[] {
  const list = at(spec, [...DIMENSIONS, "dimensions"]);
  if (!Array.isArray(list)) return [];
  return (list as unknown[]).map((one) => (typeof one === "string" ? { name: one, type: "string" } : { name: String((one as Json).name ?? ""), type: String((one as Json).type ?? "string") }));
}

/** What is known of a dimension besides name and type stays with it. */
export function withDimensions(spec: Json, dimensions: Dimension[]): Json {
  const before = at(spec, [...DIMENSIONS, "dimensions"]);
  const known = new Map((Array.isArray(before) ? (before as unknown[]) : []).filter((one): one is Json => typeof one === "object" && one !== null).map((one) => [String(one.name), one]));
  const list = dimensions.map(({ name, type }) => {
    const more = known.get(name);
    if (more !== undefined) return { ...more, type, name };
    return type === "string" ? name : { type, name };
  });
  return put(put(spec, [...DIMENSIONS, "dimensions"], list), [...DIMENSIONS, "useSchemaDiscovery"], list.length === 0 ? true : undefined);
}


/** What is missing before it is worth sending, in the words of the form. */
export function lacks(spec: Json): string[] {
  const missing: string[] = [];
  const text = (path: string[]): string => String(at(spec, path) ?? "").trim();
  if (text(BROKERS) === "" && at(spec, ["spec", "ioConfig", "consumerProperties", "druid.dynamic.config.provider"]) === undefined) missing.push("a broker");
  if (text(TOPIC) === "" && at(spec, ["spec", "ioConfig", "topicPattern"]) === undefined) missing.push("a topic");
  if (text(NAME) === "") missing.push("a name");
  if (text(TIME_COLUMN) === "") missing.push("a time column");
  return missing;
}

/** A name for a datasource, made of a topic's. */
export const nameOfTopic = (topic: string): string => topic.trim().replace(/[^\w-]+/g, "_").replace(/^[^A-Za-z]+/, "");

const TIME_NAMES = /^(__time|timestamp|time|ts|event_?time|event_?timestamp|created(_?at)?|date|datetime|occurred(_?at)?|at)$/i;

/** How a value says a time, in the words of a timestampSpec; `null` where it says none. */
export function timeFormatOf(value: unknown): string | null {
  if (typeof value === "number" || (typeof value === "string" && /^\d{10,19}$/.test(value))) {
    const size = Number(value);
    if (size > 1e8 && size < 1e10) return "posix";
    if (size > 1e11 && size < 1e13) return "millis";
    if (size > 1e14 && size < 1e16) return "micro";
    if (size > 1e17 && size < 1e19) return "nano";
    return null;
  }
  if (typeof value === "string" && /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?$/.test(value)) return "iso";
  return null;
}

/** The column that is most likely the time of the event, with its format. */
export function suggestTime(rows: Json[]): { column: string; format: string } | null {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  let best: { column: string; format: string; score: number } | null = null;
  for (const column of keys) {
    const values = rows.map((row) => row[column]).filter((value) => value !== null && value !== undefined);
    const format = timeFormatOf(values[0]);
    if (format === null || values.length < rows.length || !values.every((value) => timeFormatOf(value) === format)) continue;
    const score = (TIME_NAMES.test(column) ? 10 : /time|date/i.test(column) ? 4 : 0) + (format === "iso" ? 2 : 1);
    if (best === null || score > best.score) best = { column, format, score };
  }
  return best === null ? null : { column: best.column, format: best.format };
}

/** The narrowest type that holds what was seen. */
export function suggestTypes(rows: Json[], time: string): Dimension[] {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => key !== time);
  return keys.map((name) => {
    const values = rows.map((row) => row[name]).filter((value) => value !== null && value !== undefined);
    if (values.length > 0 && values.every((value) => typeof value === "number")) return { name, type: values.every((value) => Number.isInteger(value)) ? "long" : "double" };
    if (values.some((value) => typeof value === "object" && !Array.isArray(value))) return { name, type: "json" };
    if (values.some(Array.isArray)) return { name, type: "auto" };
    return { name, type: "string" };
  });
}

/** What a sample depends on, besides where the events come from: as long as it is the same, so is the sample. */
export function readingOf(spec: Json): string {
  const schema = at(spec, ["spec", "dataSchema"]);
  return JSON.stringify([typeof schema === "object" ? { ...schema, dataSource: undefined } : schema, at(spec, FORMAT)]);
}
