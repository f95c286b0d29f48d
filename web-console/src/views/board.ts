// A dashboard as its document says it: reading one with care, the stretch of time that it shows, and statements with their
// marks filled in. Pure; `layout.ts` moves panels.

import { ApiError } from "../api/error";
import { literal } from "../api/sql";
import { settled, type Box } from "./layout";

export const PANEL_KINDS = ["line", "bar", "pie", "heat", "table", "number"] as const;
export type PanelKind = (typeof PANEL_KINDS)[number];
export const KIND_TITLES: Record<PanelKind, string> = { line: "Lines over time", bar: "Bars", pie: "Shares", heat: "Heat map", table: "Table", number: "One number" };

export interface Panel extends Box {
  title: string;
  kind: PanelKind;
  query: string;
  unit: string | null;
}

export interface Variable {
  name: string;
  label?: string;
  values: string[] | null;
  /** A statement whose first column are the values. */
  query: string | null;
  default: string;
}

/** A period back from now, or two instants. */
export type Range = string | { from: string; to: string };

export interface Board {
  range: Range;
  refreshSeconds: number | null;
  variables: Variable[];
  panels: Panel[];
}

export const PANELS_MAX = 50;
export const VARIABLES_MAX = 20;

export const EMPTY: Board = { range: "PT1H", refreshSeconds: 30, variables: [], panels: [] };

export const RANGES: [string, string][] = [["PT15M", "Last 15 minutes"], ["PT1H", "Last hour"], ["PT6H", "Last 6 hours"], ["P1D", "Last 24 hours"], ["P7D", "Last 7 days"], ["P30D", "Last 30 days"], ["P90D", "Last 90 days"]];
export const REFRESHES: [number | null, string][] = [[null, "Not by itself"], [5, "Each 5 s"], [10, "Each 10 s"], [30, "Each 30 s"], [60, "Each minute"], [300, "Each 5 minutes"]];

const UNITS: Record<string, number> = { Y: 365 * 86_400_000, M: 30 * 86_400_000, W: 7 * 86_400_000, D: 86_400_000 };
const CLOCK: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000 };

/** Milliseconds of an ISO 8601 period, months and years as long as they mostly are; `null` of what is none. */
export function periodMs(text: string): number | null {
  const found = /^P((?:\d+(?:\.\d+)?[YMWD])*)(?:T((?:\d+(?:\.\d+)?[HMS])+))?$/.exec(text.trim());
  if (found === null || ((found[1] ?? "") === "" && found[2] === undefined)) return null;
  const sum = (part: string, units: Record<string, number>): number => [...part.matchAll(/(\d+(?:\.\d+)?)([A-Z])/g)].reduce((all, [, size, unit]) => all + Number(size) * (units[unit ?? ""] ?? 0), 0);
  return sum(found[1] ?? "", UNITS) + sum(found[2] ?? "", CLOCK);
}

export interface Window {
  from: number;
  to: number;
}

const GRAINS: [number, string][] = [[1e3, "PT1S"], [5e3, "PT5S"], [1e4, "PT10S"], [3e4, "PT30S"], [6e4, "PT1M"], [3e5, "PT5M"], [9e5, "PT15M"], [3.6e6, "PT1H"], [2.16e7, "PT6H"], [8.64e7, "P1D"], [6.048e8, "P7D"]];

/** A grain that divides a stretch into at most some two hundred. */
export const grainOf = ({ from, to }: Window): string => (GRAINS.find(([ms]) => (to - from) / ms <= 200) ?? (["", "P7D"] as const))[1];

export function windowOf(range: Range, now: number): Window {
  if (typeof range !== "string") return { from: Date.parse(range.from), to: Date.parse(range.to) };
  const from = now - (periodMs(range) ?? 3_600_000);
  // It begins with a whole grain: half of one looks like a fall.
  const grain = periodMs(grainOf({ from, to: now })) ?? 1000;
  return { from: Math.floor(from / grain) * grain, to: now };
}

