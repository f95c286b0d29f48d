import { expect, test } from "vitest";
import { chosen, filled, grainOf, marksOf, periodMs, readBoard, windowOf } from "./board";

const hour = { from: Date.UTC(2026, 10, 23, 5), to: Date.UTC(2026, 10, 23, 6) };

test("marks become literals, and only marks", () => {
  expect(filled("SELECT * FROM t WHERE __time >= :from AND __time < :to AND c = :channel", hour, { channel: "it's" })).toBe(
    "SELECT * FROM t WHERE __time >= TIMESTAMP '2026-11-23 05:00:00.000' AND __time < TIMESTAMP '2026-11-23 06:00:00.000' AND c = 'it''s'",
  );
  const untouched = `SELECT ':from', ":to", x::BIGINT -- :channel\n/* :channel */ FROM t`;
  expect(filled(untouched, hour, {})).toBe(untouched);
  expect(marksOf("TIME_FLOOR(__time, :grain)").map((one) => one.name)).toEqual(["grain"]);
  expect(filled("TIME_FLOOR(__time, :grain)", hour, {})).toBe("TIME_FLOOR(__time, 'PT30S')");
  expect(() => filled("SELECT :nothing", hour, {})).toThrow("no variable");
  // A value that looks like a mark is none, and what every object has is no variable.
  expect(filled("SELECT :a, :b", hour, { a: ":b", b: "x" })).toBe("SELECT ':b', 'x'");
  expect(() => filled("SELECT :constructor", hour, {})).toThrow("no variable");
});

test.each([
  ["PT15M", 900_000],
  ["P1DT12H", 129_600_000],
  ["P7D", 604_800_000],
  ["PT0.5S", 500],
  ["P", null],
  ["PT", null],
  ["1 hour", null],
  ["", null],
])("the period %s", (text, ms) => expect(periodMs(text)).toBe(ms));

test("a stretch back from now, or one that stands still", () => {
  expect(windowOf("PT15M", hour.to)).toEqual({ from: hour.to - 900_000, to: hour.to });
  expect(windowOf("PT1H", hour.to + 31_500)).toEqual({ from: hour.from + 30_000, to: hour.to + 31_500 });
  expect(windowOf({ from: "2026-11-23T05:00:00Z", to: "2026-11-23T06:00:00Z" }, 0)).toEqual(hour);
  expect([60_000, 3_600_000, 604_800_000, 1e13].map((ms) => grainOf({ from: 0, to: ms }))).toEqual(["PT1S", "PT30S", "PT1H", "P7D"]);
});

test("a document written by hand becomes a dashboard, or says what it lacks", () => {
  expect(() => readBoard({ title: "from elsewhere" })).toThrow("no list of panels");
  expect(() => readBoard("text")).toThrow("no list of panels");
  const board = readBoard({
    range: "yesterday",
    refreshSeconds: -3,
    variables: [{ name: "channel", values: ["a", 1], default: "a" }, { name: "from" }, { name: "a b" }],
    panels: [{ id: "x", title: "One", kind: "sparkle", query: "SELECT 1", x: 9, y: -4, w: 99, h: 0 }, { id: "x" }, 7],
  });
  expect(board.range).toBe("PT1H");
  expect(board.refreshSeconds).toBeNull();
  expect(board.variables).toEqual([{ name: "channel", values: ["a", "1"], query: null, default: "a" }]);
  expect(board.panels.map(({ id, kind, x, y, w, h }) => [id, kind, x, y, w, h])).toEqual([["x", "table", 0, 0, 12, 1], ["p2", "table", 0, 1, 6, 4], ["p3", "table", 0, 5, 6, 4]]);
  expect(chosen(board.variables, new URLSearchParams("var-channel=b&var-other=c"))).toEqual({ channel: "b" });
  expect(chosen(board.variables, new URLSearchParams())).toEqual({ channel: "a" });
});
