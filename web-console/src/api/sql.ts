// Asking questions: statements and native queries with their rows read as they come, and what there is to ask about.
//
// Rows come as lines of JSON (`arrayLines`), so that a million of them show progress, can be stopped at a limit, and never stand
// in memory twice. A stream that breaks off lacks its empty last line, and is told as incomplete.

import { ask, askJson, segment } from "./client";
import { Elements } from "./elements";
import { ApiError, asApiError } from "./error";

export interface Column {
  name: string;
  /** SQL type, in capitals: VARCHAR, BIGINT, DOUBLE, TIMESTAMP, … */
  type: string;
}

export type Cell = string | number | boolean | null | object | bigint;

export interface Result {
  columns: Column[];
  rows: Cell[][];
  /** The limit of the page was reached, and the rest was not read. */
  cut: boolean;
  /** Bytes of the answer, unpacked. */
  bytes: number;
  elapsedMs: number;
  /** Intervals in which rows are known to be missing now. */
  uncovered: string[];
  queryId: string;
}

export interface Progress {
  rows: number;
  bytes: number;
}

export interface Run {
  context?: Record<string, unknown>;
  rowsMax?: number;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** By which the query may be asked about while it runs; made here if it is not given. */
  id?: string;
  /** It is ended by closing its connection alone: nobody waits to hear what became of it. */
  unasked?: boolean;
}

/** Numbers that a double would round are kept exact. */
export function parseExact(text: string): unknown {
  if (!/\d{16,}/.test(text)) return JSON.parse(text);
  const reviver = (_key: string, value: unknown, source?: { source?: string }): unknown => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || source?.source === undefined) return value;
    return /^-?\d+$/.test(source.source) ? BigInt(source.source) : value;
  };
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

/** Takes text as it comes, gives whole lines; `end` says what is left. */
export class Lines {
  private rest = "";

  take(text: string): string[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    return lines;
  }

  end(): string {
    return this.rest;
  }
}

export const newQueryId = (): string => crypto.randomUUID?.() ?? `console-${Date.now()}-${Math.random().toString(36).slice(2)}`;

function uncoveredOf(answer: Response): string[] {
  try {
    const said = JSON.parse(answer.headers.get("X-Druid-Response-Context") ?? "{}") as { uncoveredIntervals?: string[] };
    return said.uncoveredIntervals ?? [];
  } catch {
    return [];
  }
}

export const ROWS_MAX = 1_000_000;

/** Characters of an answer that are read: several times of them stand in memory as rows. */
export const BYTES_MAX = 256 * 1_048_576;

async function* textOf(answer: Response): AsyncGenerator<string> {
  const reader = answer.body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>).getReader();
  if (reader === undefined) throw new ApiError("failed", "the server's answer has no body");
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Rows that an element of a native answer holds. */
function rowsIn(part: unknown): number {
  const { result, events } = (typeof part === "object" && part !== null ? part : {}) as { result?: unknown; events?: unknown };
  return Array.isArray(events) ? events.length : Array.isArray(result) ? result.length : 1;
}

/** What somebody who cancels a query is told. */
interface Ending {
  /** Of the query's own request. */
  signal: AbortSignal;
  end: () => void;
  cancelled: () => Promise<ApiError>;
}

/** Ends a query: the server is told first, as it forgets a query whose connection has ended and could not say what became of it. */
function ending(path: string, unasked = false): Ending {
  const stop = new AbortController();
  let said: Promise<string> | null = null;
  const end = (): void => {
    if (unasked) return stop.abort();
    said ??= ask(path, { method: "DELETE", stranger: true, signal: AbortSignal.timeout(10_000) })
      .then(
        () => "The server was told to stop.",
        (thrown: unknown) => {
          const error = asApiError(thrown);
          return error.kind === "missing" ? "The server did not know of it any more; the connection was ended." : `The server could not be told to stop, and may still be at work: ${error.message}`;
        },
      )
      .finally(() => stop.abort());
  };
  return { signal: stop.signal, end, cancelled: async () => new ApiError("cancelled", (await said) ?? "It was not begun.") };
}

