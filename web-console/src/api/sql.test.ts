import { afterEach, expect, test, vi } from "vitest";
import { Lines, literal, parseExact, quoted, runNative, runSql, tableOfNative } from "./sql";

test("lines are whole however the text is cut", () => {
  const text = '["a"]\n["b\\n"]\n\n';
  for (let size = 1; size <= text.length; size += 1) {
    const lines = new Lines();
    const got: string[] = [];
    for (let at = 0; at < text.length; at += size) got.push(...lines.take(text.slice(at, at + size)));
    expect(got).toEqual(['["a"]', '["b\\n"]', ""]);
    expect(lines.end()).toBe("");
  }
});

test("numbers that a double would round stay exact where the engine tells their text", () => {
  const [large, small, text, fraction] = parseExact('[9007199254740993,7,"9007199254740993",0.12345678901234567]') as unknown[];
  // Older engines give no source; then the rounded number is the best there is.
  expect([9007199254740993n, 9007199254740992]).toContain(large);
  expect(small).toBe(7);
  expect(text).toBe("9007199254740993");
  expect(fraction).toBeCloseTo(0.1234567890123456);
});

test("native answers of each type become rows", () => {
  expect(tableOfNative([{ timestamp: "2026-01-01T00:00:00Z", result: { n: 3 } }])).toEqual({
    columns: [
      { name: "timestamp", type: "TIMESTAMP" },
      { name: "n", type: "BIGINT" },
    ],
    rows: [["2026-01-01T00:00:00Z", 3]],
  });
  expect(tableOfNative([{ timestamp: "t", result: [{ page: "A", n: 1 }, { page: "B", n: 2.5 }] }]).rows).toEqual([
    ["t", "A", 1],
    ["t", "B", 2.5],
  ]);
  expect(tableOfNative([{ version: "v1", timestamp: "t", event: { d: "x" } }]).rows).toEqual([["t", "x"]]);
  expect(tableOfNative([{ segmentId: "s", columns: ["__time", "d"], events: [[1, "x"]] }])).toEqual({
    columns: [
      { name: "__time", type: "TIMESTAMP" },
      { name: "d", type: "VARCHAR" },
    ],
    rows: [[1, "x"]],
  });
  expect(tableOfNative([]).rows).toEqual([]);
});

test("names and texts with quotes stay what they are", () => {
  expect(quoted('a"b')).toBe('"a""b"');
  expect(literal("O'Neill; DROP")).toBe("'O''Neill; DROP'");
});

afterEach(() => vi.unstubAllGlobals());

test.each([
  [202, "{}", "The server was told to stop."],
  [404, "{}", "The server did not know of it any more; the connection was ended."],
  [500, '{"error":"no"}', "The server could not be told to stop, and may still be at work: no"],
])("a cancelled query says what the server answered: %i", async (status, body, message) => {
  for (const [run, path] of [[runSql, "/druid/v2/sql/"], [runNative, "/druid/v2/"]] as const) {
    const sent: string[] = [];
    let open = true;
    vi.stubGlobal("fetch", (to: string, init: RequestInit) => {
      sent.push(`${init.method} ${to}`);
      if (init.method === "DELETE") {
        // The server is told while the connection is still open.
        expect(open).toBe(true);
        return Promise.resolve(new Response(body, { status }));
      }
      return new Promise((_, reject) => init.signal?.addEventListener("abort", () => {
        open = false;
        reject(new DOMException("x", "AbortError"));
      }));
    });
    const stop = new AbortController();
    const asked = run("{}", { signal: stop.signal });
    stop.abort();
    await expect(asked).rejects.toMatchObject({ kind: "cancelled", message });
    expect(sent[1]).toMatch(`DELETE ${path}`);
    expect(open).toBe(false);
  }
});
