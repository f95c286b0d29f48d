// Where panels stand: twelve columns, rows as many as there are. Nothing overlaps, nothing hangs in the air: what is moved
// pushes aside what stands there, and everything rises as far as there is room. Pure.

export interface Box {
  id: string;
  /** 0 to 11, and rows from the top. */
  x: number;
  y: number;
  /** Columns and rows. */
  w: number;
  h: number;
}

export const COLUMNS = 12;
export const HEIGHT_MAX = 40;

const meet = (a: Box, b: Box): boolean => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/** Each in its turn from the top: down past what is settled, then up as far as nothing is in the way. `first` goes before its equals. */
export function settled<B extends Box>(boxes: B[], first: string | null = null): B[] {
  const order = [...boxes].sort((a, b) => a.y - b.y || Number(b.id === first) - Number(a.id === first) || a.x - b.x);
  const done: B[] = [];
  for (const box of order) {
    const next = { ...box };
    const blocked = (): boolean => done.some((one) => meet(one, next));
    while (blocked()) next.y += 1;
    while (next.y > 0) {
      next.y -= 1;
      if (blocked()) {
        next.y += 1;
        break;
      }
    }
    done.push(next);
  }
  // In the order in which they were given, so that what is drawn of them stays what it is.
  return boxes.map((box) => done.find((one) => one.id === box.id) ?? box);
}

/** With one box elsewhere or of another size; kept within the columns. */
export function placed<B extends Box>(boxes: B[], id: string, to: Partial<Omit<Box, "id">>): B[] {
  return settled(
    boxes.map((box) => {
      if (box.id !== id) return box;
      const w = Math.max(1, Math.min(COLUMNS, to.w ?? box.w));
      const h = Math.max(1, Math.min(HEIGHT_MAX, to.h ?? box.h));
      return { ...box, w, h, x: Math.max(0, Math.min(COLUMNS - w, to.x ?? box.x)), y: Math.max(0, to.y ?? box.y) };
    }),
    id,
  );
}

const same = (a: Box[], b: Box[]): boolean => a.every((box, at) => box.x === b[at]?.x && box.y === b[at]?.y && box.w === b[at]?.w && box.h === b[at]?.h);

/** One step by the keyboard. Down and up change places with what is next there, however tall that is. */
export function stepped<B extends Box>(boxes: B[], id: string, key: "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown", size: boolean): B[] {
  const box = boxes.find((one) => one.id === id);
  if (box === undefined) return boxes;
  const by = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  if (size) {
    return key === "ArrowLeft" || key === "ArrowRight" ? placed(boxes, id, { w: Math.max(1, Math.min(COLUMNS - box.x, box.w + by)) }) : placed(boxes, id, { h: box.h + by });
  }
  if (key === "ArrowLeft" || key === "ArrowRight") return placed(boxes, id, { x: box.x + by });
  for (let far = 1; far <= 2 * HEIGHT_MAX && box.y + by * far >= 0; far += 1) {
    const next = placed(boxes, id, { y: box.y + by * far });
    if (!same(next, boxes)) return next;
  }
  return boxes;
}

/** With another box, where there is room for it first. */
export function joined<B extends Box>(boxes: B[], box: B): B[] {
  for (let y = 0; ; y += 1) {
    for (let x = 0; x + box.w <= COLUMNS; x += 1) {
      const there = { ...box, x, y };
      if (!boxes.some((one) => meet(one, there))) return settled([...boxes, there]);
    }
  }
}

export const rowsOf = (boxes: Box[]): number => Math.max(0, ...boxes.map((box) => box.y + box.h));
