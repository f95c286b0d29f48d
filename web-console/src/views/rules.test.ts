import { expect, test } from "vitest";
import type { Rule } from "../api/cluster";
import { ago, consequences, decides, kindOf, matches, ruleText, withKind, type Stored } from "./rules";

const at = (text: string): number => Date.parse(text);
const NOW = at("2026-03-31T12:00:00Z");
const span = (from: string, to: string): { from: number; to: number } => ({ from: at(from), to: at(to) });
const day = span("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");

test("periods go back by the calendar", () => {
  expect(ago("P1M", NOW)).toBe(at("2026-02-28T12:00:00Z"));
  expect(ago("P1Y", at("2024-02-29T00:00:00Z"))).toBe(at("2023-02-28T00:00:00Z"));
  expect(ago("P1W2DT3H4M5S", NOW)).toBe(NOW - (9 * 24 + 3) * 3_600_000 - 4 * 60_000 - 5000);
  expect(["", "P", "PT", "30D", "P-1D", "P1X"].map((one) => ago(one, NOW))).toEqual([null, null, null, null, null, null]);
});

test("what is kept overlaps a rule, what is dropped lies within it", () => {
  const rule = (type: string, more: object): Rule => ({ type, ...more });
  const around = { interval: "2026-03-01T12:00:00Z/2026-03-03" };
  expect(matches(rule("loadByInterval", around), day, NOW)).toBe(true);
  expect(matches(rule("dropByInterval", around), day, NOW)).toBe(false);
  expect(matches(rule("dropByInterval", { interval: "2026-03-01/2026-03-02" }), day, NOW)).toBe(true);
  expect(matches(rule("loadByInterval", { interval: "2026-03-02/2026-03-03" }), day, NOW)).toBe(false);
  // 29 days and a half back lies within the day.
  expect(matches(rule("loadByPeriod", { period: "P29DT18H" }), day, NOW)).toBe(true);
  expect(matches(rule("dropByPeriod", { period: "P29DT18H" }), day, NOW)).toBe(false);
  expect(matches(rule("dropBeforeByPeriod", { period: "P29D" }), day, NOW)).toBe(true);
  expect(matches(rule("dropBeforeByPeriod", { period: "P30D" }), day, NOW)).toBe(false);
  const coming = span("2026-04-01T00:00:00Z", "2026-04-02T00:00:00Z");
  expect([true, false, undefined].map((includeFuture) => matches(rule("loadByPeriod", { period: "P1D", includeFuture }), coming, NOW))).toEqual([true, false, true]);
  expect([true, false].map((includeFuture) => matches(rule("dropByPeriod", { period: "P1D", includeFuture }), coming, NOW))).toEqual([true, false]);
  expect(matches(rule("loadByPeriod", { period: "soon" }), day, NOW)).toBeNull();
  expect(matches(rule("loadPartialForever", {}), day, NOW)).toBeNull();
});

test("the first rule that matches decides, and what follows is summed", () => {
  const stored: Stored[] = [
    { datasource: "a", ...span("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"), segments: 2, rows: 10, size: 100 },
    { datasource: "a", ...span("2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"), segments: 1, rows: 5, size: 50 },
    { datasource: "b", ...span("2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"), segments: 1, rows: 1, size: 1 },
  ];
  const own: Rule[] = [{ type: "loadByPeriod", period: "P30D", tieredReplicants: { _default_tier: 1 } }, { type: "dropForever" }];
  const none = (): Rule[] => [];
  const found = consequences(stored, own, NOW, none, () => [{ type: "loadForever" }]);
  expect([found.leaves.segments, found.leaves.rows, found.stays.segments, found.nowhere.segments, found.unknown]).toEqual([2, 10, 2, 0, 0]);
  expect(found.byRule.map((one) => one.segments)).toEqual([2, 2]);
  expect([found.leaves.from, found.leaves.to]).toEqual([stored[0]?.from, stored[0]?.to]);
  // The cluster's rules decide on what those of the datasource leave to them.
  const cluster = consequences(stored, [{ type: "dropForever" }], NOW, (one) => (one === "a" ? [{ type: "loadByPeriod", period: "P30D" }] : []), none);
  expect([cluster.leaves.segments, cluster.stays.segments, cluster.byRule[0]?.segments]).toEqual([3, 1, 3]);
  expect(consequences(stored, [], NOW, none, none).nowhere.segments).toBe(4);
  expect(consequences(stored, [{ type: "loadForever", tieredReplicants: { hot: 0 } }], NOW, none, none).nowhere.segments).toBe(4);
  expect(consequences(stored, [{ type: "loadPartialForever" }, ...own], NOW, none, none).unknown).toBe(4);
  expect(decides([], day, NOW)).toBe(-1);
});

test("a rule changes its kind with the fields that it needs", () => {
  const rule: Rule = { type: "loadByPeriod", period: "P7D", includeFuture: false, tieredReplicants: { hot: 2 } };
  expect(kindOf(rule)).toEqual({ effect: "load", scope: "period" });
  expect(withKind(rule, "drop", "before")).toEqual({ type: "dropBeforeByPeriod", period: "P7D" });
  expect(withKind(rule, "load", "before").type).toBe("loadForever");
  expect(withKind({ type: "dropForever" }, "load", "period")).toEqual({ type: "loadByPeriod", period: "P30D", includeFuture: true, tieredReplicants: { _default_tier: 1 } });
  expect(ruleText(withKind(rule, "broadcast", "forever"))).toBe("keep on every node for ever");
});
