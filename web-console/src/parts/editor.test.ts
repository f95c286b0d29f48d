import { Text } from "@codemirror/state";
import { expect, test } from "vitest";
import { completions, rangeOf } from "./editor";

test("a place of the server's is found in the document, also behind characters of two units", () => {
  const text = Text.of(["SELECT '😀', chanel", "FROM wiki"]);
  const { from, to } = rangeOf(text, { line: 1, column: 13, endLine: 1, endColumn: 18 });
  expect(text.sliceString(from, to)).toBe("chanel");
});

test("places outside the document end at its edges", () => {
  const text = Text.of(["ab"]);
  expect(rangeOf(text, { line: 9, column: 9, endLine: 9, endColumn: 9 })).toEqual({ from: 2, to: 2 });
  expect(rangeOf(text, { line: 1, column: 1, endLine: 1, endColumn: 0 })).toEqual({ from: 0, to: 1 });
});

test("columns are those of the tables that the statement names, and names that need quotes get them", () => {
  const vocabulary = {
    tables: [
      { schema: "druid", name: "wiki", columns: [{ name: "user", type: "VARCHAR" }, { name: "a b", type: "BIGINT" }] },
      { schema: "druid", name: "pay", columns: [{ name: "amount", type: "DOUBLE" }] },
      { schema: "sys", name: "segments", columns: [] },
    ],
    routines: [{ name: "TIME_FLOOR", aggregates: false, signatures: ["TIME_FLOOR(<TIMESTAMP>, <CHARACTER>)"] }],
  };
  const found = completions(vocabulary, "SELECT x FROM wiki");
  expect(found.filter((one) => one.type === "property").map((one) => one.apply)).toEqual(['"user"', '"a b"']);
  expect(found.some((one) => one.label === "sys.segments")).toBe(true);
  expect(found.find((one) => one.label === "TIME_FLOOR")?.info).toBe("TIME_FLOOR(<TIMESTAMP>, <CHARACTER>)\n\nthe beginning of the period ('PT15M', 'P1D') that the time is in, from an origin, in a time zone");
});
