import { afterEach, expect, test, vi } from "vitest";
import { ask, holdToken } from "./client";

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
