// What alerts say, in words and in order: the worst first, a rule as a sentence, a form as a rule and back. Pure.

import type { Alert, AlertQuery, AlertState, Channel, Condition, MetricFunction, Op, Rule, Severity } from "../api/alerts";
import { figure } from "../parts/format";
import type { Tone } from "../parts/text";

export const SEVERITIES: [Severity, string][] = [["page", "Page somebody"], ["ticket", "Ticket"], ["info", "For information"]];
export const OPS: [Op, string][] = [[">", "above"], [">=", "at or above"], ["<", "below"], ["<=", "at or below"], ["=", "equal to"], ["!=", "other than"]];
export const FUNCTIONS: [MetricFunction, string][] = [["last", "newest value"], ["avg", "mean"], ["max", "largest"], ["min", "least"], ["sum", "sum"], ["rate", "rise per second"]];
export const STATE_TITLES: Record<AlertState, string> = { firing: "Firing", pending: "Pending", error: "Cannot be evaluated", resolved: "Resolved", ok: "All is well", disabled: "Switched off" };

export const stateTone = (state: AlertState): Tone => ({ firing: "bad", error: "bad", pending: "warn", resolved: "good", ok: "good", disabled: "quiet" } as const)[state] ?? "quiet";

/** Whether its silence lasts still. */
export const silenced = (alert: Pick<Alert, "silence">, now: number): boolean => alert.silence !== null && Date.parse(alert.silence.until) > now;

const STATES: AlertState[] = ["firing", "error", "pending", "resolved", "ok", "disabled"];

/** What somebody should look at comes first: by state, what is silenced after what is not, then by severity. */
export function ordered(alerts: Alert[], now: number): Alert[] {
  const rank = (one: Alert): number[] => [STATES.indexOf(one.state), silenced(one, now) ? 1 : 0, SEVERITIES.findIndex(([name]) => name === one.severity)];
  return [...alerts].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    for (let at = 0; at < x.length; at += 1) if (x[at] !== y[at]) return (x[at] ?? 0) - (y[at] ?? 0);
    return a.name.localeCompare(b.name);
  });
}

/** Those that want somebody now: they fire, or cannot be evaluated, and nobody has silenced them. */
export const wanting = (alerts: Alert[], now: number): Alert[] => ordered(alerts, now).filter((one) => (one.state === "firing" || one.state === "error") && !silenced(one, now));

const op = (said: Op): string => OPS.find(([name]) => name === said)?.[1] ?? said;

/** `PT1M30S` as `1 min 30 s`; what is no period stays as it is. */
export function periodText(period: string): string {
  const found = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(period);
  if (found === null) return period;
  const [days, hours, minutes, seconds] = found.slice(1);
  const words = [days === undefined ? "" : `${days} d`, hours === undefined ? "" : `${hours} h`, minutes === undefined ? "" : `${minutes} min`, seconds === undefined ? "" : `${seconds} s`].filter((word) => word !== "");
  return words.length === 0 ? period : words.join(" ");
}

export function conditionText(condition: Condition): string {
  switch (condition.type) {
    case "threshold":
      return `it is ${op(condition.op)} ${figure(condition.value)}`;
    case "absence":
      return "there is none";
    case "change":
      return `its change is ${op(condition.op)} ${figure(condition.percent)}% against ${periodText(condition.period)} before`;
  }
}

export function queryText(query: AlertQuery): string {
  if ("sql" in query) return query.sql.replace(/\s+/g, " ").trim();
  const labels = Object.entries(query.labels ?? {}).map(([name, value]) => `${name}="${value}"`);
  return `${FUNCTIONS.find(([name]) => name === query.function)?.[1] ?? query.function} of ${query.metric}${labels.length === 0 ? "" : `{${labels.join(", ")}}`} over ${periodText(query.over)}`;
}

/** Tables that a statement names, as far as its text tells. */
export function tablesOf(sql: string): Set<string> {
  const found = new Set<string>();
  const plain = sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, " ");
  for (const [, quotedName, name] of plain.matchAll(/\b(?:from|join)\s+(?:(?:druid|"druid")\s*\.\s*)?(?:"((?:[^"]|"")+)"|([A-Za-z_][\w.]*))/gi)) {
    const found1 = quotedName?.replaceAll('""', '"') ?? name;
    if (found1 !== undefined) found.add(found1);
  }
  return found;
}

