// What is served and by whom: datasources, segments, servers, rules, lookups, figures of the node.

import { ask, askJson, segment } from "./client";
import { literal, rowsOf } from "./sql";

export interface Datasource {
  datasource: string;
  segments: number;
  available: number;
  realtime: number;
  rows: number;
  size: number;
  earliest: string | null;
  latest: string | null;
  /** Published segments that wait for as many copies as the rules want. */
  short: number;
}

/** All datasources of which the caller may see segments. */
export async function datasources(signal?: AbortSignal): Promise<Datasource[]> {
  return rowsOf<Datasource>(
    `SELECT datasource, COUNT(*) AS segments, SUM(is_available) AS available, SUM(is_realtime) AS realtime, SUM(num_rows) AS "rows",
       SUM("size") AS "size", MIN("start") AS earliest, MAX("end") AS latest,
       SUM(CASE WHEN is_published = 1 AND is_realtime = 0 AND replication_factor > num_replicas THEN 1 ELSE 0 END) AS short
     FROM sys.segments WHERE is_active = 1 GROUP BY 1 ORDER BY 1`,
    signal,
  );
}

/** Names alone: what may be queried, also by who may see some of the rows only. */
export async function datasourceNames(signal?: AbortSignal): Promise<string[]> {
  return askJson<string[]>("/druid/v2/datasources", { signal });
}

export interface Boundary {
  minTime?: string;
  maxTime?: string;
}

/** The first and the newest event, which the server knows without reading all rows; nothing of a datasource that has none. */
export async function timeBoundary(datasource: string, bound?: "minTime" | "maxTime", signal?: AbortSignal): Promise<Boundary> {
  const [found] = await askJson<{ result: Boundary }[]>("/druid/v2", { json: { queryType: "timeBoundary", dataSource: datasource, bound, context: { priority: -10 } }, signal });
  return found?.result ?? {};
}

export interface Segment {
  segment_id: string;
  datasource: string;
  start: string;
  end: string;
  size: number;
  version: string;
  partition_num: number;
  num_replicas: number;
  num_rows: number;
  is_active: number;
  is_published: number;
  is_available: number;
  is_realtime: number;
  is_overshadowed: number;
  replication_factor: number;
}

/** Which segments of a datasource are meant. */
export interface SegmentsWanted {
  datasource: string;
  /** Instants between which they lie, at least in part. */
  from?: string | null;
  to?: string | null;
  /** A part of their id. */
  find?: string;
}

/** What segments can be sorted by, and the column of each. */
const ORDERS: Record<string, string> = { start: '"start"', end: '"end"', version: "version", partition: "partition_num", rows: "num_rows", size: '"size"', copies: "num_replicas" };

const whereOf = ({ datasource, from, to, find }: SegmentsWanted): string =>
  [
    `datasource = ${literal(datasource)}`,
    ...(from ? [`"end" > ${literal(from)}`] : []),
    ...(to ? [`"start" < ${literal(to)}`] : []),
    ...(find !== undefined && find.trim() !== "" ? [`ICONTAINS_STRING(segment_id, ${literal(find.trim())})`] : []),
  ].join(" AND ");

/** One page of them. */
export async function segments(wanted: SegmentsWanted, by: { key: string; down: boolean } | null, page: number, size: number, signal?: AbortSignal): Promise<Segment[]> {
  const order = by === null || ORDERS[by.key] === undefined ? '"start" DESC' : `${ORDERS[by.key]} ${by.down ? "DESC" : "ASC"}`;
  return rowsOf<Segment>(
    `SELECT segment_id, datasource, "start", "end", "size", version, partition_num, num_replicas, num_rows, is_active, is_published,
       is_available, is_realtime, is_overshadowed, replication_factor
     FROM sys.segments WHERE ${whereOf(wanted)} ORDER BY ${order}, "start" DESC, version DESC, partition_num LIMIT ${size} OFFSET ${page * size}`,
    signal,
  );
}

/** What there is of them in all. Where nothing of it has changed, nothing has to be asked for again. */
export interface SegmentsTotal {
  segments: number;
  rows: number;
  size: number;
  available: number;
  copies: number;
  overshadowed: number;
  active: number;
  newest: string | null;
}

