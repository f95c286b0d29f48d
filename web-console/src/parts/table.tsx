// The one table of the page, for a list of three and for a result of a hundred thousand rows and three thousand columns: only the
// cells in sight are in the document. Sorted by its heads, walked by the arrow keys; Enter opens a row, Ctrl+C copies a cell.

import { memo, useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { Icon } from "./icon";
import { Empty } from "./state";
import { inSight, placesOf, same, type Sight } from "./sight";

export type Sortable = string | number | bigint | boolean | null;

export interface TableColumn<R> {
  key: string;
  title: string;
  /** A word beside the title, such as a type. */
  note?: string;
  /** Pixels; otherwise by what is in it. */
  width?: number;
  /** Pixels below which a column without a width of its own does not give way. */
  least?: number;
  /** Left out where there is no room for all columns, the highest first; the row's own window tells it. */
  yields?: number;
  /** Figures stand at the end of their cell. */
  end?: boolean;
  /** What is copied, measured, filtered and, without `show`, shown. */
  text: (row: R) => string | null;
  value?: (row: R) => Sortable;
  /** Nobody sorts by it. */
  unsorted?: boolean;
  show?: (row: R, at: number) => ReactNode;
}

export interface Sort {
  key: string;
  down: boolean;
}

interface TableProps<R> {
  label: string;
  rows: R[];
  columns: TableColumn<R>[];
  onOpen?: (row: R, column: TableColumn<R>) => void;
  sort?: Sort | null;
  /** The rows come sorted by `sort`, as a page of more; who chooses another order is told to whoever asks for them. */
  onSort?: (sort: Sort | null) => void;
  empty?: ReactNode;
  /** Pixels that the table takes at most before it scrolls; without it, all the room there is. */
  heightMax?: number;
  /** Columns without a width of their own give way, so that a list is seen whole. */
  fit?: boolean;
}

const ROW = 32;
const HEAD = 34;
/** What a bar to scroll sideways takes of the height, at most. */
const SCROLLBAR = 16;

/** Nothing comes last whichever way it is sorted. */
export function compare(a: Sortable, b: Sortable, down: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  let order: number;
  if ((typeof a === "number" || typeof a === "bigint") && (typeof b === "number" || typeof b === "bigint")) order = a < b ? -1 : a > b ? 1 : 0;
  else order = collator.compare(String(a), String(b));
  return down ? -order : order;
}

const collator = new Intl.Collator("en", { numeric: true });

export function sorted<R>(rows: R[], columns: TableColumn<R>[], sort: Sort | null): R[] {
  const column = columns.find((one) => one.key === sort?.key);
  if (sort === null || column === undefined) return rows;
  const value = column.value ?? column.text;
  return rows
    .map((row) => [value(row), row] as const)
    .sort((a, b) => compare(a[0], b[0], sort.down))
    .map(([, row]) => row);
}

function widthOf<R>(column: TableColumn<R>, rows: R[]): number {
  if (column.width !== undefined) return column.width;
  let longest = column.title.length + (column.note === undefined ? 0 : column.note.length * 0.75 + 1) + 3;
  for (let at = 0; at < rows.length && at < 100; at += 1) {
    const row = rows[at];
    if (row !== undefined) longest = Math.max(longest, Math.min(60, column.text(row)?.length ?? 4));
  }
  return Math.round(Math.min(380, Math.max(70, longest * 7.4 + 26)));
}

const leastOf = <R,>(column: TableColumn<R>, natural: number): number => (column.width !== undefined || column.end === true ? natural : Math.min(natural, column.least ?? 110));

/** The columns that there is room for: those that yield are left out one by one, until the others have what they need. */
export function within<R>(columns: TableColumn<R>[], natural: number[], room: number): number[] {
  let kept = columns.map((_, at) => at);
  const needed = (): number => kept.reduce((sum, at) => sum + leastOf(columns[at] as TableColumn<R>, natural[at] ?? 0), 0);
  while (needed() > room) {
    const goes = kept.reduce((last, at) => ((columns[at]?.yields ?? 0) > (columns[last]?.yields ?? 0) ? at : last), kept[0] ?? 0);
    if ((columns[goes]?.yields ?? 0) === 0) break;
    kept = kept.filter((at) => at !== goes);
  }
  return kept;
}

export function Table<R>({ label, rows, columns: all, onOpen, sort: first = null, onSort, empty, heightMax, fit = true }: TableProps<R>): ReactNode {
  const [own, setOwn] = useState<Sort | null>(first);
  const sort = onSort === undefined ? own : first;
  const setSort = onSort ?? setOwn;
  const [at, setAt] = useState<{ row: number; column: number } | null>(null);
  const [room, setRoom] = useState({ width: 0, height: 0 });
  const [sight, setSight] = useState<Sight>({ top: 0, bottom: 0, left: 0, right: 0 });
  const box = useRef<HTMLDivElement>(null);
  const id = useId();

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setRoom({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const shown = useMemo(() => (onSort === undefined ? sorted(rows, all, sort) : rows), [rows, all, sort, onSort === undefined]);
  const names = all.map((column) => column.key).join("\u0000");
  // Widths hold while rows are refreshed, so that nothing moves under the eye.
  const filled = rows.length > 0;
  const wishes = useMemo(() => all.map((column) => widthOf(column, rows)), [names, filled]);
  const kept = useMemo(() => (fit && room.width > 0 ? within(all, wishes, room.width) : all.map((_, at) => at)), [names, wishes, room.width, fit]);
  const columns = useMemo(() => kept.map((at) => all[at] as TableColumn<R>), [all, kept]);
  const widths = useMemo(() => {
    const natural = kept.map((at) => wishes[at] ?? 0);
    const spare = room.width - natural.reduce((sum, width) => sum + width, 0);
    if (spare <= 0 && (!fit || room.width === 0)) return natural;
    if (spare <= 0) {
      const slack = natural.map((width, at) => width - leastOf(columns[at] as TableColumn<R>, width));
      const whole = slack.reduce((sum, one) => sum + one, 0);
      return natural.map((width, at) => (whole === 0 ? width : width - Math.ceil(Math.min(1, -spare / whole) * (slack[at] ?? 0))));
    }
    const wide = natural.map((width, at) => (columns[at]?.end === true || columns[at]?.width !== undefined ? 0 : width));
    const weight = wide.reduce((sum, width) => sum + width, 0);
    if (weight === 0) return natural.map((width, at) => (at === natural.length - 1 ? width + spare : width));
    return natural.map((width, at) => width + Math.floor((spare * (wide[at] ?? 0)) / weight));
  }, [wishes, kept, room.width, fit]);

  const places = useMemo(() => placesOf(widths), [widths]);
  const width = places.at(-1) ?? 0;

  // Where it was scrolled to is read once for each scrolling, before anything is changed: each reading after a change would lay
  // the page out anew. It is drawn in the same frame, so that no row comes late.
  const look = useCallback((): void => {
    const element = box.current;
    if (element === null) return;
    const next = inSight({ rows: shown.length, row: ROW, head: HEAD, places }, { top: element.scrollTop, left: element.scrollLeft, ...room });
    setSight((before) => (same(before, next) ? before : next));
  }, [shown.length, places, room]);
  useLayoutEffect(look, [look]);

  const move = (row: number, column: number): void => {
    const next = { row: Math.max(0, Math.min(shown.length - 1, row)), column: Math.max(0, Math.min(columns.length - 1, column)) };
    setAt(next);
    const element = box.current;
    if (element === null) return;
    const [top, left, right] = [next.row * ROW, places[next.column] ?? 0, places[next.column + 1] ?? 0];
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW + HEAD > element.scrollTop + element.clientHeight) element.scrollTop = top + ROW + HEAD - element.clientHeight;
    if (left < element.scrollLeft) element.scrollLeft = left;
    else if (right > element.scrollLeft + element.clientWidth) element.scrollLeft = Math.min(left, right - element.clientWidth);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== box.current || shown.length === 0) return;
    const here = at ?? { row: -1, column: 0 };
    const page = Math.max(1, Math.floor(((box.current?.clientHeight ?? 320) - HEAD) / ROW) - 1);
    const steps: Record<string, [number, number]> = {
      ArrowDown: [here.row + 1, here.column],
      ArrowUp: [here.row - 1, here.column],
      ArrowRight: [Math.max(0, here.row), here.column + 1],
      ArrowLeft: [Math.max(0, here.row), here.column - 1],
      PageDown: [here.row + page, here.column],
      PageUp: [here.row - page, here.column],
      Home: event.ctrlKey ? [0, 0] : [Math.max(0, here.row), 0],
      End: event.ctrlKey ? [shown.length - 1, columns.length - 1] : [Math.max(0, here.row), columns.length - 1],
    };
    const step = steps[event.key];
    const row = at === null ? undefined : shown[at.row];
    const column = at === null ? undefined : columns[at.column];
    if (step !== undefined) move(...step);
    else if (event.key === "Enter" && row !== undefined && column !== undefined) onOpen?.(row, column);
    else if (event.key === "c" && (event.ctrlKey || event.metaKey) && row !== undefined && column !== undefined) {
      void navigator.clipboard?.writeText(column.text(row) ?? "");
    } else return;
    event.preventDefault();
  };

  const visible = useMemo(() => columns.slice(sight.left, sight.right), [columns, sight.left, sight.right]);
  const open = useRef(onOpen);
  open.current = onOpen;
  const onCell = useCallback((row: R, line: number, column: number, of: TableColumn<R>, opens: boolean): void => {
    setAt({ row: line, column });
    if (opens) open.current?.(row, of);
  }, []);
  return (
    <div
      ref={box}
      className={onOpen === undefined ? "grid" : "grid opens"}
      role="grid"
      aria-label={label}
      aria-rowcount={shown.length + 1}
      aria-colcount={columns.length}
      aria-activedescendant={at === null ? undefined : `${id}-${at.row}-${at.column}`}
      tabIndex={0}
      onKeyDown={onKeyDown}
      onScroll={() => flushSync(look)}
      style={heightMax === undefined ? undefined : { height: Math.min(heightMax, HEAD + (shown.length === 0 ? 5 : shown.length) * ROW + (width > room.width ? SCROLLBAR : 0)), flex: "0 1 auto" }}
    >
      <div className="grid-head" role="rowgroup" style={{ width, height: HEAD }}>
        <div role="row" aria-rowindex={1}>
          {visible.map((column, place) => {
            const index = sight.left + place;
            const by = sort?.key === column.key ? sort : null;
            return (
              <div
                key={column.key}
                role="columnheader"
                aria-colindex={index + 1}
                aria-sort={column.unsorted === true ? undefined : by === null ? "none" : by.down ? "descending" : "ascending"}
                className={column.end === true ? "end" : undefined}
                style={{ left: places[index], width: widths[index] }}
              >
                {column.unsorted === true ? (
                  <span className="unsorted">
                    <bdi className="cell-text">{column.title}</bdi>
                  </span>
                ) : (
                  <button
                    type="button"
                    title={`Sort by ${column.title}`}
                    onClick={() => setSort(by === null ? { key: column.key, down: column.end === true } : by.down === (column.end === true) ? { ...by, down: !by.down } : null)}
                  >
                    <bdi className="cell-text">{column.title}</bdi>
                    {column.note !== undefined && <span className="type">{column.note}</span>}
                    {by !== null && <span aria-hidden="true">{by.down ? "↓" : "↑"}</span>}
                  </button>
                )}
              </div>
            );
          })}
        </div>
      </div>
      {shown.length === 0 ? (
        (empty ?? <Empty title="Nothing here" />)
      ) : (
        <div className="grid-rows" role="rowgroup" style={{ height: shown.length * ROW, width }}>
          {shown.slice(sight.top, sight.bottom).map((row, place) => {
            const line = sight.top + place;
            return <Line key={line} id={id} row={row} line={line} last={line === shown.length - 1} columns={visible as TableColumn<unknown>[]} first={sight.left} places={places} at={at?.row === line ? at.column : null} onCell={onCell as CellAsked} />;
          })}
        </div>
      )}
    </div>
  );
}

type CellAsked = (row: unknown, line: number, column: number, of: TableColumn<unknown>, opens: boolean) => void;

interface LineProps {
  id: string;
  row: unknown;
  line: number;
  last: boolean;
  /** Those in sight. */
  columns: TableColumn<unknown>[];
  /** The place of the first of them among all. */
  first: number;
  places: number[];
  /** The column in it that the keyboard is at. */
  at: number | null;
  onCell: CellAsked;
}

/** A row. One that stays in sight is not made again. */
const Line = memo(function Line({ id, row, line, last, columns, first, places, at, onCell }: LineProps): ReactNode {
  return (
    <div role="row" aria-rowindex={line + 2} className={`line${last ? " last" : ""}${at === null ? "" : " at"}`} style={{ transform: `translateY(${line * ROW}px)` }}>
      {columns.map((column, place) => {
        const index = first + place;
        const left = places[index] ?? 0;
        return (
          <div
            key={column.key}
            id={`${id}-${line}-${index}`}
            role="gridcell"
            aria-colindex={index + 1}
            className={`${column.end === true ? "number end" : ""}${at === index ? " at" : ""}`}
            style={{ left, width: (places[index + 1] ?? left) - left }}
            onClick={(event) =>
              // A button or a link in the cell is what was meant.
              onCell(row, line, index, column, !(event.target instanceof Element && event.target.closest("a, button, input") !== null))
            }
          >
            {column.show === undefined ? <Text>{column.text(row)}</Text> : column.show(row, line)}
          </div>
        );
      })}
    </div>
  );
});

function Text({ children }: { children: string | null }): ReactNode {
  if (children === null) return <span className="none">null</span>;
  // A cell of a megabyte is no reason to lay out a megabyte.
  const text = children.length > 400 ? `${children.slice(0, 400)}…` : children;
  return (
    <bdi className="cell-text" title={children.length > 24 ? children.slice(0, 1000) : undefined}>
      {text}
    </bdi>
  );
}

export function Filter({ value, onChange, label }: { value: string; onChange: (value: string) => void; label: string }): ReactNode {
  return (
    <span className="filter">
      <Icon name="search" size={15} />
      <input type="search" placeholder={label} aria-label={label} value={value} onChange={(event) => onChange(event.target.value)} />
    </span>
  );
}

/** Rows of which any column has the text, whatever its case. */
export function matching<R>(rows: R[], columns: TableColumn<R>[], text: string): R[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return rows;
  return rows.filter((row) => columns.some((column) => column.text(row)?.toLowerCase().includes(wanted) === true));
}
