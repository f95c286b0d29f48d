// The spec of a Kafka supervisor, read and changed at its paths. The spec is the truth: the form shows what it knows of it and
// leaves alone what it does not know. And what a sample of events suggests for it.

export type Json = Record<string, unknown>;

const SCHEMA: Json = {
  dataSource: "",
  timestampSpec: { column: "time", format: "auto" },
  dimensionsSpec: { useSchemaDiscovery: true },
  granularitySpec: { segmentGranularity: "HOUR", queryGranularity: "NONE", rollup: false },
};

export const FIRST: Json = {
  type: "kafka",
  spec: {
    dataSchema: SCHEMA,
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

/** Where events come from. `other` is what a spec may say and the form does not know. */
export type Source = "kafka" | "inline" | "http" | "local" | "other";

export function sourceOf(spec: Json): Source {
  if (spec.type === "kafka") return "kafka";
  const kind = at(spec, [...INPUT, "type"]);
  return (spec.type === "index_parallel" || spec.type === "index") && (kind === "inline" || kind === "http" || kind === "local") ? kind : "other";
}

const INPUTS: Record<"inline" | "http" | "local", Json> = {
  inline: { type: "inline", data: "" },
  http: { type: "http", uris: [] },
  local: { type: "local", baseDir: "", filter: "*" },
};

/** The same schema and format, read from elsewhere. What only the other source had is gone. */
export function withSource(spec: Json, source: "kafka" | "inline" | "http" | "local"): Json {
  if (sourceOf(spec) === source) return spec;
  const known = at(spec, FORMAT);
  const format = typeof known === "object" && known !== null ? fitting(known as Json, source) : { type: "json" };
  const schema = at(spec, ["spec", "dataSchema"]) ?? SCHEMA;
  if (source === "kafka") {
    return { ...(FIRST as { type: string }), spec: { ...(FIRST.spec as Json), dataSchema: schema, ioConfig: { ...(at(FIRST, ["spec", "ioConfig"]) as Json), inputFormat: format } } };
  }
  const batch = sourceOf(spec) === "kafka" || sourceOf(spec) === "other";
  const next: Json = {
    type: "index_parallel",
    spec: {
      dataSchema: schema,
      ioConfig: { type: "index_parallel", inputSource: INPUTS[source], inputFormat: format, appendToExisting: batch ? false : (at(spec, APPENDS) ?? false) },
      tuningConfig: batch ? { type: "index_parallel", partitionsSpec: { type: "dynamic", maxRowsPerSegment: 5_000_000 } } : (at(spec, ["spec", "tuningConfig"]) ?? { type: "index_parallel" }),
    },
  };
  // A file is of days or years, a stream of now.
  return batch && at(spec, [...GRANULARITY, "segmentGranularity"]) === "HOUR" ? put(next, [...GRANULARITY, "segmentGranularity"], "DAY") : next;
}

/** A format that the source can have. */
function fitting(format: Json, source: Source): Json {
  if (format.type === "parquet" && (source === "kafka" || source === "inline")) return { type: "json" };
  if (format.type === "kafka" && source !== "kafka") return { type: "json" };
  return format;
}

/** A format with what it cannot be without. Files have names of columns in their first line, streams do not; numbers are numbers. */
export function formatOf(kind: string, source: Source): Json {
  switch (kind) {
    case "csv":
    case "tsv":
      return source === "kafka" ? { type: kind, findColumnsFromHeader: false, columns: [], tryParseNumbers: true } : { type: kind, findColumnsFromHeader: true, tryParseNumbers: true };
    case "regex":
      return { type: "regex", pattern: "", columns: [] };
    default:
      return { type: kind };
  }
}

/** The format that a file of that name has; `null` where its name does not say. */
export function formatOfName(name: string): string | null {
  const found = /\.(jsonl?|ndjson|csv|tsv|parquet|txt|log)(\.gz)?$/i.exec(name.trim().replace(/[?#].*$/, ""));
  const ending = found?.[1]?.toLowerCase();
  if (ending === undefined) return null;
  return { json: "json", jsonl: "json", ndjson: "json", csv: "csv", tsv: "tsv", parquet: "parquet", txt: "lines", log: "lines" }[ending] ?? null;
}

/** The format of a text, by its first line. */
export function formatOfText(text: string): string | null {
  const line = text.trimStart().split("\n", 1)[0] ?? "";
  if (line.startsWith("{")) return "json";
  if (line.includes("\t")) return "tsv";
  return line.includes(",") ? "csv" : null;
}

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
export const INPUT = ["spec", "ioConfig", "inputSource"];
export const DATA = [...INPUT, "data"];
export const URIS = [...INPUT, "uris"];
export const FOLDER = [...INPUT, "baseDir"];
export const FILTER = [...INPUT, "filter"];
export const FILES = [...INPUT, "files"];
export const APPENDS = ["spec", "ioConfig", "appendToExisting"];
export const TUNING = ["spec", "tuningConfig"];
export const FLATTEN = [...FORMAT, "flattenSpec", "fields"];
export const TRANSFORMS = ["spec", "dataSchema", "transformSpec", "transforms"];
export const KEEPS = ["spec", "dataSchema", "transformSpec", "filter"];

/** The objects of a list; what stands in it and is none is left out of sight. */
export function listOf(spec: unknown, path: string[]): Json[] {
  const list = at(spec, path);
  return Array.isArray(list) ? (list as unknown[]).filter((one): one is Json => typeof one === "object" && one !== null) : [];
}

/** An empty list is none at all. */
export const withList = (spec: Json, path: string[], list: Json[]): Json => put(spec, path, list.length === 0 ? undefined : list);

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


const blank = (value: unknown): boolean => String(value ?? "").trim() === "";

/** What is missing before it is worth sending, in the words of the form. */
export function lacks(spec: Json): string[] {
  const missing = lacksInput(spec);
  if (blank(at(spec, NAME))) missing.push("a name");
  if (blank(at(spec, TIME_COLUMN))) missing.push("a time column");
  if (listOf(spec, FLATTEN).some((one) => blank(one.name))) missing.push("a name for each path");
  if (listOf(spec, TRANSFORMS).some((one) => blank(one.name) || blank(one.expression))) missing.push("a name and an expression for each computed column");
  if (listOf(spec, METRICS).some((one) => blank(one.name))) missing.push("a name for each figure");
  return missing;
}

/** What is missing before there is anything to look at. */
export function lacksInput(spec: Json): string[] {
  const missing: string[] = [];
  const text = (path: string[]): boolean => blank(at(spec, path));
  switch (sourceOf(spec)) {
    case "kafka":
      if (text(BROKERS) && at(spec, ["spec", "ioConfig", "consumerProperties", "druid.dynamic.config.provider"]) === undefined) missing.push("a broker");
      if (text(TOPIC) && at(spec, ["spec", "ioConfig", "topicPattern"]) === undefined) missing.push("a topic");
      break;
    case "inline":
      if (text(DATA)) missing.push("some text");
      break;
    case "http":
      if (!Array.isArray(at(spec, URIS)) || (at(spec, URIS) as unknown[]).length === 0) missing.push("an address");
      break;
    case "local":
      if (text(FOLDER) && (!Array.isArray(at(spec, FILES)) || (at(spec, FILES) as unknown[]).length === 0)) missing.push("a folder");
      break;
    case "other":
      break;
  }
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

/** Where the events of a sample came from. */
export function placeOf(spec: Json): string {
  switch (sourceOf(spec)) {
    case "kafka":
      return JSON.stringify([at(spec, TOPIC), at(spec, ["spec", "ioConfig", "consumerProperties"]), at(spec, EARLIEST)]);
    default:
      return JSON.stringify(at(spec, INPUT) ?? null);
  }
}

/** Characters of a pasted text that are sent to be looked at. */
const LOOKED_AT = 256 * 1024;

/** The spec to be looked at: without lines that are begun and not yet filled in, and with no more of a pasted text than is looked at. */
export function toSample(spec: Json): Json {
  let next = spec;
  const keep = (path: string[], whole: (one: Json) => boolean): void => {
    const all = listOf(next, path);
    const filled = all.filter(whole);
    if (filled.length < all.length) next = withList(next, path, filled);
  };
  keep(FLATTEN, (one) => !blank(one.name));
  keep(TRANSFORMS, (one) => !blank(one.name) && !blank(one.expression));
  keep(METRICS, (one) => !blank(one.name) && (one.type === "count" || !blank(one.fieldName)));
  const dimensions = dimensionsOf(next);
  if (dimensions.some((one) => blank(one.name))) next = withDimensions(next, dimensions.filter((one) => !blank(one.name)));
  if (blank(at(next, NAME))) next = put(next, NAME, "sample");
  const data = at(next, DATA);
  if (sourceOf(next) === "inline" && typeof data === "string" && data.length > LOOKED_AT) {
    const end = data.lastIndexOf("\n", LOOKED_AT);
    next = put(next, DATA, data.slice(0, end > 0 ? end : LOOKED_AT));
  }
  return { ...next, samplerConfig: { numRows: 500, timeoutMs: 10_000 } };
}

/** Which events are kept. */
export type Keep = { is: "all" } | { is: "equal" | "differs"; column: string; value: string } | { is: "expression"; expression: string } | { is: "other" };

export function keepOf(spec: Json): Keep {
  const filter = at(spec, KEEPS);
  if (filter === undefined || filter === null) return { is: "all" };
  if (typeof filter !== "object") return { is: "other" };
  const one = filter as Json;
  if (one.type === "selector" && one.extractionFn === undefined && typeof one.value !== "object") return { is: "equal", column: String(one.dimension ?? ""), value: String(one.value ?? "") };
  if (one.type === "not") {
    const inner = keepOf(put({}, KEEPS, one.field));
    return inner.is === "equal" ? { ...inner, is: "differs" } : { is: "other" };
  }
  return one.type === "expression" && typeof one.expression === "string" ? { is: "expression", expression: one.expression } : { is: "other" };
}

export function withKeep(spec: Json, keep: Keep): Json {
  switch (keep.is) {
    case "all":
      return put(spec, KEEPS, undefined);
    case "equal":
      return put(spec, KEEPS, { type: "selector", dimension: keep.column, value: keep.value });
    case "differs":
      return put(spec, KEEPS, { type: "not", field: { type: "selector", dimension: keep.column, value: keep.value } });
    case "expression":
      return put(spec, KEEPS, { type: "expression", expression: keep.expression });
    case "other":
      return spec;
  }
}

const PLAIN = /^[A-Za-z_]\w*$/;

/** Fields within fields of the sample, as paths that would make columns of them. */
export function suggestPaths(rows: Json[], known: string[], most = 12): { name: string; expr: string }[] {
  const found = new Map<string, string>();
  const look = (value: unknown, names: string[]): void => {
    if (found.size >= most || names.length > 6) return;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) look(inner, [...names, key]);
    } else if (names.length > 1 && value !== null && !Array.isArray(value)) {
      const expr = `$${names.map((name) => (PLAIN.test(name) ? `.${name}` : `['${name.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}']`)).join("")}`;
      if (!known.includes(expr)) found.set(expr, names.join("_").replace(/[^\w-]+/g, "_"));
    }
  };
  for (const row of rows.slice(0, 50)) look(row, []);
  return [...found].map(([expr, name]) => ({ name, expr }));
}

/** Figures to keep when equal events become one row: how many they were, and the sums of what is a number and no name. */
export function suggestMetrics(dimensions: Dimension[]): Json[] {
  const sums = dimensions.filter(({ name, type }) => /^(long|double|float)$/.test(type) && !/(^|[_.])(id|code|zip|year|month|day|hour|version|status|port)$/i.test(name) && !/[a-z]I[dD]$/.test(name));
  return [{ type: "count", name: "events" }, ...sums.map(({ name, type }) => ({ type: type === "long" ? "longSum" : "doubleSum", name, fieldName: name }))];
}

/** What stands in the text of a spec for a pasted text that is too long to be shown in it. */
export const held = (data: string): string => `(${data.length.toLocaleString("en-US")} characters that were pasted or chosen: kept beside this text)`;

/** Longer texts are kept beside the spec's. */
const SHOWN_WITHIN = 4_000;

/** The spec as its text shows it, and what is kept beside. */
export function shownSpec(spec: Json): { shown: Json; beside: string | null } {
  const data = at(spec, DATA);
  if (typeof data !== "string" || data.length <= SHOWN_WITHIN) return { shown: spec, beside: null };
  return { shown: put(spec, DATA, held(data)), beside: data };
}

/** The spec of a text, with what was kept beside it. */
export const wholeSpec = (shown: Json, beside: string | null): Json => (beside !== null && at(shown, DATA) === held(beside) ? put(shown, DATA, beside) : shown);
