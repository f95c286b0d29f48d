import { expect, test } from "vitest";
import { filterText, stepOf } from "./plan";

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
