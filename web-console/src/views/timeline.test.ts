import { expect, test } from "vitest";
import type { Segment, SegmentsGroup } from "../api/cluster";
import { fateOf, layOut, ticksOf } from "./timeline";

const segment = (start: number, end: number, version: string, more: Partial<Segment> = {}): Segment => ({
  segment_id: `${start}-${end}-${version}`,
  datasource: "wiki",
  start: new Date(start * 3_600_000).toISOString(),
  end: new Date(end * 3_600_000).toISOString(),
  size: 10,
  version,
  partition_num: 0,
  num_replicas: 1,
  num_rows: 5,
  is_active: 1,
  is_published: 1,
  is_available: 1,
  is_realtime: 0,
  is_overshadowed: 0,
  replication_factor: 1,
  ...more,
});

const group = (start: number, end: number, version: string, more: Partial<SegmentsGroup> = {}): SegmentsGroup => ({
  start: new Date(start * 3_600_000).toISOString(),
  end: new Date(end * 3_600_000).toISOString(),
  version,
  is_active: 1,
  is_available: 1,
  is_realtime: 0,
  is_overshadowed: 0,
  is_short: 0,
  segments: 1,
  rows: 5,
  size: 10,
  ...more,
});

test("partitions of an interval are one block, as bad as the worst of them", () => {
  const { blocks } = layOut([group(0, 1, "a"), group(0, 1, "a", { is_available: 0 }), group(0, 1, "a", { is_short: 1, segments: 3, rows: 15 })]);
  expect(blocks).toHaveLength(1);
  expect(blocks[0]).toMatchObject({ fate: "missing", rows: 25, size: 30, segments: 5 });
});

test("what is overshadowed stands below what overshadows it, and no two blocks overlap in a lane", () => {
  const { blocks, lanes, from, to } = layOut([group(0, 1, "a", { is_overshadowed: 1, is_active: 0 }), group(1, 2, "a", { is_overshadowed: 1 }), group(0, 24, "b"), group(24, 25, "b")]);
  expect(lanes).toBe(2);
  expect([from, to]).toEqual([0, 25 * 3_600_000]);
  expect(blocks.filter((one) => one.lane === 0).map((one) => one.version)).toEqual(["b", "b"]);
  for (const a of blocks) for (const b of blocks) if (a !== b && a.lane === b.lane) expect(a.to <= b.from || b.to <= a.from).toBe(true);
});

test("fates", () => {
  expect(fateOf(segment(0, 1, "a", { is_realtime: 1, replication_factor: -1 }))).toBe("realtime");
  expect(fateOf(segment(0, 1, "a", { is_active: 0 }))).toBe("unused");
  expect(fateOf(segment(0, 1, "a", { replication_factor: 2 }))).toBe("short");
  expect(layOut([]).blocks).toEqual([]);
});

test("marks are round instants within the stretch, and no more than there is room for", () => {
  const at = (text: string): number => Date.parse(text);
  const told = (ticks: number[]): string[] => ticks.map((one) => new Date(one).toISOString().slice(5, 16));
  expect(told(ticksOf(at("2026-11-23T09:00:00Z"), at("2026-11-23T10:00:00Z"), 5))).toEqual(["11-23T09:00", "11-23T09:15", "11-23T09:30", "11-23T09:45", "11-23T10:00"]);
  expect(told(ticksOf(at("2026-11-23T09:07:00Z"), at("2026-11-24T03:00:00Z"), 4))).toEqual(["11-23T12:00", "11-23T18:00", "11-24T00:00"]);
  for (let span = 7 * 60_000; span < 1e15; span *= 3.7) {
    const [from, to] = [1_700_000_012_345 - span, 1_700_000_012_345];
    const ticks = ticksOf(from, to, 6);
    expect(ticks.length).toBeGreaterThan(0);
    expect(ticks.length).toBeLessThanOrEqual(7);
    expect(ticks.every((one) => one >= from && one <= to)).toBe(true);
  }
});
