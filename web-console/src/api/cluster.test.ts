import { expect, test } from "vitest";
import { parseMetrics, total } from "./cluster";
import { sumStats } from "./ingestion";

test("metrics are read with their labels, and what is none is passed over", () => {
  const samples = parseMetrics(
    '# TYPE a counter\na{kind="sql",note="quo\\"te, {x}"} 3\na{kind="native"} 4.5\nb 1e3\nc{x="y"} +Inf\nnot a line\nd NaN\n',
  );
  expect(samples.map((one) => one.name)).toEqual(["a", "a", "b", "c"]);
  expect(samples[0]?.labels).toEqual({ kind: "sql", note: 'quo"te, {x}' });
  expect(total(samples, "a")).toBe(7.5);
  expect(total(samples, "a", { kind: "sql" })).toBe(3);
  expect(total(samples, "nothing")).toBe(0);
});

test("a supervisor's rates are those of its tasks together", () => {
  const counts = { processed: 10, processedBytes: 100, processedWithError: 1, thrownAway: 2, unparseable: 3 };
  const task = { totals: { buildSegments: counts }, movingAverages: { buildSegments: { "1m": counts } } };
  expect(sumStats({ "0": { a: task }, "1": { b: task, c: {} } })).toMatchObject({
    totals: { processed: 20, unparseable: 6 },
    perSecond: { processedBytes: 200 },
  });
  expect(sumStats(null).totals.processed).toBe(0);
});
