import { expect, test } from "vitest";
import type { RunStep } from "../api/progress";
import { filterText, stepOf, timed } from "./plan";

test("filters read like conditions", () => {
  const filter = {
    type: "and",
    fields: [
      { type: "or", fields: [{ type: "equals", column: "a", matchValue: "x" }, { type: "null", column: "b" }] },
      { type: "not", field: { type: "in", column: "c", values: ["1", "2"] } },
      { type: "range", column: "n", lower: 3, lowerOpen: true, upper: 9 },
    ],
  };
  expect(filterText(filter)).toBe("(a = 'x' OR b IS NULL) AND NOT c IN ('1', '2') AND n > 3 AND n ≤ 9");
  expect(filterText({ type: "unheard of", x: 1 })).toBe('{"type":"unheard of","x":1}');
});

test("a query in a query is a step in a step, and the whole of time is not told", () => {
  const inner = { queryType: "groupBy", dataSource: { type: "table", name: "wiki" }, intervals: { type: "intervals", intervals: ["-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z"] }, granularity: "all", dimensions: [{ type: "default", dimension: "channel", outputName: "d0" }], aggregations: [{ type: "count", name: "a0" }] };
  const step = stepOf({ queryType: "groupBy", dataSource: { type: "query", query: inner }, limitSpec: { columns: [{ dimension: "a0", direction: "descending" }], limit: 5000 } });
  expect(step.reads).toEqual([]);
  expect(step.facts).toContainEqual({ name: "at most", text: "5,000 rows" });
  expect(step.facts).toContainEqual({ name: "ordered by", text: "a0 ↓" });
  expect(step.inner[0]?.reads).toEqual(["wiki"]);
  expect(step.inner[0]?.facts.map((one) => one.name)).toEqual(["grouped by", "aggregates"]);
});

test("whatever comes, there is a step", () => {
  expect(stepOf({}).kind).toBe("?");
  expect(stepOf({ queryType: "scan", dataSource: "wiki", intervals: ["2026/2027"] }).facts).toEqual([{ name: "in time", text: "2026/2027" }]);
});

const ran = (id: number, parent: number | null, name: string, table: string | null, node: string | null, ms: number, rows: number, segments: number | null): RunStep => ({ id, parent, name, table, node, ms, rows, segments });

test("steps of a run: what nodes did is one step, with what the plan says of it", () => {
  const plan = [stepOf({ queryType: "groupBy", dataSource: "w", dimensions: ["channel"], intervals: [] }), stepOf({ queryType: "scan", dataSource: "p", columns: ["a"] })];
  const { tree, left } = timed([ran(1, null, "sql", null, null, 320, 7, null), ran(2, 1, "groupBy", "w", null, 210, 7, null), ran(3, 2, "groupBy", "w", "a:1", 180, 40, 22), ran(4, 2, "groupBy", "w", "b:1", 95, 50, 18), ran(5, 1, "merge", null, null, 12, 7, null)], plan);
  expect(tree.map((one) => [one.name, one.ms, one.inner.map((each) => [each.name, each.ms, each.rows, each.segments, each.nodes.map((node) => node.node), each.step?.facts.length])])).toEqual([
    ["sql", 320, [["groupBy", 210, 7, 40, ["a:1", "b:1"], 1], ["merge", 12, 7, null, [], undefined]]],
  ]);
  expect(left.map((step) => step.kind)).toEqual(["scan"]);
});

test("steps of nodes alone, a parent that is not told and one that goes round", () => {
  const { tree } = timed([ran(1, 99, "scan", "w", "a:1", 5, 10, 1), ran(2, 99, "scan", "w", "b:1", 9, 20, 2)], []);
  expect(tree.map((one) => [one.ms, one.rows, one.segments, one.nodes.length])).toEqual([[9, 30, 3, 2]]);
  expect(timed([ran(1, 2, "a", null, null, 1, 1, null), ran(2, 1, "b", null, null, 1, 1, null)], []).tree).toEqual([]);
});

test("a stretch of time that does not end is told as such", () => {
  const time = (interval: string): string | undefined => stepOf({ queryType: "scan", intervals: { type: "intervals", intervals: [interval] } }).facts.find((one) => one.name === "in time")?.text;
  expect(time("2026-11-23T09:33:35.414Z/146140482-04-24T15:36:27.903Z")).toBe("from 2026-11-23T09:33:35.414Z on");
  expect(time("-146136543-09-08T08:23:32.096Z/2026-11-23T09:33:35.414Z")).toBe("until 2026-11-23T09:33:35.414Z");
  expect(time("2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z")).toBe("2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z");
  expect(time("-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z")).toBeUndefined();
});
