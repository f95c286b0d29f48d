// What reads events: supervisors and tasks, what they say, and what can be done to them.

import { ask, askJson, patiently, segment } from "./client";

export interface Supervisor {
  id: string;
  dataSource: string;
  state: string;
  detailedState: string;
  healthy: boolean;
  suspended: boolean;
  type: string;
  source: string;
}

export async function supervisors(signal?: AbortSignal): Promise<Supervisor[]> {
  return askJson<Supervisor[]>("/druid/indexer/v1/supervisor?state=true", { signal });
}

export interface ReadingTask {
  id: string;
  startTime: string | null;
  remainingSeconds: number | null;
  type: string;
  state?: string;
  caughtUp?: boolean;
  currentOffsets?: Record<string, number>;
  lag?: Record<string, number>;
}

export interface SupervisorStatus {
  dataSource: string;
  stream: string;
  partitions: number;
  replicas: number;
  taskCount: number;
  durationSeconds: number;
  suspended: boolean;
  healthy: boolean;
  state: string;
  detailedState: string;
  recentErrors: { timestamp?: string; exceptionClass?: string; message?: string }[];
  activeTasks: ReadingTask[];
  publishingTasks: ReadingTask[];
  latestOffsets: Record<string, number> | null;
  minimumLag: Record<string, number> | null;
  aggregateLag: number | null;
  offsetsLastUpdated: string | null;
  ignored?: string[];
  /** Why some of its tasks wait. */
  waiting?: string | null;
}

export async function supervisorStatus(id: string, signal?: AbortSignal): Promise<SupervisorStatus> {
  return (await askJson<{ payload: SupervisorStatus }>(`/druid/indexer/v1/supervisor/${segment(id)}/status`, { signal })).payload;
}

export type Spec = Record<string, unknown>;

export async function supervisorSpec(id: string, signal?: AbortSignal): Promise<Spec> {
  return askJson<Spec>(`/druid/indexer/v1/supervisor/${segment(id)}`, { signal });
}

export interface SpecVersion {
  spec: Spec;
  version: string;
}

export async function supervisorHistory(id: string, signal?: AbortSignal): Promise<SpecVersion[]> {
  return askJson<SpecVersion[]>(`/druid/indexer/v1/supervisor/${segment(id)}/history`, { signal });
}

export interface Counts {
  processed: number;
  processedBytes: number;
  processedWithError: number;
  thrownAway: number;
  unparseable: number;
}

export interface Rates {
  totals: Counts;
  perSecond: Counts;
}

const NONE: Counts = { processed: 0, processedBytes: 0, processedWithError: 0, thrownAway: 0, unparseable: 0 };

function add(a: Counts, b: Partial<Counts> | undefined): Counts {
  return {
    processed: a.processed + (b?.processed ?? 0),
    processedBytes: a.processedBytes + (b?.processedBytes ?? 0),
    processedWithError: a.processedWithError + (b?.processedWithError ?? 0),
    thrownAway: a.thrownAway + (b?.thrownAway ?? 0),
    unparseable: a.unparseable + (b?.unparseable ?? 0),
  };
}

type Stats = Record<string, Record<string, { movingAverages?: { buildSegments?: Record<string, Counts> }; totals?: { buildSegments?: Counts } }>>;

/** Of all tasks of a supervisor together; rates of the last minute. */
export function sumStats(stats: Stats | null): Rates {
  let totals = NONE;
  let perSecond = NONE;
  for (const task of Object.values(stats ?? {}).flatMap((group) => Object.values(group))) {
    totals = add(totals, task.totals?.buildSegments);
    perSecond = add(perSecond, task.movingAverages?.buildSegments?.["1m"]);
  }
  return { totals, perSecond };
}

export async function supervisorStats(id: string, signal?: AbortSignal): Promise<Rates> {
  return sumStats(await askJson<Stats>(`/druid/indexer/v1/supervisor/${segment(id)}/stats`, { signal }));
}

export interface ParseError {
  timeOfExceptionMillis?: number;
  timestamp?: string;
  errorType?: string;
  details?: string[] | string;
  input?: string;
}

export async function parseErrors(id: string, signal?: AbortSignal): Promise<ParseError[]> {
  return askJson<ParseError[]>(`/druid/indexer/v1/supervisor/${segment(id)}/parseErrors`, { signal });
}

export type SupervisorAction = "suspend" | "resume" | "reset" | "terminate";

export async function actOnSupervisor(id: string, action: SupervisorAction): Promise<void> {
  await ask(`/druid/indexer/v1/supervisor/${segment(id)}/${action}`, { method: "POST" });
}

export async function postSupervisor(spec: unknown): Promise<{ id: string; ignored?: string[] }> {
  return askJson<{ id: string; ignored?: string[] }>("/druid/indexer/v1/supervisor", { json: spec });
}

export interface Task {
  id: string;
  groupId: string;
  type: string;
  createdTime: string;
  statusCode: string;
  runnerStatusCode: string;
  duration: number;
  location: { host: string | null; port: number } | null;
  dataSource: string;
  errorMsg: string | null;
}

export async function tasks(signal?: AbortSignal): Promise<Task[]> {
  return askJson<Task[]>("/druid/indexer/v1/tasks?max=2000", { signal });
}

export async function taskSpec(id: string, signal?: AbortSignal): Promise<Spec> {
  return askJson<Spec>(`/druid/indexer/v1/task/${segment(id)}`, { signal });
}

export async function taskReport(id: string, signal?: AbortSignal): Promise<unknown> {
  return askJson<unknown>(`/druid/indexer/v1/task/${segment(id)}/reports`, { signal });
}

export async function taskLog(id: string, signal?: AbortSignal): Promise<string> {
  return (await ask(`/druid/indexer/v1/task/${segment(id)}/log`, { signal })).text();
}

export async function postTask(spec: unknown): Promise<string> {
  return (await askJson<{ task: string }>("/druid/indexer/v1/task", { json: spec })).task;
}

/** One task, as the list has it. */
export async function taskStatus(id: string, signal?: AbortSignal): Promise<Task> {
  return (await askJson<{ status: Task }>(`/druid/indexer/v1/task/${segment(id)}/status`, { signal })).status;
}

export async function cancelTask(id: string): Promise<void> {
  await ask(`/druid/indexer/v1/task/${segment(id)}/shutdown`, { method: "POST" });
}

/** One event as the sampler read it. */
export interface Sampled {
  input?: Record<string, unknown> | null;
  parsed?: Record<string, unknown> | null;
  unparseable?: boolean;
  error?: string;
}

export interface SampleAnswer {
  numRowsRead: number;
  numRowsIndexed: number;
  /** Dimensions as a spec would list them, with the types that the sample has. */
  logicalDimensions?: { name: string; type: string }[];
  /** Columns of the rows, `__time` among them, with Druid's names of their types. */
  logicalSegmentSchema?: { name: string; type: string }[];
  /** The rows that the spec's rollup leaves of those that are indexed; of a spec that rolls up. */
  numRowsRolledUp?: number;
  data: Sampled[];
}

/** Reads some events of what a spec names, without keeping any; where too many look at once, it waits for its turn. */
export async function sample(spec: unknown, signal?: AbortSignal): Promise<SampleAnswer> {
  return patiently(() => askJson("/druid/indexer/v1/sampler", { json: spec, signal }), signal);
}
