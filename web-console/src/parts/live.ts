// Asking again and again: a view's data, kept fresh while somebody looks at it. What was there stays while the server does not
// answer, with the error beside it.

import { useCallback, useEffect, useRef, useState, type DependencyList } from "react";
import { asApiError, type ApiError } from "../api/error";

export interface Live<T> {
  data: T | null;
  error: ApiError | null;
  /** Nothing is known yet. */
  loading: boolean;
  /** When `data` was told. */
  at: number | null;
  refresh: () => void;
}

/**
 * Asks at once, when `about` changes, and `everyMs` after each answer; what would be due while the page is hidden, when it is shown.
 * Another `edition` is of the same: it is asked for anew, and what is known stays until it comes.
 */
export function useLive<T>(load: (signal: AbortSignal) => Promise<T>, about: DependencyList, everyMs: number | null = null, edition: unknown = null): Live<T> {
  const [state, setState] = useState<{ data: T | null; error: ApiError | null; at: number | null }>({ data: null, error: null, at: null });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    setState({ data: null, error: null, at: null });
  }, about);

  useEffect(() => {
    const stop = new AbortController();
    let timer: number | undefined;
    let failures = 0;
    let due = false;
    const turn = async (): Promise<void> => {
      // What is asked once is asked in the background too: nothing would ask for it later.
      if (document.hidden && everyMs !== null) {
        due = true;
        return;
      }
      due = false;
      try {
        const data = await latest.current(stop.signal);
        if (stop.signal.aborted) return;
        failures = 0;
        setState({ data, error: null, at: Date.now() });
      } catch (thrown) {
        if (stop.signal.aborted) return;
        failures += 1;
        const error = asApiError(thrown);
        setState((before) => ({ ...before, error }));
      }
      again();
    };
    const again = (): void => {
      if (everyMs === null || stop.signal.aborted) return;
      // A server that is down is asked less and less often, at most each half minute.
      timer = window.setTimeout(() => void turn(), Math.min(30_000, everyMs * 2 ** Math.min(failures, 4)));
    };
    const shown = (): void => {
      if (due && !document.hidden) void turn();
    };
    document.addEventListener("visibilitychange", shown);
    void turn();
    return () => {
      document.removeEventListener("visibilitychange", shown);
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [...about, everyMs, round, edition]);

  const refresh = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, loading: state.data === null && state.error === null, refresh };
}

/** The present, each `everyMs`. */
export function useNow(everyMs = 1000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A value once it has stayed the same for so long: what is typed, when nobody types any more. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), ms);
    return () => window.clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

/** A number that goes up when a value that was known becomes another; the first that is known changes nothing. */
export function useEdition(value: unknown): number {
  const seen = useRef<string | null>(null);
  const edition = useRef(0);
  const text = value === null || value === undefined ? null : JSON.stringify(value);
  if (text !== null && seen.current !== null && text !== seen.current) edition.current += 1;
  seen.current = text;
  return edition.current;
}
