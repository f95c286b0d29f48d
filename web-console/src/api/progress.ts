// How far a running query is, and where its time went once it has ended.

import { askJson, segment } from "./client";
import { asApiError } from "./error";
import { unserved } from "./shelf";

export interface RunStep {
  id: number;
  parent: number | null;
  /** `sql`, `merge`, `join`, or the type of a native query. */
  name: string;
  table: string | null;
  node: string | null;
  rows: number;
  ms: number;
  segments: number | null;
}

export interface RunState {
  id: string;
  state: "running" | "ended" | "failed" | "cancelled";
  elapsedMs: number;
  rows: number;
  bytes: number;
  /** `null` for whom a number of segments would tell of rows that others may see. */
  segments: { done: number; total: number } | null;
  steps: RunStep[];
}

let served = true;

/** `null` where the server does not tell it, or not yet or not any more: one that is older is asked once. */
export async function runState(id: string, signal?: AbortSignal): Promise<RunState | null> {
  if (!served) return null;
  try {
    return await askJson<RunState | null>(`/henge/v1/queries/${segment(id)}?missing=null`, { signal, stranger: true });
  } catch (thrown) {
    if (unserved(asApiError(thrown))) served = false;
    return null;
  }
}
