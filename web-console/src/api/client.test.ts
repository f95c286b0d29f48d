import { afterEach, expect, test, vi } from "vitest";
import { ask, askJson, holdToken, patiently } from "./client";

interface Sent {
  path: string;
  method: string;
  token: string | null;
}

/** A server whose session has the token `wanted`, and belongs to `username`. */
function server(wanted: string, username: string): { sent: Sent[]; reload: ReturnType<typeof vi.fn> } {
  const sent: Sent[] = [];
  const reload = vi.fn();
  vi.stubGlobal("window", { location: { reload } });
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    const token = new Headers(init.headers).get("X-CSRF-Token");
    sent.push({ path, method: init.method ?? "GET", token });
    if (path.endsWith("/whoami")) return Promise.resolve(Response.json({ username, csrfToken: wanted }));
    const refused = path === "/never" || (init.method !== "GET" && token !== wanted);
    return Promise.resolve(refused ? Response.json({ error: "no" }, { status: 403 }) : Response.json({}));
  });
  return { sent, reload };
}

const said = (sent: Sent[]): string[] => sent.map((one) => `${one.method} ${one.path} ${one.token}`);

afterEach(() => {
  holdToken(null);
  vi.unstubAllGlobals();
});

test("a token that another tab's sign-in has replaced is asked for once, and the request is sent again", async () => {
  const { sent, reload } = server("new", "ann");
  holdToken("old", "ann");
  await ask("/thing", { method: "DELETE" });
  await ask("/thing", { json: {} });
  expect(said(sent)).toEqual(["DELETE /thing old", "GET /henge/v1/security/whoami null", "DELETE /thing new", "POST /thing new"]);
  expect(reload).not.toHaveBeenCalled();
});

test("of requests that are refused together each is sent again", async () => {
  const { sent } = server("new", "ann");
  holdToken("old", "ann");
  await Promise.all([ask("/a", { json: {} }), ask("/b", { json: {} })]);
  expect(said(sent)).toEqual(expect.arrayContaining(["POST /a new", "POST /b new"]));
});

test("when another person has signed in the page begins anew", async () => {
  const { sent, reload } = server("new", "bob");
  holdToken("old", "ann");
  await expect(ask("/thing", { json: {} })).rejects.toMatchObject({ kind: "denied" });
  expect(reload).toHaveBeenCalledOnce();
  expect(sent.length).toBe(2);
});

test("what is refused with the right token is refused, and what only reads is not asked about", async () => {
  const { sent } = server("mine", "ann");
  holdToken("mine", "ann");
  await expect(ask("/never", { json: {} })).rejects.toMatchObject({ kind: "denied" });
  expect(said(sent)).toEqual(["POST /never mine", "GET /henge/v1/security/whoami null"]);
  await expect(ask("/never")).rejects.toMatchObject({ kind: "denied" });
  holdToken(null);
  await expect(ask("/never", { json: {} })).rejects.toMatchObject({ kind: "denied" });
  expect(sent.length).toBe(4);
});

/** A server that is busy so many times, and says for how long. */
function busy(times: number, headers: Record<string, string>, status = 503): { asked: number } {
  const told = { asked: 0 };
  vi.stubGlobal("fetch", () => {
    told.asked += 1;
    return Promise.resolve(told.asked <= times ? Response.json({ error: "too many look" }, { status, headers }) : Response.json({ rows: 1 }));
  });
  return told;
}

test("a server that is busy for a while is asked again when it says, a few times, and then is told of", async () => {
  vi.useFakeTimers();
  try {
    const twice = busy(2, { "Retry-After": "1" });
    const answer = patiently(() => askJson("/sampler", { json: {} }));
    await vi.advanceTimersByTimeAsync(999);
    expect(twice.asked).toBe(1);
    await vi.advanceTimersByTimeAsync(1_001);
    expect(await answer).toEqual({ rows: 1 });
    expect(twice.asked).toBe(3);

    const always = busy(1e9, { "Retry-After": "3600" });
    const refused = expect(patiently(() => askJson("/sampler", { json: {} }))).rejects.toMatchObject({ kind: "busy", message: "too many look" });
    await vi.advanceTimersByTimeAsync(60_000);
    await refused;
    expect(always.asked).toBe(5);

    // Without a word of when, and of anything else, it is told at once.
    const silent = busy(1, {});
    await expect(patiently(() => askJson("/sampler", { json: {} }))).rejects.toMatchObject({ status: 503 });
    const wrong = busy(1, { "Retry-After": "1" }, 400);
    await expect(patiently(() => askJson("/sampler", { json: {} }))).rejects.toMatchObject({ status: 400 });
    expect([silent.asked, wrong.asked]).toEqual([1, 1]);

    // Who goes away does not wait.
    const left = busy(1e9, { "Retry-After": "5" });
    const stop = new AbortController();
    const ended = expect(patiently(() => askJson("/sampler", { json: {} }), stop.signal)).rejects.toMatchObject({ kind: "cancelled" });
    await vi.advanceTimersByTimeAsync(100);
    stop.abort();
    await ended;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(left.asked).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});