export async function segmentsTotal(wanted: SegmentsWanted, signal?: AbortSignal): Promise<SegmentsTotal> {
  const [found] = await rowsOf<SegmentsTotal>(
    `SELECT COUNT(*) AS segments, COALESCE(SUM(num_rows), 0) AS "rows", COALESCE(SUM("size"), 0) AS "size", SUM(is_available) AS available, SUM(num_replicas) AS copies,
       SUM(is_overshadowed) AS overshadowed, SUM(is_active) AS active, MAX(version) AS newest
     FROM sys.segments WHERE ${whereOf(wanted)}`,
    signal,
  );
  return found ?? { segments: 0, rows: 0, size: 0, available: 0, copies: 0, overshadowed: 0, active: 0, newest: null };
}

/** Segments of one interval and version that fare alike. */
export interface SegmentsGroup {
  start: string;
  end: string;
  version: string;
  is_active: number;
  is_available: number;
  is_realtime: number;
  is_overshadowed: number;
  /** Have fewer copies than the rules want. */
  is_short: number;
  segments: number;
  rows: number;
  size: number;
}

/** All of them as a picture needs them; the newest `most`. */
export async function segmentGroups(datasource: string, most: number, signal?: AbortSignal): Promise<SegmentsGroup[]> {
  return rowsOf<SegmentsGroup>(
    `SELECT "start", "end", version, is_active, is_available, is_realtime, is_overshadowed, CASE WHEN replication_factor > num_replicas THEN 1 ELSE 0 END AS is_short,
       COUNT(*) AS segments, SUM(num_rows) AS "rows", SUM("size") AS "size"
     FROM sys.segments WHERE datasource = ${literal(datasource)} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY "start" DESC LIMIT ${most}`,
    signal,
  );
}

export async function markUnused(datasource: string, ids: string[]): Promise<void> {
  await ask(`/druid/coordinator/v1/datasources/${segment(datasource)}/markUnused`, { json: { segmentIds: ids } });
}

/** How much of what is published of it is served, in percent; nothing is published of one that is not known. */
export async function loadedPercent(datasource: string, signal?: AbortSignal): Promise<number> {
  const all = await askJson<Record<string, number> | null>(`/druid/coordinator/v1/datasources/${segment(datasource)}/loadstatus?forceMetadataRefresh=true`, { signal });
  return all?.[datasource] ?? 0;
}

export async function dropDatasource(datasource: string): Promise<void> {
  await ask(`/druid/coordinator/v1/datasources/${segment(datasource)}`, { method: "DELETE" });
}

export async function restoreDatasource(datasource: string): Promise<void> {
  await ask(`/druid/coordinator/v1/datasources/${segment(datasource)}`, { method: "POST" });
}

export interface Server {
  server: string;
  server_type: string;
  tier: string | null;
  curr_size: number;
  max_size: number;
  is_leader: number | null;
  start_time: string;
  version: string;
  available_processors: number;
  total_memory: number;
}

export async function servers(signal?: AbortSignal): Promise<Server[]> {
  return rowsOf<Server>(
    `SELECT server, server_type, tier, curr_size, max_size, is_leader, start_time, version, available_processors, total_memory
     FROM sys.servers ORDER BY server, server_type`,
    signal,
  );
}

export interface Worker {
  worker: { host: string; capacity: number; version: string; category: string };
  currCapacityUsed: number;
  runningTasks: string[];
}

export async function workers(signal?: AbortSignal): Promise<Worker[]> {
  return askJson<Worker[]>("/druid/indexer/v1/workers", { signal });
}

export interface Status {
  version: string;
  henge?: string;
}

export async function status(signal?: AbortSignal): Promise<Status> {
  return askJson<Status>("/status", { signal });
}

/** Whether everything that is published is served. */
export async function healthy(signal?: AbortSignal): Promise<boolean> {
  return ask("/status/health", { signal }).then(
    () => true,
    (thrown: { status?: number }) => {
      if (thrown.status === 503) return false;
      throw thrown;
    },
  );
}

export type Rule = { type: string; period?: string; interval?: string; includeFuture?: boolean; tieredReplicants?: Record<string, number> } & Record<string, unknown>;

