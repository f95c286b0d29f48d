import { expect, test } from "vitest";
import { compare, matching, sorted, within, type TableColumn } from "./table";

type Row = { name: string; rows: number | null };
const columns: TableColumn<Row>[] = [
  { key: "name", title: "Name", text: (row) => row.name },
  { key: "rows", title: "Rows", text: (row) => (row.rows === null ? null : String(row.rows)), value: (row) => row.rows },
];
const rows: Row[] = [
  { name: "p10", rows: 9 },
  { name: "p9", rows: null },
  { name: "P1", rows: 10 },
];

test("nothing comes last both ways, numbers by size, names with numbers as people count", () => {
  expect(sorted(rows, columns, { key: "rows", down: false }).map((row) => row.rows)).toEqual([9, 10, null]);
  expect(sorted(rows, columns, { key: "rows", down: true }).map((row) => row.rows)).toEqual([10, 9, null]);
  expect(sorted(rows, columns, { key: "name", down: false }).map((row) => row.name)).toEqual(["P1", "p9", "p10"]);
  expect(sorted(rows, columns, null)).toBe(rows);
  expect(compare(2n ** 60n, 3, false)).toBe(1);
});

test("a filter looks into every column and at no case", () => {
  expect(matching(rows, columns, "p1").map((row) => row.name)).toEqual(["p10", "P1"]);
  expect(matching(rows, columns, " 9 ").map((row) => row.name)).toEqual(["p10", "p9"]);
  expect(matching(rows, columns, "")).toBe(rows);
});

test("columns that yield are left out one by one where there is no room, and those that do not yield stay", () => {
  const of = (more: Partial<TableColumn<Row>>): TableColumn<Row> => ({ key: "k", title: "T", text: () => "", ...more });
  // A name that gives way down to 110 pixels, figures of 100 that yield in turn, and an error that does not.
  const four = [of({}), of({ width: 100, yields: 1 }), of({ width: 100, yields: 2 }), of({ width: 150 })];
  const natural = [300, 100, 100, 150];
  expect(within(four, natural, 650)).toEqual([0, 1, 2, 3]);
  expect(within(four, natural, 460)).toEqual([0, 1, 2, 3]);
  expect(within(four, natural, 459)).toEqual([0, 1, 3]);
  expect(within(four, natural, 359)).toEqual([0, 3]);
  expect(within(four, natural, 10)).toEqual([0, 3]);
  expect(within([of({ least: 200 }), of({ width: 100, yields: 1 })], [300, 100], 299)).toEqual([0]);
  expect(within([], [], 0)).toEqual([]);
});
