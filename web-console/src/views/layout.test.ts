import { expect, test } from "vitest";
import { COLUMNS, joined, placed, settled, stepped, type Box } from "./layout";

const box = (id: string, x: number, y: number, w: number, h: number): Box => ({ id, x, y, w, h });
const at = (boxes: Box[], id: string): string => {
  const one = boxes.find((each) => each.id === id);
  return one === undefined ? "gone" : `${one.x},${one.y} ${one.w}x${one.h}`;
};

/** The same numbers each time: what fails fails again. */
function dice(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * most);
  };
}

/** What is wrong with how they stand. */
function faults(boxes: Box[]): string[] {
  const touches = (a: Box, dy: number, b: Box): boolean => a !== b && a.x < b.x + b.w && b.x < a.x + a.w && a.y + dy < b.y + b.h && b.y < a.y + dy + a.h;
  return boxes.flatMap((a) => [
    ...(a.x < 0 || a.x + a.w > COLUMNS || a.w < 1 || a.h < 1 ? [`${a.id} leaves the columns`] : []),
    ...boxes.filter((b) => touches(a, 0, b)).map((b) => `${a.id} overlaps ${b.id}`),
    ...(a.y === 0 || boxes.some((b) => touches(a, -1, b)) ? [] : [`${a.id} hangs in the air`]),
  ]);
}

test("whatever is moved wherever, nothing overlaps, leaves the columns or hangs in the air", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const roll = dice(seed);
    let boxes: Box[] = [];
    const many = 1 + roll(12);
    for (let number = 0; number < many; number += 1) boxes = joined(boxes, box(`p${number}`, 0, 0, 1 + roll(12), 1 + roll(6)));
    expect(faults(boxes)).toEqual([]);
    expect(boxes.map((one) => one.id)).toEqual(Array.from({ length: many }, (_, number) => `p${number}`));
    for (let turn = 0; turn < 15; turn += 1) {
      const id = `p${roll(many)}`;
      const key = (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] as const)[roll(4)] ?? "ArrowUp";
      boxes = roll(2) === 0 ? stepped(boxes, id, key, roll(2) === 0) : placed(boxes, id, { x: roll(14) - 1, y: roll(30) - 1, w: roll(14), h: roll(8) });
      expect(faults(boxes)).toEqual([]);
    }
  }
});

test("what is moved takes its place, and what stood there gives way", () => {
  const boxes = [box("a", 0, 0, 6, 4), box("b", 6, 0, 6, 4)];
  const next = placed(boxes, "b", { x: 0, y: 0 });
  expect([at(next, "a"), at(next, "b")]).toEqual(["0,4 6x4", "0,0 6x4"]);
  // At the edge it stays whole.
  expect(at(placed(boxes, "a", { x: 11 }), "a")).toBe("6,0 6x4");
});

test("by the keyboard a panel changes places with what is below it, however tall that is", () => {
  const boxes = [box("a", 0, 0, 12, 2), box("b", 0, 2, 12, 7)];
  const below = stepped(boxes, "a", "ArrowDown", false);
  expect([at(below, "a"), at(below, "b")]).toEqual(["0,7 12x2", "0,0 12x7"]);
  const back = stepped(below, "a", "ArrowUp", false);
  expect([at(back, "a"), at(back, "b")]).toEqual(["0,0 12x2", "0,2 12x7"]);
  // Where there is nothing to change places with, it stays.
  expect(stepped(boxes, "a", "ArrowUp", false)).toEqual(boxes);
  expect(at(stepped([box("a", 6, 0, 6, 2)], "a", "ArrowRight", true), "a")).toBe("6,0 6x2");
  expect(at(stepped([box("a", 6, 0, 6, 2)], "a", "ArrowLeft", true), "a")).toBe("6,0 5x2");
});

test("a new panel stands where there is room", () => {
  expect(at(joined([box("a", 0, 0, 6, 4)], box("n", 0, 0, 6, 4)), "n")).toBe("6,0 6x4");
  expect(at(joined([box("a", 0, 0, 8, 4)], box("n", 0, 0, 6, 4)), "n")).toBe("0,4 6x4");
  expect(settled([box("a", 0, 9, 3, 2)])).toEqual([box("a", 0, 0, 3, 2)]);
});
