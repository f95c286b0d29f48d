// The only `fetch` of the page. A request carries the session's cookie by itself and, where it changes something, the token
// that proves that it comes from this page. When the session has ended, requests wait until somebody has signed in again and
// are then sent once more, so that no work in the page is lost.

import { ApiError, asApiError, errorOf } from "./error";

export interface Ask {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, with `type`. */
  text?: string;
  type?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** A 401 is an answer here, not an ended session. */
  stranger?: boolean;
}

/** Kept in memory only: whoever reloads the page asks for it again. */
let csrfToken: string | null = null;
/** Whose it is. */
let holder: string | null = null;
/** Ends with whether somebody signed in again. */
let signInAgain: (() => Promise<boolean>) | null = null;

export function holdToken(token: string | null, username: string | null = null): void {
  csrfToken = token;
  holder = username;
}

export function whenSignedOut(ask: (() => Promise<boolean>) | null): void {
  signInAgain = ask;
}

const methodOf = (ask: Ask): string => ask.method ?? (ask.json !== undefined || ask.text !== undefined ? "POST" : "GET");

async function send(path: string, ask: Ask): Promise<Response> {
  const method = methodOf(ask);
  const headers = new Headers(ask.headers);
  // By this the server can tell a page from a person with a tool, who is to be asked for a password by the tool.
  headers.set("X-Requested-With", "henge-console");
  let body: string | undefined;
  if (ask.json !== undefined) {
    body = JSON.stringify(ask.json);
    headers.set("Content-Type", "application/json");
  } else if (ask.text !== undefined) {
    body = ask.text;
    headers.set("Content-Type", ask.type ?? "application/json");
  }
  if (method !== "GET" && csrfToken !== null) headers.set("X-CSRF-Token", csrfToken);
  try {
    return await fetch(path, { method, headers, body, signal: ask.signal, credentials: "same-origin", cache: "no-store" });
  } catch (thrown) {
    throw asApiError(thrown);
  }
}

/**
 * Whether there is another token than the one that a request was refused with: who signs in in another tab replaces the cookie of
 * this one too, and with it the token. If that was somebody else, the page begins anew: what one person had on it is not another's.
 */
async function renewed(refused: string): Promise<boolean> {
  if (csrfToken !== refused) return csrfToken !== null;
  const answer = await send("/henge/v1/security/whoami", {});
  if (!answer.ok) return false;
  const who = (await answer.json().catch(() => ({}))) as { username?: string; csrfToken?: string };
  if (who.username !== holder) {
    window.location.reload();
    return false;
  }
  if (who.csrfToken === undefined || who.csrfToken === refused) return false;
  csrfToken = who.csrfToken;
  return true;
}

/** Answers with a response that is 2xx, or throws an `ApiError`. */
export async function ask(path: string, what: Ask = {}): Promise<Response> {
  const sentWith = csrfToken;
  let answer = await send(path, what);
  if (answer.status === 403 && methodOf(what) !== "GET" && sentWith !== null && (await renewed(sentWith))) answer = await send(path, what);
  if (answer.status === 401 && what.stranger !== true && signInAgain !== null) {
    if (!(await signInAgain())) throw new ApiError("signed-out", "You are signed out.", { status: 401 });
    answer = await send(path, what);
  }
  if (answer.ok) return answer;
  const body = await answer.text().catch(() => "");
  throw errorOf(answer.status, body, answer.headers.get("Retry-After"));
}

export async function askJson<T>(path: string, what: Ask = {}): Promise<T> {
  const answer = await ask(path, what);
  try {
    const text = await answer.text();
    return (text === "" ? null : JSON.parse(text)) as T;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) throw new ApiError("failed", "the server's answer is not JSON", { status: answer.status });
    throw asApiError(thrown);
  }
}

/** Longest pause before a busy server is asked again, whatever it says. */
const PATIENCE_MS = 10_000;

const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const given = (): void => {
      clearTimeout(timer);
      reject(new ApiError("cancelled", "You cancelled it."));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", given);
      resolve();
    }, ms);
    if (signal?.aborted === true) given();
    else signal?.addEventListener("abort", given, { once: true });
  });

/** Asks again, up to `times`, when the server has no room now and says when it will (503 with Retry-After); for what changes nothing. */
export async function patiently<T>(asked: () => Promise<T>, signal?: AbortSignal, times = 4): Promise<T> {
  for (let again = 0; ; again += 1) {
    try {
      return await asked();
    } catch (thrown) {
      const error = asApiError(thrown);
      if (again === times || error.status !== 503 || error.retryAfterSeconds === null) throw error;
      await pause(Math.min(PATIENCE_MS, Math.max(500, error.retryAfterSeconds * 1000)), signal);
    }
  }
}

/** One segment of a path; names may hold anything. */
export const segment = (name: string): string => encodeURIComponent(name);
