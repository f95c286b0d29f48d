import { expect, test } from "vitest";
import { compare, matching, sorted, type TableColumn } from "./table";

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
