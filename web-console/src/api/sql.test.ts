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

/** Answers with a body in small pieces, and tells which requests were sent. */
function answering(pieces: () => Iterable<string>): string[] {
  const sent: string[] = [];
  vi.stubGlobal("fetch", (to: string, init: RequestInit) => {
    sent.push(`${init.method} ${to.replace(/[0-9a-f-]{36}/, "ID")}`);
    if (init.method === "DELETE") return Promise.resolve(new Response("{}", { status: 202 }));
    const source = pieces()[Symbol.iterator]();
    const body = new ReadableStream<Uint8Array>({
      pull(control) {
        const { done, value } = source.next();
        if (done === true) control.close();
        else control.enqueue(new TextEncoder().encode(value));
      },
    });
    return Promise.resolve(new Response(body, { status: 200 }));
  });
  return sent;
}

test("a native answer is read as far as there is room, and the server is told to stop", async () => {
  const sent = answering(function* () {
    yield "[";
    for (let at = 0; ; at += 1) yield `${at === 0 ? "" : ","}{"timestamp": "2026-01-01T00:00:00Z", "result": {"n": ${at}}}`;
  });
  const told: number[] = [];
  const result = await runNative('{"queryType": "timeseries"}', { rowsMax: 100, onProgress: ({ rows }) => told.push(rows) });
  expect([result.rows.length, result.cut, result.rows[99]?.[1]]).toEqual([100, true, 99]);
  expect(told.at(-1)).toBe(100);
  expect(sent).toEqual(["POST /druid/v2", "DELETE /druid/v2/ID"]);
});

test("a native answer that is whole is not cut, and one that breaks off is no answer", async () => {
  answering(() => ['[{"segmentId": "s", "columns": ["a"], "eve', 'nts": [[1], [2]]}', ', {"segmentId": "t", "columns": ["a"], "events": [[3]]}]\n']);
  const whole = await runNative("{}", { rowsMax: 3 });
  expect([whole.rows, whole.cut]).toEqual([[[1], [2], [3]], false]);
  answering(() => ['[{"timestamp": "t", "result": {"n": 1}}, {"time']);
  await expect(runNative("{}")).rejects.toMatchObject({ message: "the answer broke off" });
  answering(() => ['{"a": 1, ', '"b": "x"}']);
  expect((await runNative("{}")).rows).toEqual([[1, "x"]]);
});
