import { expect, test } from "vitest";
import { inSight, placesOf, same } from "./sight";

test("whatever is scrolled to, all cells in sight are there, and not many more", () => {
  const widths = Array.from({ length: 300 }, (_, at) => 70 + ((at * 37) % 310));
  const places = placesOf(widths);
  const table = { rows: 100_000, row: 32, head: 34, places };
  const whole = places.at(-1) ?? 0;
  for (let at = 0; at < 400; at += 1) {
    const view = { top: (at * 7919.5) % (100_000 * 32 + 34 - 500), left: (at * 977.25) % (whole - 900), width: 900, height: 500 };
    const { top, bottom, left, right } = inSight(table, view);
    // The head covers the first pixels of what is scrolled.
    expect(top * 32).toBeLessThanOrEqual(view.top);
    expect(bottom === table.rows || bottom * 32 >= view.top + 500 - 34).toBe(true);
    expect(places[left] ?? 0).toBeLessThanOrEqual(view.left);
    expect(right === widths.length || (places[right] ?? 0) >= view.left + 900).toBe(true);
    expect(bottom - top).toBeLessThan(500 / 32 + 20);
    expect(right - left).toBeLessThan(900 / 70 + 6);
  }
});

test("an empty table, one without room and one that shrank have nothing beyond their ends", () => {
  const view = { top: 5000, left: 5000, width: 900, height: 500 };
  expect(inSight({ rows: 0, row: 32, head: 34, places: [0] }, view)).toEqual({ top: 0, bottom: 0, left: 0, right: 0 });
  const small = inSight({ rows: 3, row: 32, head: 34, places: placesOf([100, 100]) }, view);
  expect([small.top, small.bottom, small.right]).toEqual([3, 3, 2]);
  const none = inSight({ rows: 9, row: 32, head: 34, places: placesOf([100]) }, { top: 0, left: 0, width: 0, height: 0 });
  expect([none.top, none.left, none.right]).toEqual([0, 0, 1]);
  expect(same(none, { ...none })).toBe(true);
});
