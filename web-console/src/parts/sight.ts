// Which cells of a table are in sight: rows are alike in height, columns as wide as they are. Pure.

/** Rows and columns from one place to before another. */
export interface Sight {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

/** Where each column begins, and where the last ends. */
export function placesOf(widths: number[]): number[] {
  const places = [0];
  for (const width of widths) places.push((places.at(-1) ?? 0) + width);
  return places;
}

/** The last place that is not beyond `x`. */
function placeAt(places: number[], x: number): number {
  let [low, high] = [0, Math.max(0, places.length - 2)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((places[middle] ?? 0) <= x) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Rows come and go by so many at once: not each pixel of scrolling is a change. */
const STEP = 4;
const ABOVE = 4;

export function inSight(table: { rows: number; row: number; head: number; places: number[] }, view: { top: number; left: number; width: number; height: number }): Sight {
  const { rows, row, head, places } = table;
  const columns = places.length - 1;
  const first = Math.floor(view.top / row) - ABOVE;
  const last = Math.ceil((view.top + Math.max(0, view.height - head)) / row) + ABOVE;
  const top = Math.max(0, Math.min(rows, Math.floor(first / STEP) * STEP));
  return {
    top,
    bottom: Math.max(top, Math.min(rows, Math.ceil(last / STEP) * STEP)),
    left: columns === 0 ? 0 : Math.max(0, placeAt(places, view.left) - 1),
    right: columns === 0 ? 0 : Math.min(columns, placeAt(places, view.left + view.width) + 2),
  };
}

export const same = (a: Sight, b: Sight): boolean => a.top === b.top && a.bottom === b.bottom && a.left === b.left && a.right === b.right;
