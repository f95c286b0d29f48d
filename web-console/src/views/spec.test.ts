import { expect, test } from "vitest";
import { at, BROKERS, dimensionsOf, FIRST, GRANULARITY, lacks, NAME, nameOfTopic, put, readingOf, suggestTime, suggestTypes, timeFormatOf, TIME_COLUMN, TIME_FORMAT, TOPIC, withDimensions, type Json } from "./spec";

test("a change touches its path and nothing else", () => {
  const spec: Json = { ...FIRST, context: { keep: [1] } };
  const changed = put(spec, NAME, "wiki");
  expect(at(changed, NAME)).toBe("wiki");
  expect(at(spec, NAME)).toBe("");
  expect(changed.context).toBe(spec.context);
  expect(at(changed, ["spec", "ioConfig"])).toBe(at(spec, ["spec", "ioConfig"]));
  expect(at(put({ a: [1] }, ["a", "b"], 2), ["a", "b"])).toBe(2);
  expect(put({ a: { b: 1, c: 2 } }, ["a", "b"], undefined)).toEqual({ a: { c: 2 } });
});

test("what is missing is named until it is there", () => {
  expect(lacks(FIRST)).toHaveLength(3);
  expect(lacks(put(put(put(FIRST, BROKERS, "k:9092"), TOPIC, "t"), NAME, "n"))).toEqual([]);
  expect(lacks(put(FIRST, TIME_COLUMN, " "))).toContain("a time column");
});

test("dimensions go to the spec and back, with what the form does not know", () => {
  const spec = put(FIRST, ["spec", "dataSchema", "dimensionsSpec"], { dimensions: ["a", { type: "long", name: "n", createBitmapIndex: false }], useSchemaDiscovery: true });
  expect(dimensionsOf(spec)).toEqual([{ name: "a", type: "string" }, { name: "n", type: "long" }]);
  const changed = withDimensions(spec, [{ name: "n", type: "double" }, { name: "b", type: "json" }]);
  expect(at(changed, ["spec", "dataSchema", "dimensionsSpec"])).toEqual({ dimensions: [{ type: "double", name: "n", createBitmapIndex: false }, { type: "json", name: "b" }] });
  expect(at(withDimensions(spec, []), ["spec", "dataSchema", "dimensionsSpec", "useSchemaDiscovery"])).toBe(true);
});

test("a topic's name becomes one of a datasource", () => {
  expect([nameOfTopic("shop.orders-v2"), nameOfTopic(" 1:a b "), nameOfTopic("événements")]).toEqual(["shop_orders-v2", "a_b", "v_nements"]);
});

test("times are known by their form", () => {
  expect([1700000000, 1700000000000, "1700000000000", 1700000000000000, "2026-11-23T02:17:47.195Z", "2026-11-23", "12", 7, null].map(timeFormatOf)).toEqual(["posix", "millis", "millis", "micro", "iso", "iso", null, null, null]);
});

test("of several times the one named like one is taken, and none that is missing in a row", () => {
  const rows = [
    { shipped: "2026-01-01T00:00:00Z", ts: 1700000000000, n: 1, x: { a: 1 }, l: [1] },
    { shipped: null, ts: 1700000001000, n: 1.5, y: "a" },
  ];
  expect(suggestTime(rows)).toEqual({ column: "ts", format: "millis" });
  expect(suggestTime([{ a: "b" }])).toBeNull();
  expect(suggestTypes(rows, "ts")).toEqual([
    { name: "shipped", type: "string" },
    { name: "n", type: "double" },
    { name: "x", type: "json" },
    { name: "l", type: "auto" },
    { name: "y", type: "string" },
  ]);
});

test("a sample is the same while what is read, and as what, is the same", () => {
  const before = readingOf(FIRST);
  expect(readingOf(put(put(FIRST, NAME, "wiki"), ["spec", "ioConfig", "taskCount"], 4))).toBe(before);
  expect(readingOf(put(FIRST, [...GRANULARITY, "rollup"], true))).not.toBe(before);
  expect(readingOf(withDimensions(FIRST, [{ name: "a", type: "long" }]))).not.toBe(before);
  expect(readingOf(put(FIRST, TIME_FORMAT, "millis"))).not.toBe(before);
  expect(readingOf({})).toBe("[null,null]");
});
