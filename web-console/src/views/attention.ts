// Of all that may be wrong, what somebody should look at first. Rows that cannot be asked about come before events that are late,
// and these before what has failed and is over.

/** `unparseable` is events a second, of the last minute. */
export interface Facts {
  ready: boolean;
  short: number;
  unavailable: number;
  supervisors: { id: string; healthy: boolean; suspended: boolean; state: string; lag: number; unparseable: number; error: string | null; waiting: string | null }[];
  failedTasks: string[];
  datasources: number;
  /** Those that want somebody, the worst first. */
  alerts: { name: string; severity: "page" | "ticket" | "info"; state: string; description: string | null }[];
}

export interface Urgent {
  tone: "good" | "warn" | "bad";
  title: string;
  about: string;
  to: { path: string; parameters?: Record<string, string>; label: string } | null;
  /** How much else there is. */
  more: number;
}

/** Events behind, from which a stream counts as late. */
const LATE = 100_000;

export function mostUrgent(facts: Facts): Urgent {
  const found: Omit<Urgent, "more">[] = [];
  const alert = (one: Facts["alerts"][number]): Omit<Urgent, "more"> => ({
    tone: one.state === "firing" && one.severity === "page" ? "bad" : "warn",
    title: one.state === "firing" ? `The alert ${one.name} fires` : `The alert ${one.name} cannot be evaluated`,
    about: one.description ?? (one.state === "firing" ? "An alert that somebody has set." : "Until it can be, it says nothing."),
    to: { path: "/alerts", parameters: { name: one.name }, label: "See the alert" },
  });
  const pages = facts.alerts.filter((one) => one.state === "firing" && one.severity === "page");
  found.push(...pages.map(alert));
  if (!facts.ready || facts.unavailable > 0) {
    found.push({
      tone: "bad",
      title: facts.unavailable > 0 ? `${facts.unavailable.toLocaleString("en-US")} segments cannot be queried` : "Not everything published is served yet",
      about: "Answers may lack rows until they are loaded.",
      to: { path: "/segments", label: "See the segments" },
    });
  }
  const sick = facts.supervisors.filter((one) => !one.healthy && !one.suspended);
  for (const one of sick) {
    found.push({
      tone: "bad",
      title: `Supervisor ${one.id} is unwell`,
      about: one.error ?? `Its state is ${one.state}.`,
      to: { path: "/ingestion", parameters: { supervisor: one.id }, label: "See why" },
    });
  }
  found.push(...facts.alerts.filter((one) => !pages.includes(one) && one.severity !== "info").map(alert));
  for (const one of facts.supervisors.filter((each) => each.waiting !== null && !each.suspended)) {
    found.push({
      tone: "warn",
      title: `Some tasks of ${one.id} wait`,
      about: one.waiting ?? "",
      to: { path: "/ingestion", parameters: { supervisor: one.id }, label: "See its tasks" },
    });
  }
  for (const one of facts.supervisors.filter((each) => each.healthy && each.lag >= LATE).sort((a, b) => b.lag - a.lag)) {
    found.push({
      tone: "warn",
      title: `${one.id} is ${one.lag.toLocaleString("en-US")} events behind`,
      about: "New events are queryable late. More tasks, or fewer transforms, help.",
      to: { path: "/ingestion", parameters: { supervisor: one.id }, label: "See its partitions" },
    });
  }
  for (const one of facts.supervisors.filter((each) => each.unparseable > 0).sort((a, b) => b.unparseable - a.unparseable)) {
    found.push({
      tone: "warn",
      title: `${one.id} does not understand some of its events`,
      about: `${one.unparseable < 10 ? one.unparseable.toFixed(1) : Math.round(one.unparseable).toLocaleString("en-US")} a second are passed over, as they cannot be parsed.`,
      to: { path: "/ingestion", parameters: { supervisor: one.id, about: "errors" }, label: "See them" },
    });
  }
  if (facts.failedTasks.length > 0) {
    found.push({
      tone: "warn",
      title: `${facts.failedTasks.length === 1 ? "A task" : `${facts.failedTasks.length} tasks`} failed in the last hour`,
      about: facts.failedTasks[0] ?? "",
      to: { path: "/ingestion", parameters: { tab: "tasks" }, label: "See the tasks" },
    });
  }
  const suspended = facts.supervisors.filter((one) => one.suspended);
  if (suspended.length > 0) {
    found.push({
      tone: "warn",
      title: suspended.length === 1 ? `Supervisor ${suspended[0]?.id} is suspended` : `${suspended.length} supervisors are suspended`,
      about: "Their events wait in Kafka, for as long as Kafka keeps them.",
      to: { path: "/ingestion", label: "See them" },
    });
  }
  found.push(...facts.alerts.filter((one) => !pages.includes(one) && one.severity === "info").map(alert));
  if (facts.short > 0) {
    found.push({
      tone: "warn",
      title: `${facts.short.toLocaleString("en-US")} segments have fewer copies than their rules want`,
      about: "They are answered from; the loss of a node may take them away for a while. With one historical node there is nowhere to put a second copy.",
      to: { path: "/segments", label: "See the segments" },
    });
  }
  const first = found[0];
  if (first !== undefined) return { ...first, more: found.length - 1 };
  if (facts.datasources === 0) {
    return { tone: "good", title: "Ready for your data", about: "Nothing has been loaded yet.", to: { path: "/load", label: "Load data" }, more: 0 };
  }
  return { tone: "good", title: "All is well", about: "Everything is served, and nothing that you may see is late.", to: null, more: 0 };
}