/** Firing alerts over a table that one of the statements asks. */
export function concerning(alerts: Alert[], statements: string[]): Alert[] {
  const tables = new Set(statements.flatMap((one) => [...tablesOf(one)]));
  return alerts.filter((one) => one.state === "firing" && "sql" in one.query && [...tablesOf(one.query.sql)].some((name) => tables.has(name)));
}

/** A rule as the form holds it: figures as they are typed. */
export interface Form {
  name: string;
  description: string;
  from: "sql" | "metric";
  sql: string;
  metric: string;
  labels: string;
  over: string;
  function: MetricFunction;
  condition: Condition["type"];
  op: Op;
  value: string;
  percent: string;
  period: string;
  every: string;
  for: string;
  /** Nothing: it is told once. */
  repeat: string;
  severity: Severity;
  notify: string[];
  disabled: boolean;
}

export const BLANK: Form = {
  name: "", description: "", from: "sql", sql: "", metric: "", labels: "", over: "PT5M", function: "last", condition: "threshold", op: ">", value: "", percent: "50", period: "PT1H",
  every: "PT30S", for: "PT1M", repeat: "", severity: "ticket", notify: [], disabled: false,
};

export function formOf(name: string, rule: Rule): Form {
  const { query, condition } = rule;
  return {
    ...BLANK,
    name,
    description: rule.description ?? "",
    ...("sql" in query ? { from: "sql" as const, sql: query.sql } : { from: "metric" as const, metric: query.metric, labels: Object.entries(query.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", "), over: query.over, function: query.function }),
    condition: condition.type,
    ...(condition.type === "threshold" ? { op: condition.op, value: String(condition.value) } : condition.type === "change" ? { op: condition.op, percent: String(condition.percent), period: condition.period } : {}),
    every: rule.every,
    for: rule.for,
    repeat: rule.repeat ?? "",
    severity: rule.severity,
    notify: rule.notify,
    disabled: rule.disabled === true,
  };
}

/** The rule that a form says, or what it lacks. */
export function ruleOf(form: Form): { rule: Rule } | { lacks: string } {
  let query: AlertQuery;
  if (form.from === "sql") {
    if (form.sql.trim() === "") return { lacks: "It needs a statement." };
    query = { sql: form.sql };
  } else {
    if (form.metric.trim() === "") return { lacks: "It needs the name of a metric." };
    const labels: Record<string, string> = {};
    for (const part of form.labels.split(",").map((one) => one.trim()).filter((one) => one !== "")) {
      const at = part.indexOf("=");
      if (at < 1) return { lacks: "Labels are written as name=value, with commas between them." };
      labels[part.slice(0, at).trim()] = part.slice(at + 1).trim().replace(/^"(.*)"$/, "$1");
    }
    query = { metric: form.metric.trim(), ...(Object.keys(labels).length === 0 ? {} : { labels }), over: form.over, function: form.function };
  }
  let condition: Condition;
  if (form.condition === "absence") condition = { type: "absence" };
  else {
    const figure = form.condition === "threshold" ? form.value : form.percent;
    const value = Number(figure);
    if (figure.trim() === "" || !Number.isFinite(value)) return { lacks: "It needs a number to compare with." };
    condition = form.condition === "threshold" ? { type: "threshold", op: form.op, value } : { type: "change", op: form.op, percent: value, period: form.period };
  }
  return {
    rule: {
      ...(form.description.trim() === "" ? {} : { description: form.description.trim() }),
      query,
      condition,
      every: form.every,
      for: form.for,
      ...(form.repeat === "" ? {} : { repeat: form.repeat }),
      severity: form.severity,
      notify: form.notify,
      ...(form.disabled ? { disabled: true } : {}),
    },
  };
}

export const CHANNEL_KINDS: [Channel["type"], string][] = [["webhook", "Webhook"], ["slack", "Slack-compatible chat"], ["email", "Email"], ["kafka", "Kafka topic"]];

/** Where a channel tells, without its secrets. */
export function channelText(channel: Channel): string {
  const text = (value: unknown): string => (typeof value === "string" ? value : typeof value === "object" && value !== null && "variable" in value ? `the variable ${String(value.variable)}` : "");
  switch (channel.type) {
    case "email":
      return `${Array.isArray(channel.to) ? channel.to.join(", ") : ""} by ${text(channel.smtp)}`;
    case "kafka":
      return `${text(channel.topic)} at ${text(channel.bootstrapServers)}`;
    default:
      return text(channel.url);
  }
}
