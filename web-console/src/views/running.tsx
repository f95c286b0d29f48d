// What is told while a query runs: how much of it is done, as far as the server knows.

import { useEffect, useState, type ReactNode } from "react";
import { runState, type RunState } from "../api/progress";
import type { Progress } from "../api/sql";
import { bytes, count, duration, plural } from "../parts/format";
import { useNow } from "../parts/live";

const FIRST_MS = 300;
const EVERY_MS = 500;

export function Running({ since, progress, queryId }: { since: number; progress: Progress; queryId: string | null }): ReactNode {
  const now = useNow(200);
  const [state, setState] = useState<RunState | null>(null);
  useEffect(() => {
    if (queryId === null) return;
    const stop = new AbortController();
    let timer = window.setTimeout(() => void turn(), FIRST_MS);
    const turn = async (): Promise<void> => {
      const told = await runState(queryId, stop.signal);
      if (stop.signal.aborted) return;
      if (told !== null) setState(told);
      timer = window.setTimeout(() => void turn(), EVERY_MS);
    };
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [queryId]);
  const segments = state?.segments ?? null;
  const share = segments === null || segments.total === 0 ? null : Math.min(1, segments.done / segments.total);
  const nodes = new Set((state?.steps ?? []).flatMap((one) => (one.node === null ? [] : [one.node]))).size;
  const facts = [
    segments === null || segments.total === 0 ? null : `${count(segments.done)} of ${plural(segments.total, "segment")}`,
    state === null || state.rows === 0 ? null : `${plural(state.rows, "row")} read`,
    state === null || state.bytes === 0 ? null : bytes(state.bytes),
    nodes > 1 ? `on ${plural(nodes, "node")}` : null,
    progress.rows === 0 ? null : `${plural(progress.rows, "row")} here so far`,
  ].filter((one) => one !== null);
  return (
    <>
      <div className={share === null ? "progress" : "progress told"} role="progressbar" aria-label="The query runs" aria-valuemin={0} aria-valuemax={100} aria-valuenow={share === null ? undefined : Math.round(share * 100)}>
        <span style={share === null ? undefined : { width: `${Math.max(1, share * 100)}%` }} />
      </div>
      <div className="state">
        <strong className="figures">{duration(Math.max(0, now - since))}</strong>
        <span className="figures">{facts.length === 0 ? "The server is at work" : facts.join(" · ")}</span>
      </div>
    </>
  );
}
