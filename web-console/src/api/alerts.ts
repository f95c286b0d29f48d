// Alerts: rules over any statement or metric, which the cluster evaluates on a schedule, and the channels that are told.

import { ask, askJson, segment } from "./client";
import { ifServed } from "./shelf";

export type Op = ">" | ">=" | "<" | "<=" | "=" | "!=";
export type Severity = "page" | "ticket" | "info";
export type AlertState = "ok" | "pending" | "firing" | "resolved" | "error" | "disabled";

export type Condition = { type: "threshold"; op: Op; value: number } | { type: "absence" } | { type: "change"; op: Op; percent: number; period: string };

export type MetricFunction = "last" | "avg" | "max" | "min" | "sum" | "rate";

/** Of a statement, the first column of the first row is the value. */
export type AlertQuery = { sql: string } | { metric: string; labels?: Record<string, string>; over: string; function: MetricFunction };

export interface Rule {
  description?: string | null;
  query: AlertQuery;
  condition: Condition;
  /** ISO 8601 periods. */
  every: string;
  for: string;
  /** Tells again while it fires; without it, once. */
  repeat?: string | null;
  severity: Severity;
  notify: string[];
  disabled?: boolean;
}

export interface Silence {
  until: string;
  by: string;
  reason: string;
}

export interface Alert extends Rule {
  name: string;
  version: number;
  owner: string;
  state: AlertState;
  since: string | null;
  value: number | null;
  lastEvaluated: string | null;
  lastError: string | null;
  silence: Silence | null;
}

export interface Change {
  time: string;
  from: AlertState;
  to: AlertState;
  value: number | null;
  /** It was told again, and nothing changed. */
  repeat?: boolean | null;
  /** `ok` is `null` while it is tried. */
  notified: { channel: string; ok: boolean | null; error: string | null; tries?: number }[];
}

const BASE = "/henge/v1/alerts";
const at = (name: string): string => `${BASE}/${segment(name)}`;

/** What a rule does not say is what holds. */
const whole = (one: Alert): Alert => ({ ...one, for: one.for ?? "PT0S", notify: one.notify ?? [], severity: one.severity ?? "ticket", query: "sql" in one.query ? one.query : { ...one.query, over: one.query.over ?? "PT5M", function: one.query.function ?? "last" } });

/** `null` of a server that has no alerts. */
export const alerts = async (signal?: AbortSignal): Promise<Alert[] | null> => (await ifServed(askJson<Alert[]>(BASE, { signal })))?.map(whole) ?? null;
export const alert = async (name: string, signal?: AbortSignal): Promise<Alert> => whole(await askJson<Alert>(at(name), { signal }));
/** 409 if `version` is not the newest, or if a rule of this name is there when a new one (of no version) is made. */
export const putAlert = (name: string, rule: Rule, version: number | null): Promise<unknown> => ask(at(name), { method: "PUT", json: { ...rule, version: version ?? 0 } });
export const deleteAlert = (name: string): Promise<unknown> => ask(at(name), { method: "DELETE" });
export const alertHistory = (name: string, signal?: AbortSignal): Promise<Change[]> => askJson<Change[]>(`${at(name)}/history`, { signal });
export const silence = (name: string, until: string, reason: string): Promise<unknown> => ask(`${at(name)}/silence`, { json: { until, reason } });
export const unsilence = (name: string): Promise<unknown> => ask(`${at(name)}/silence`, { method: "DELETE" });

export interface Tried {
  value: number | null;
  wouldBe: "ok" | "firing" | null;
  error: string | null;
}

export const tryAlert = (rule: Rule, signal?: AbortSignal): Promise<Tried> => askJson<Tried>(`${BASE}/try`, { json: rule, signal });

/** A secret is text (`***` for the one that is kept), or where the server finds it. */
export type Channel = Record<string, unknown> & { type: "webhook" | "slack" | "email" | "kafka" };
export type KnownChannel = Channel & { name: string; version: number };

const CHANNELS = "/henge/v1/alert-channels";
export const channels = (signal?: AbortSignal): Promise<KnownChannel[]> => askJson<KnownChannel[]>(CHANNELS, { signal });
export const putChannel = (name: string, channel: Channel, version: number | null): Promise<unknown> => ask(`${CHANNELS}/${segment(name)}`, { method: "PUT", json: { ...channel, version: version ?? 0 } });
export const deleteChannel = (name: string): Promise<unknown> => ask(`${CHANNELS}/${segment(name)}`, { method: "DELETE" });
export const testChannel = (name: string): Promise<{ ok: boolean; error: string | null }> => askJson<{ ok: boolean; error: string | null }>(`${CHANNELS}/${segment(name)}/test`, { method: "POST" });