export async function runSql(query: string, run: Run = {}): Promise<Result> {
  const id = run.id ?? newQueryId();
  const started = performance.now();
  const rowsMax = run.rowsMax ?? ROWS_MAX;
  const { signal, end, cancelled } = ending(`/druid/v2/sql/${segment(id)}`, run.unasked);
  const gone = (): boolean => run.signal?.aborted ?? false;
  if (gone()) throw await cancelled();
  run.signal?.addEventListener("abort", end, { once: true });
  try {
    const answer = await ask("/druid/v2/sql", {
      json: {
        query,
        resultFormat: "arrayLines",
        header: true,
        typesHeader: true,
        sqlTypesHeader: true,
        context: { ...run.context, sqlQueryId: id },
      },
      signal,
    });
    const lines = new Lines();
    const heads: string[][] = [];
    const rows: Cell[][] = [];
    let bytes = 0;
    let ended = false;
    let cut = false;
    for await (const value of textOf(answer)) {
      bytes += value.length;
      for (const line of lines.take(value)) {
        if (line === "") ended = true;
        else if (heads.length < 3) heads.push(JSON.parse(line) as string[]);
        else if (rows.length < rowsMax) rows.push(parseExact(line) as Cell[]);
        else cut = true;
      }
      run.onProgress?.({ rows: rows.length, bytes });
      if (bytes > BYTES_MAX) cut = true;
      if (cut) {
        end();
        break;
      }
    }
    if (!ended && !cut) throw new ApiError("failed", `the answer broke off after ${rows.length.toLocaleString("en")} rows: ${lines.end().slice(0, 300)}`);
    const [names = [], , types = []] = heads;
    return {
      columns: names.map((name, at) => ({ name, type: types[at] ?? "OTHER" })),
      rows,
      cut,
      bytes,
      elapsedMs: performance.now() - started,
      uncovered: uncoveredOf(answer),
      queryId: id,
    };
  } catch (thrown) {
    if (gone()) throw await cancelled();
    throw asApiError(thrown);
  } finally {
    run.signal?.removeEventListener("abort", end);
  }
}

/** Rows of a statement as objects; for the page's own small questions. */
export async function rowsOf<T>(query: string, signal?: AbortSignal, context?: Record<string, unknown>): Promise<T[]> {
  return askJson<T[]>("/druid/v2/sql", { json: { query, resultFormat: "object", context }, signal });
}

/** Native answers have a shape for each type; each is laid out as rows and columns. */
export function tableOfNative(answer: unknown): { columns: Column[]; rows: Cell[][] } {
  const records: Record<string, unknown>[] = [];
  const arrays: unknown[][] = [];
  let names: string[] | null = null;
  for (const one of Array.isArray(answer) ? (answer as unknown[]) : [answer]) {
    if (Array.isArray(one)) {
      arrays.push(one as unknown[]);
      continue;
    }
    if (typeof one !== "object" || one === null) {
      records.push({ value: one });
      continue;
    }
    const item = one as Record<string, unknown>;
    const time = item.timestamp === undefined ? {} : { timestamp: item.timestamp };
    if (Array.isArray(item.result)) for (const row of item.result) records.push({ ...time, ...(row as object) });
    else if (typeof item.result === "object" && item.result !== null) records.push({ ...time, ...item.result });
    else if (typeof item.event === "object" && item.event !== null) records.push({ ...time, ...item.event });
    else if (Array.isArray(item.events)) {
      for (const row of item.events) {
        if (Array.isArray(row)) {
          names = (item.columns as string[] | undefined) ?? names;
          arrays.push(row as unknown[]);
        } else records.push(row as Record<string, unknown>);
      }
    } else records.push(item);
  }
  if (records.length === 0 && arrays.length > 0) {
    const width = Math.max(...arrays.slice(0, 1000).map((row) => row.length));
    const columns = Array.from({ length: width }, (_, at) => ({ name: names?.[at] ?? `c${at}`, type: typeOf(arrays.map((row) => row[at]), names?.[at]) }));
    return { columns, rows: arrays as Cell[][] };
  }
  const keys = new Set<string>();
  for (const record of records) for (const key of Object.keys(record)) keys.add(key);
  const columns = [...keys].map((name) => ({ name, type: typeOf(records.map((record) => record[name]), name) }));
  return { columns, rows: records.map((record) => columns.map(({ name }) => (record[name] ?? null) as Cell)) };
}

function typeOf(values: unknown[], name?: string): string {
  const some = values.find((value) => value !== null && value !== undefined);
  if (name === "timestamp" || name === "__time") return "TIMESTAMP";
  if (typeof some === "number") return values.every((value) => value === null || Number.isInteger(value)) ? "BIGINT" : "DOUBLE";
  if (typeof some === "boolean") return "BOOLEAN";
  return typeof some === "object" ? "OTHER" : "VARCHAR";
}

function readQuery(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (thrown) {
    throw new ApiError("invalid", `A native query is JSON, and this is not: ${thrown instanceof Error ? thrown.message : "it cannot be read"}`);
  }
}

