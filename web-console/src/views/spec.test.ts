import { expect, test } from "vitest";
import { APPENDS, at, BROKERS, DATA, dimensionsOf, FIRST, FLATTEN, FORMAT, formatOf, formatOfName, formatOfText, GRANULARITY, held, keepOf, lacks, listOf, METRICS, NAME, nameOfTopic, placeOf, put, readingOf, shownSpec, sourceOf, suggestMetrics, suggestPaths, suggestTime, suggestTypes, timeFormatOf, TIME_COLUMN, TIME_FORMAT, TOPIC, toSample, TRANSFORMS, URIS, wholeSpec, withDimensions, withKeep, withList, withSource, type Json } from "./spec";

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

test("another source keeps schema and format, and nothing that only the first had", () => {
  const kafka = put(put(FIRST, NAME, "shop"), FORMAT, { type: "csv", columns: ["a"] });
  const pasted = withSource(kafka, "inline");
  expect([sourceOf(kafka), sourceOf(pasted), pasted.type]).toEqual(["kafka", "inline", "index_parallel"]);
  expect([at(pasted, NAME), at(pasted, FORMAT), at(pasted, TOPIC)]).toEqual(["shop", { type: "csv", columns: ["a"] }, undefined]);
  expect(at(pasted, [...GRANULARITY, "segmentGranularity"])).toBe("DAY");
  const fetched = withSource(put(put(pasted, APPENDS, true), [...GRANULARITY, "segmentGranularity"], "MONTH"), "http");
  expect([sourceOf(fetched), at(fetched, APPENDS), at(fetched, [...GRANULARITY, "segmentGranularity"]), at(fetched, DATA)]).toEqual(["http", true, "MONTH", undefined]);
  expect(lacks(fetched)).toEqual(["an address"]);
  expect(lacks(put(fetched, URIS, ["https://example.org/a"]))).toEqual([]);
  expect(at(withSource(put(fetched, FORMAT, { type: "parquet" }), "kafka"), FORMAT)).toEqual({ type: "json" });
  expect(sourceOf({ type: "index_parallel", spec: { ioConfig: { inputSource: { type: "s3" } } } })).toBe("other");
});

test("names and first lines tell the format", () => {
  expect(["a/b.json.gz", "x.CSV", "https://h/x.tsv?y=1", "p.parquet", "a.log", "a.bin", ""].map(formatOfName)).toEqual(["json", "csv", "tsv", "parquet", "lines", null, null]);
  expect(['\n {"a":1}', "a,b\n1,2", "a\tb", "word"].map(formatOfText)).toEqual(["json", "csv", "tsv", null]);
  expect([formatOf("csv", "http"), formatOf("csv", "kafka")]).toEqual([{ type: "csv", findColumnsFromHeader: true, tryParseNumbers: true }, { type: "csv", findColumnsFromHeader: false, columns: [], tryParseNumbers: true }]);
});

test("which events are kept goes to the spec and back", () => {
  for (const keep of [{ is: "equal", column: "a", value: "b" }, { is: "differs", column: "a", value: "" }, { is: "expression", expression: "a > 1" }, { is: "all" }] as const) {
    expect(keepOf(withKeep(FIRST, keep))).toEqual(keep);
  }
  const other = put(FIRST, ["spec", "dataSchema", "transformSpec", "filter"], { type: "and", fields: [] });
  expect(keepOf(other)).toEqual({ is: "other" });
  expect(withKeep(other, { is: "other" })).toBe(other);
  expect(keepOf(put(FIRST, ["spec", "dataSchema", "transformSpec", "filter"], { type: "not", field: { type: "not", field: { type: "selector", dimension: "a", value: "b" } } }))).toEqual({ is: "other" });
});

test("fields within fields are suggested as paths, once, and none that is there", () => {
  const rows = [{ a: 1, user: { name: { first: "x" }, "e mail's": "y", tags: [1] } }, { user: { name: { first: "z" }, age: 3 } }];
  expect(suggestPaths(rows, ["$.user.age"])).toEqual([
    { name: "user_name_first", expr: "$.user.name.first" },
    { name: "user_e_mail_s", expr: "$.user['e mail\\'s']" },
  ]);
  expect(suggestPaths([{ a: { b: { c: { d: { e: { f: { g: { h: 1 } } } } } } } }], [])).toEqual([]);
});

test("what is a number is summed, and what only names something is not", () => {
  expect(suggestMetrics([{ name: "amount", type: "double" }, { name: "items", type: "long" }, { name: "order_id", type: "long" }, { name: "customerId", type: "long" }, { name: "paid", type: "double" }, { name: "country", type: "string" }]).map((one) => [one.type, one.name])).toEqual([["count", "events"], ["doubleSum", "amount"], ["longSum", "items"], ["doubleSum", "paid"]]);
});

test("what is begun and not filled in is not looked at, but asked for before it is sent", () => {
  let spec = withSource(put(FIRST, NAME, "x"), "inline");
  spec = put(spec, DATA, `${"a".repeat(200_000)}\n${"b".repeat(200_000)}\nc`);
  spec = put(put(spec, FLATTEN, [{ type: "path", name: "", expr: "$." }]), TRANSFORMS, [{ type: "expression", name: "u", expression: "upper(a)" }, { type: "expression", name: "", expression: "" }]);
  spec = put(withDimensions(spec, [{ name: "a", type: "string" }, { name: " ", type: "long" }]), METRICS, [{ type: "count", name: "n" }, { type: "longSum", name: "s", fieldName: "" }]);
  const looked = toSample(spec);
  expect(listOf(looked, FLATTEN)).toEqual([]);
  expect(listOf(looked, TRANSFORMS)).toHaveLength(1);
  expect(dimensionsOf(looked)).toEqual([{ name: "a", type: "string" }]);
  expect(listOf(looked, METRICS)).toEqual([{ type: "count", name: "n" }]);
  expect(at(looked, DATA)).toBe("a".repeat(200_000));
  expect(lacks(spec)).toEqual(["a name for each path", "a name and an expression for each computed column"]);
  expect(at(withList(spec, TRANSFORMS, []), TRANSFORMS)).toBeUndefined();
});

test("a long text stands beside the spec, and comes back unless it was replaced", () => {
  const data = "x".repeat(5_000);
  const spec = put(withSource(FIRST, "inline"), DATA, data);
  const { shown, beside } = shownSpec(spec);
  expect(at(shown, DATA)).toBe(held(data));
  expect(wholeSpec(shown, beside)).toEqual(spec);
  expect(at(wholeSpec(put(shown, DATA, "y"), beside), DATA)).toBe("y");
  expect(shownSpec(put(spec, DATA, "short")).beside).toBeNull();
  expect(placeOf(spec)).not.toBe(placeOf(put(spec, DATA, "y")));
  expect(placeOf(put(FIRST, TOPIC, "a"))).not.toBe(placeOf(FIRST));
});
