// Segments laid out as a picture: time across, versions of the same time stacked, the one that answers on top. Pure.

import type { Segment, SegmentsGroup } from "../api/cluster";

export type Fate = "realtime" | "served" | "short" | "missing" | "overshadowed" | "unused";

type State = Pick<SegmentsGroup, "is_active" | "is_available" | "is_realtime" | "is_overshadowed" | "is_short">;

const fateOfState = (one: State): Fate => {
  if (one.is_overshadowed === 1) return "overshadowed";
  if (one.is_active === 0) return "unused";
  if (one.is_available === 0) return "missing";
  if (one.is_realtime === 1) return "realtime";
  return one.is_short === 1 ? "short" : "served";
};

export const fateOf = (one: Segment): Fate => fateOfState({ ...one, is_short: one.replication_factor > one.num_replicas ? 1 : 0 });

export interface Block {
  from: number;
  to: number;
  lane: number;
  fate: Fate;
  version: string;
  segments: number;
  rows: number;
  size: number;
}

const WORST: Fate[] = ["missing", "short", "realtime", "served", "overshadowed", "unused"];

/** One block for each interval and version; blocks that overlap stand in lanes below each other, what answers queries first. */
export function layOut(groups: SegmentsGroup[]): { blocks: Block[]; lanes: number; from: number; to: number } {
  const found = new Map<string, Block>();
  for (const one of groups) {
    const fate = fateOfState(one);
    const key = `${one.start}/${one.end}/${one.version}/${fate === "overshadowed"}`;
    const block = found.get(key);
    if (block === undefined) {
      found.set(key, { from: Date.parse(one.start), to: Date.parse(one.end), lane: 0, fate, version: one.version, segments: one.segments, rows: one.rows, size: one.size });
    } else {
      block.segments += one.segments;
      block.rows += one.rows;
      block.size += one.size;
      if (WORST.indexOf(fate) < WORST.indexOf(block.fate)) block.fate = fate;
    }
  }
  const blocks = [...found.values()].filter((one) => !Number.isNaN(one.from) && one.to > one.from);
  const hidden = (one: Block): number => (one.fate === "overshadowed" || one.fate === "unused" ? 1 : 0);
  blocks.sort((a, b) => hidden(a) - hidden(b) || a.from - b.from || b.version.localeCompare(a.version));
  const ends: { from: number; to: number }[][] = [];
  for (const block of blocks) {
    let lane = 0;
    while (ends[lane]?.some((other) => other.from < block.to && block.from < other.to) === true) lane += 1;
    (ends[lane] ??= []).push(block);
    block.lane = lane;
  }
  return {
    blocks,
    lanes: ends.length,
    from: blocks.reduce((least, one) => Math.min(least, one.from), Infinity),
    to: blocks.reduce((most, one) => Math.max(most, one.to), -Infinity),
  };
}

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;
/** Distances between marks that people count in. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((one) => one * MINUTE).concat([1, 2, 7, 14, 28, 91, 182, 365, 730, 1825, 3650].map((one) => one * DAY));

/** Round instants (of UTC) within a stretch, at most so many. */
export function ticksOf(from: number, to: number, most: number): number[] {
  const step = STEPS.find((one) => Math.floor(to / one) - Math.ceil(from / one) + 1 <= most) ?? Math.ceil((to - from) / most / DAY) * DAY;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return ticks.length === 0 ? [from] : ticks;
}