export async function rules(signal?: AbortSignal): Promise<Record<string, Rule[]>> {
  return askJson<Record<string, Rule[]>>("/druid/coordinator/v1/rules", { signal });
}

export async function setRules(datasource: string, list: Rule[], comment: string): Promise<void> {
  await ask(`/druid/coordinator/v1/rules/${segment(datasource)}`, { json: list, headers: { "X-Druid-Comment": comment } });
}

export interface PastRules {
  time: string;
  author: string;
  rules: Rule[];
}

/** What the rules of a datasource were, newest first. */
export async function ruleHistory(datasource: string, signal?: AbortSignal): Promise<PastRules[]> {
  const all = await askJson<{ auditTime: string; auditInfo?: { author?: string }; payload: string }[]>(`/druid/coordinator/v1/rules/${segment(datasource)}/history?count=20`, { signal });
  return all.map((one) => ({ time: one.auditTime, author: one.auditInfo?.author ?? "somebody", rules: JSON.parse(one.payload) as Rule[] }));
}

/** What is stored of a datasource, or of all of them, summed by interval; the newest, if there are very many. */
export async function storedSpans(datasource: string | null, signal?: AbortSignal): Promise<{ datasource: string; from: number; to: number; segments: number; rows: number; size: number }[]> {
  const found = await rowsOf<{ datasource: string; start: string; end: string; segments: number; rows: number; size: number }>(
    `SELECT datasource, "start", "end", COUNT(*) AS segments, SUM(num_rows) AS "rows", SUM("size") AS "size" FROM sys.segments
     WHERE is_active = 1 AND is_published = 1 AND ${datasource === null ? "datasource NOT LIKE 'sys.%'" : `datasource = ${literal(datasource)}`} GROUP BY 1, 2, 3 ORDER BY "start" DESC LIMIT 50000`,
    signal,
  );
  return found.map(({ start, end, ...more }) => ({ ...more, from: Date.parse(start), to: Date.parse(end) }));
}

export interface Lookup {
  tier: string;
  name: string;
  version: string;
  extractor: Record<string, unknown>;
}

type LookupDocument = { version: string; lookupExtractorFactory: Record<string, unknown> };

export async function lookups(signal?: AbortSignal): Promise<Lookup[]> {
  const all = await askJson<Record<string, Record<string, LookupDocument>>>("/druid/coordinator/v1/lookups/config/all", { signal });
  return Object.entries(all).flatMap(([tier, named]) =>
    Object.entries(named).map(([name, one]) => ({ tier, name, version: one.version, extractor: one.lookupExtractorFactory })),
  );
}

export async function putLookup(tier: string, name: string, version: string, extractor: unknown): Promise<void> {
  await ask(`/druid/coordinator/v1/lookups/config/${segment(tier)}/${segment(name)}`, { json: { version, lookupExtractorFactory: extractor } });
}

/** The first lookup of a cluster needs its tiers to be made. */
export async function initialiseLookups(): Promise<void> {
  await ask("/druid/coordinator/v1/lookups/config", { json: {} });
}

export async function deleteLookup(tier: string, name: string): Promise<void> {
  await ask(`/druid/coordinator/v1/lookups/config/${segment(tier)}/${segment(name)}`, { method: "DELETE" });
}

/** One sample of a metric. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads Prometheus' text format; lines that are none are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const found = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (found === null) continue;
    const labels: Record<string, string> = {};
    for (const [, key, value] of (found[2] ?? "").matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      if (key !== undefined && value !== undefined) labels[key] = value.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
    }
    const value = found[3] === "+Inf" ? Infinity : Number(found[3]);
    if (found[1] !== undefined && !Number.isNaN(value)) samples.push({ name: found[1], labels, value });
  }
  return samples;
}

export async function metrics(signal?: AbortSignal): Promise<Sample[]> {
  return parseMetrics(await (await ask("/metrics", { signal })).text());
}

/** The sum of all samples of a name whose labels are as given. */
export function total(samples: Sample[], name: string, labels: Record<string, string> = {}): number {
  return samples
    .filter((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))
    .reduce((sum, one) => sum + one.value, 0);
}
