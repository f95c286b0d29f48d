import { expect, test } from "vitest";
import type { Column } from "../api/sql";
import { bars, heat, shapeOf, slices, timeSeries } from "./shape";

const column = (name: string, type: string): Column => ({ name, type });
const T = column("__time", "TIMESTAMP");
const N = column("channel", "VARCHAR");
const M = column("n", "BIGINT");

test("a result is drawn by its shape", () => {
  const kinds = (columns: Column[]): string[] => shapeOf(columns, [columns.map((one) => (one === M ? 1 : "2026-01-01"))]).kinds;
  expect(kinds([T, M])[0]).toBe("time");
  expect(kinds([N, M])).toEqual(["bar", "pie"]);
  expect(kinds([T, N, M])).toEqual(["time", "bar", "heat", "pie"]);
  expect(kinds([N, column("page", "VARCHAR"), M])).toContain("heat");
  expect(kinds([N])).toEqual([]);
  expect(shapeOf([N, M], []).kinds).toEqual([]);
});

test("what is below nothing is no slice of a whole", () => {
  expect(shapeOf([N, M], [["a", -1]]).kinds).not.toContain("pie");
});

test("rows out of order are drawn in order, and instants that are none are left out", () => {
  const { times, series } = timeSeries([T, M], [["2026-01-02T00:00:00Z", 2], ["2026-01-01T00:00:00Z", null], ["x", 9]], 0, [1], null);
  expect(times).toEqual([Date.parse("2026-01-01"), Date.parse("2026-01-02")]);
  expect(series).toEqual([{ name: "n", values: [null, 2] }]);
});

test("a split keeps the largest series and says how many are left", () => {
  const rows = [
    ["2026-01-01", "a", 1],
    ["2026-01-01", "b", 5],
    ["2026-01-02", "b", 5],
    ["2026-01-02", "c", 3],
  ];
  const found = timeSeries([T, N, M], rows, 0, [2], 1, 2);
  expect(found.series).toEqual([
    { name: "b", values: [5, 5] },
    { name: "c", values: [null, 3] },
  ]);
  expect(found.left).toBe(1);
});

test("bars sum equal names; slices keep the whole", () => {
  const rows = [["a", 1], ["b", 4], ["a", 2], [null, 1]];
  expect(bars(rows, 0, 1, 2)).toEqual({ bars: [{ name: "b", value: 4 }, { name: "a", value: 3 }], left: 1 });
  const parts = slices(Array.from({ length: 20 }, (_, at) => [`s${at}`, 1]), 0, 1, 8);
  expect(parts).toHaveLength(8);
  expect(parts.reduce((sum, one) => sum + one.share, 0)).toBeCloseTo(1);
  expect(parts.at(-1)).toMatchObject({ name: "others", value: 13 });
});

test("a heat map keeps times in order and the largest lines", () => {
  const map = heat([["2026-01-02", "a", 1], ["2026-01-01", "b", 7], ["2026-01-02", "b", 2]], 0, 1, 2, true);
  expect(map.across).toEqual(["2026-01-01", "2026-01-02"]);
  expect(map.down).toEqual(["b", "a"]);
  expect(map.values).toEqual([[7, 2], [null, 1]]);
  expect([map.low, map.high]).toEqual([1, 7]);
});