/** Where a statement's marks stand: not within texts, quoted names or comments, and `::` is none. */
export function marksOf(sql: string): { name: string; at: number }[] {
  const found: { name: string; at: number }[] = [];
  for (const one of sql.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|::|:([A-Za-z_]\w*)/g)) {
    if (one[1] !== undefined) found.push({ name: one[1], at: one.index });
  }
  return found;
}

const stamp = (ms: number): string => `TIMESTAMP '${new Date(ms).toISOString().replace("T", " ").replace("Z", "")}'`;

/** The statement with its marks as literals of SQL: `:from`, `:to`, `:grain` (a period that fits the stretch) and variables. */
export function filled(sql: string, window: Window, variables: Record<string, string>): string {
  let text = "";
  let done = 0;
  for (const { name, at } of marksOf(sql)) {
    const value =
      name === "from" ? stamp(window.from) : name === "to" ? stamp(window.to) : name === "grain" ? literal(grainOf(window)) : Object.hasOwn(variables, name) ? literal(variables[name] ?? "") : null;
    if (value === null) throw new ApiError("invalid", `The statement names :${name}, and this dashboard has no variable of that name.`);
    text += sql.slice(done, at) + value;
    done = at + name.length + 1;
  }
  return text + sql.slice(done);
}

/** What variables stand for: what the address says, or else their default. */
export const chosen = (variables: Variable[], said: URLSearchParams): Record<string, string> => Object.fromEntries(variables.map((one) => [one.name, said.get(`var-${one.name}`) ?? one.default]));

const object = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {});
const list = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
const text = (value: unknown, otherwise = ""): string => (typeof value === "string" ? value : otherwise);
const whole = (value: unknown, least: number, most: number, otherwise: number): number => (typeof value === "number" && Number.isFinite(value) ? Math.max(least, Math.min(most, Math.round(value))) : otherwise);

export const newId = (taken: { id: string }[]): string => {
  for (let number = taken.length + 1; ; number += 1) if (!taken.some((one) => one.id === `p${number}`)) return `p${number}`;
};

/** A dashboard of whatever the document holds; what is none says what it lacks. */
export function readBoard(content: unknown): Board {
  const said = object(content);
  if (!Array.isArray(said.panels)) throw new ApiError("invalid", "This is no dashboard: it has no list of panels.");
  const range = object(said.range);
  const from = Date.parse(text(range.from));
  const to = Date.parse(text(range.to));
  const panels: Panel[] = [];
  for (const each of list(said.panels).slice(0, PANELS_MAX)) {
    const one = object(each);
    const kind = PANEL_KINDS.find((known) => known === one.kind) ?? "table";
    const w = whole(one.w, 1, 12, 6);
    const id = text(one.id);
    panels.push({
      id: id === "" || panels.some((before) => before.id === id) ? newId(panels) : id,
      title: text(one.title),
      kind,
      query: text(one.query),
      unit: text(one.unit) === "" ? null : text(one.unit),
      x: Math.min(whole(one.x, 0, 11, 0), 12 - w),
      y: whole(one.y, 0, 10_000, 0),
      w,
      h: whole(one.h, 1, 40, 4),
    });
  }
  return {
    range: from < to ? { from: new Date(from).toISOString(), to: new Date(to).toISOString() } : periodMs(text(said.range)) === null ? EMPTY.range : text(said.range),
    refreshSeconds: typeof said.refreshSeconds === "number" && said.refreshSeconds > 0 ? Math.max(1, said.refreshSeconds) : null,
    variables: list(said.variables)
      .map(object)
      .filter((one) => /^[A-Za-z_]\w*$/.test(text(one.name)) && !["from", "to", "grain"].includes(text(one.name)))
      .slice(0, VARIABLES_MAX)
      .map((one) => ({
        name: text(one.name),
        ...(text(one.label) === "" ? {} : { label: text(one.label) }),
        values: Array.isArray(one.values) ? list(one.values).map(String) : null,
        query: text(one.query) === "" ? null : text(one.query),
        default: text(one.default),
      })),
    panels: settled(panels),
  };
}
