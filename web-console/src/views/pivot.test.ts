import { expect, test } from "vitest";
import { before, bucketOf, change, condition, filled, measureSql, read, splitSql, timelineSql, toggled, write, type View } from "./pivot";

const view: View = { source: 'a "b"', span: { from: 0, to: 3_600_000 }, measure: "sum:x", splits: ["c"], filters: [{ column: "c", value: "O'Neill", not: false }], compare: false };

test("a view is its address", () => {
  const address = new URLSearchParams(Object.entries(write(view)).filter((pair): pair is [string, string] => pair[1] !== null));
  expect(read(address)).toEqual(view);
});

test("whatever stands in an address becomes a view", () => {
  for (const text of ["filter={", 'filter=[["a"],5,[1,2]]&split=5&last=-3&from=x', "filter=null&split=[1]&last=1e99"]) {
    expect(read(new URLSearchParams(text))).toMatchObject({ span: { last: 3600 }, splits: [], filters: [], measure: "count" });
  }
});

test("names and values stay names and values", () => {
  expect(timelineSql(view, { from: 0, to: 3_600_000 })).toContain(`FROM "a ""b"""`);
  expect(condition({ column: 'c"', value: "O'N", not: true })).toBe(`("c""" IS NULL OR NOT CAST("c""" AS VARCHAR) = 'O''N')`);
  expect(condition({ column: "c", value: null, not: false })).toBe(`"c" IS NULL`);
  expect(measureSql("sum:x); DROP")).toBe('SUM("x); DROP")');
  expect(measureSql("evil:x")).toBe("COUNT(*)");
});

test("a split is not narrowed by its own filter, and compares with the stretch before", () => {
  const sql = splitSql({ ...view, compare: true }, "c", { from: 3_600_000, to: 7_200_000 }, 10);
  expect(sql).not.toContain("O''Neill");
  expect(sql).toContain("TIMESTAMP '1970-01-01 00:00:00.000'");
  expect(splitSql(view, "d", { from: 0, to: 1 }, 10)).toContain("O''Neill");
  expect(before({ from: 10, to: 15 })).toEqual({ from: 5, to: 10 });
});

test("a click takes the place of the value that was there, and a second one takes it away", () => {
  const a = { column: "c", value: "a", not: false };
  const b = { column: "c", value: "b", not: false };
  expect(toggled([a], b)).toEqual([b]);
  expect(toggled([a], a)).toEqual([]);
  expect(toggled([{ ...a, not: true }], { ...b, not: true })).toHaveLength(2);
  expect(toggled([a], { ...a, not: true })).toEqual([{ ...a, not: true }]);
});

test("buckets fit the stretch, and empty ones count nothing", () => {
  expect(bucketOf({ from: 0, to: 3_600_000 }).period).toBe("PT15S");
  expect(bucketOf({ from: 0, to: 2_592_000_000 }).period).toBe("PT6H");
  const window = { from: 30_000, to: 60_000 };
  expect(filled([{ time: "1970-01-01T00:00:31Z", value: 4 }], window, "count").values.filter((value) => value !== 0)).toEqual([4]);
  expect(filled([{ time: "1970-01-01T00:00:31Z", value: 4 }], window, "avg:x").values.filter((value) => value === null)).toHaveLength(29);
  expect([change(3, 2), change(1, 0), change(null, 1)]).toEqual([0.5, null, null]);
});

test("no split at all is kept in the address", () => {
  const bare = new URLSearchParams(Object.entries(write({ ...view, splits: [] })).filter((one): one is [string, string] => one[1] !== null));
  expect(bare.get("split")).toBe("[]");
  expect(read(bare).splits).toEqual([]);
});