export async function runNative(text: string, run: Run = {}): Promise<Result> {
  const started = performance.now();
  const id = run.id ?? newQueryId();
  const query = readQuery(text);
  const context = { queryId: id, ...((query.context as object | undefined) ?? {}), ...run.context } as Record<string, unknown>;
  const { signal, end, cancelled } = ending(`/druid/v2/${segment(String(context.queryId))}`);
  const gone = (): boolean => run.signal?.aborted ?? false;
  if (gone()) throw await cancelled();
  run.signal?.addEventListener("abort", end, { once: true });
  try {
    const answer = await ask("/druid/v2", { json: { ...query, context }, signal });
    const rowsMax = run.rowsMax ?? ROWS_MAX;
    const elements = new Elements();
    const parts: unknown[] = [];
    let rows = 0;
    let bytes = 0;
    let cut = false;
    for await (const text of textOf(answer)) {
      bytes += text.length;
      for (const one of elements.take(text)) {
        if (rows > rowsMax) break;
        const part = parseExact(one);
        parts.push(part);
        rows += rowsIn(part);
      }
      run.onProgress?.({ rows: Math.min(rows, rowsMax), bytes });
      cut = rows > rowsMax || bytes > BYTES_MAX;
      if (cut) {
        end();
        break;
      }
    }
    if (cut && rows === 0) throw new ApiError("invalid", `the answer is longer than ${BYTES_MAX / 1_048_576} MiB before its first row is whole: ask for less`);
    const single = cut ? null : elements.end();
    const table = tableOfNative(single === null ? parts : parseExact(single));
    return {
      ...table,
      rows: table.rows.length > rowsMax ? table.rows.slice(0, rowsMax) : table.rows,
      cut,
      bytes,
      elapsedMs: performance.now() - started,
      uncovered: uncoveredOf(answer),
      queryId: String(context.queryId),
    };
  } catch (thrown) {
    if (gone()) throw await cancelled();
    throw asApiError(thrown);
  } finally {
    run.signal?.removeEventListener("abort", end);
  }
}

export type ExportFormat = "csv" | "arrayLines" | "object" | "arrow";

/** The whole answer as a file, made by the server anew. */
export async function download(query: string, format: ExportFormat, context: Record<string, unknown>, signal?: AbortSignal): Promise<Blob> {
  const answer = await ask("/druid/v2/sql", { json: { query, resultFormat: format, header: format === "csv", context }, signal });
  return answer.blob();
}

export interface Table {
  schema: string;
  name: string;
  columns: Column[];
}

export async function tables(signal?: AbortSignal): Promise<Table[]> {
  const rows = await rowsOf<{ TABLE_SCHEMA: string; TABLE_NAME: string; COLUMN_NAME: string; DATA_TYPE: string }>(
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
    signal,
  );
  const found = new Map<string, Table>();
  for (const row of rows) {
    const key = `${row.TABLE_SCHEMA}\u0000${row.TABLE_NAME}`;
    let table = found.get(key);
    if (table === undefined) found.set(key, (table = { schema: row.TABLE_SCHEMA, name: row.TABLE_NAME, columns: [] }));
    table.columns.push({ name: row.COLUMN_NAME, type: row.DATA_TYPE });
  }
  const rank = (schema: string): number => (schema === "druid" ? 0 : schema === "lookup" ? 1 : schema === "sys" ? 2 : 3);
  return [...found.values()].sort((a, b) => rank(a.schema) - rank(b.schema) || a.name.localeCompare(b.name));
}

export interface Routine {
  name: string;
  aggregates: boolean;
  signatures: string[];
}

export async function routines(signal?: AbortSignal): Promise<Routine[]> {
  const rows = await rowsOf<{ ROUTINE_NAME: string; IS_AGGREGATOR: string; SIGNATURES: string | null }>(
    "SELECT ROUTINE_NAME, IS_AGGREGATOR, SIGNATURES FROM INFORMATION_SCHEMA.ROUTINES",
    signal,
  );
  return rows.map((row) => ({
    name: row.ROUTINE_NAME,
    aggregates: row.IS_AGGREGATOR === "YES",
    signatures: (row.SIGNATURES ?? "").split("\n").map((line) => line.replace(/^'|'$/g, "")).filter((line) => line !== ""),
  }));
}

export interface Plan {
  native: { query: Record<string, unknown>; signature: { name: string; type: string }[] }[];
  resources: { name: string; type: string }[];
}

export async function explain(query: string, context: Record<string, unknown>, signal?: AbortSignal): Promise<Plan> {
  const [row] = await rowsOf<{ PLAN: string; RESOURCES: string }>(`EXPLAIN PLAN FOR\n${query.replace(/;\s*$/, "")}`, signal, context).catch((thrown: unknown) => {
    const error = asApiError(thrown);
    const { place } = error;
    if (place === null) throw error;
    // Places are those of the statement that was written, which begins on the second line here.
    throw new ApiError(error.kind, error.message, { status: error.status, place: { ...place, line: place.line - 1, endLine: place.endLine - 1 } });
  });
  if (row === undefined) throw new ApiError("failed", "the server explained nothing");
  return { native: JSON.parse(row.PLAN) as Plan["native"], resources: JSON.parse(row.RESOURCES) as Plan["resources"] };
}

/** SQL's quoting: of a name, and of a text. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
