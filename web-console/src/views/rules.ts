// Retention rules: what they say, which segments they match, and what would follow from other ones. As the coordinator reads them
// (coordinator/src/rules.rs): from the top, and the first that matches a segment's interval decides. Pure.

import type { Rule } from "../api/cluster";
import { plural } from "../parts/format";

export type Effect = "load" | "drop" | "broadcast";
export type Scope = "forever" | "period" | "before" | "interval";

const TYPES: Record<Effect, Partial<Record<Scope, string>>> = {
  load: { forever: "loadForever", period: "loadByPeriod", interval: "loadByInterval" },
  drop: { forever: "dropForever", period: "dropByPeriod", before: "dropBeforeByPeriod", interval: "dropByInterval" },
  broadcast: { forever: "broadcastForever", period: "broadcastByPeriod", interval: "broadcastByInterval" },
};

export const scopesOf = (effect: Effect): Scope[] => Object.keys(TYPES[effect]) as Scope[];

/** `null` of a rule that this page does not know. */
export function kindOf(rule: Rule): { effect: Effect; scope: Scope } | null {
  for (const effect of Object.keys(TYPES) as Effect[]) {
    for (const scope of scopesOf(effect)) if (TYPES[effect][scope] === rule.type) return { effect, scope };
  }
  return null;
}

/** The same rule with another effect or scope, and the fields that those need. */
export function withKind(rule: Rule, effect: Effect, scope: Scope): Rule {
  const fits = TYPES[effect][scope] === undefined ? "forever" : scope;
  const next: Rule = { type: TYPES[effect][fits] ?? rule.type };
  if (fits === "period" || fits === "before") next.period = rule.period ?? "P30D";
  if (fits === "period") next.includeFuture = rule.includeFuture ?? true;
  if (fits === "interval") next.interval = rule.interval ?? "2026-01-01/2027-01-01";
  if (effect === "load") next.tieredReplicants = rule.tieredReplicants ?? { _default_tier: 1 };
  return next;
}

export function ruleText(rule: Rule): string {
  const copies = Object.entries(rule.tieredReplicants ?? {}).map(([tier, number]) => `${plural(number, "copy", "copies")} in ${tier}`).join(", ");
  const what = rule.type.startsWith("load") ? "keep" : rule.type.startsWith("drop") ? "drop" : rule.type.startsWith("broadcast") ? "keep on every node" : rule.type;
  const when = rule.type.endsWith("Forever") ? "for ever" : rule.type.endsWith("BeforeByPeriod") ? `older than ${rule.period}` : rule.type.endsWith("ByPeriod") ? `the last ${rule.period}` : rule.type.endsWith("ByInterval") ? `${rule.interval}` : "";
  return `${what} ${when}${copies === "" ? "" : ` (${copies})`}`.trim();
}

/** The instant that lies an ISO 8601 period before another; `null` of what is none. Months and years are the calendar's, in UTC. */
export function ago(period: string, now: number): number | null {
  const found = /^P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(period);
  if (found === null) return null;
  const [years, months, weeks, days, hours, minutes, seconds] = found.slice(1).map((one) => Number(one ?? 0)) as [number, number, number, number, number, number, number];
  const date = new Date(now);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() - months - years * 12);
  // The 31st of a month that has 30 days is the 30th.
  date.setUTCDate(Math.min(day, new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()));
  return date.getTime() - ((weeks * 7 + days) * 24 + hours) * 3_600_000 - minutes * 60_000 - seconds * 1000;
}

export interface Span {
  from: number;
  to: number;
}

/** `null` of a rule that cannot be read. */
export function matches(rule: Rule, { from, to }: Span, now: number): boolean | null {
  const kind = kindOf(rule);
  if (kind === null) return null;
  const drops = kind.effect === "drop";
  switch (kind.scope) {
    case "forever":
      return true;
    case "interval": {
      const [start, end] = String(rule.interval ?? "").split("/").map((one) => Date.parse(one));
      if (start === undefined || end === undefined || Number.isNaN(start) || Number.isNaN(end)) return null;
      return drops ? start <= from && to <= end : start < to && from < end;
    }
    case "before": {
      const since = ago(String(rule.period ?? ""), now);
      return since === null ? null : to <= since;
    }
    case "period": {
      const since = ago(String(rule.period ?? ""), now);
      if (since === null) return null;
      const future = rule.includeFuture ?? true;
      if (drops) return from >= since && (future || to <= now);
      return to > since && (future || from < now);
    }
  }
}

/** Segments of one interval. */
export interface Stored extends Span {
  datasource: string;
  segments: number;
  rows: number;
  size: number;
}

export interface Sum {
  segments: number;
  rows: number;
  size: number;
  from: number;
  to: number;
}

const NOTHING: Sum = { segments: 0, rows: 0, size: 0, from: Infinity, to: -Infinity };

const plus = (sum: Sum, one: Stored): Sum => ({ segments: sum.segments + one.segments, rows: sum.rows + one.rows, size: sum.size + one.size, from: Math.min(sum.from, one.from), to: Math.max(sum.to, one.to) });

/** The rule that decides, by its place; -1 where none matches, `null` where one before cannot be read. */
export function decides(list: Rule[], span: Span, now: number): number | null {
  for (const [at, rule] of list.entries()) {
    const does = matches(rule, span, now);
    if (does === null) return null;
    if (does) return at;
  }
  return -1;
}

export interface Consequences {
  /** What each rule of the list decides on. */
  byRule: Sum[];
  /** What leaves all answers. */
  leaves: Sum;
  /** What stays in use and is loaded nowhere, so that no answer has it. */
  nowhere: Sum;
  stays: Sum;
  /** Segments of which nothing can be told, as a rule cannot be read. */
  unknown: number;
}

/**
 * What would follow of rules for what is stored. `own` are the rules being written; `before` and `after` are read before and after them:
 * the rules of a datasource, before the cluster's; or the cluster's, after those of datasources.
 */
export function consequences(stored: Stored[], own: Rule[], now: number, before: (datasource: string) => Rule[], after: (datasource: string) => Rule[]): Consequences {
  const byRule = own.map(() => NOTHING);
  let [leaves, nowhere, stays, unknown] = [NOTHING, NOTHING, NOTHING, 0];
  for (const one of stored) {
    const first = before(one.datasource);
    const list = [...first, ...own, ...after(one.datasource)];
    const at = decides(list, one, now);
    if (at === null) {
      unknown += one.segments;
      continue;
    }
    const mine = at - first.length;
    if (mine >= 0 && mine < own.length) byRule[mine] = plus(byRule[mine] ?? NOTHING, one);
    const rule = list[at];
    if (rule === undefined) nowhere = plus(nowhere, one);
    else if (rule.type.startsWith("drop")) leaves = plus(leaves, one);
    else if (rule.type.startsWith("load") && !Object.values(rule.tieredReplicants ?? { _default_tier: 2 }).some((copies) => copies > 0)) nowhere = plus(nowhere, one);
    else stays = plus(stays, one);
  }
  return { byRule, leaves, nowhere, stays, unknown };
}
