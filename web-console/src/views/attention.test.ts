import { expect, test } from "vitest";
import { mostUrgent, type Facts } from "./attention";

const well: Facts = { ready: true, short: 0, unavailable: 0, supervisors: [], failedTasks: [], datasources: 2, alerts: [] };
const reader = { id: "wiki", healthy: true, suspended: false, state: "RUNNING", lag: 0, unparseable: 0, error: null, waiting: null };

test("missing rows come before sick streams, these before late ones, and the rest is counted", () => {
  const facts: Facts = {
    ...well,
    unavailable: 1200,
    supervisors: [{ ...reader, lag: 1_000_000 }, { ...reader, id: "pay", healthy: false, error: "broker is gone" }],
    failedTasks: ["t"],
  };
  expect(mostUrgent(facts)).toMatchObject({ tone: "bad", title: "1,200 segments cannot be queried", more: 3 });
  expect(mostUrgent({ ...facts, unavailable: 0 })).toMatchObject({ title: "Supervisor pay is unwell", about: "broker is gone", more: 2 });
  expect(mostUrgent({ ...facts, unavailable: 0, supervisors: [{ ...reader, lag: 1_000_000 }] })).toMatchObject({ tone: "warn", title: "wiki is 1,000,000 events behind" });
});

test("events that cannot be parsed are told, behind streams that are late", () => {
  const facts: Facts = { ...well, supervisors: [{ ...reader, unparseable: 1234.5 }, { ...reader, id: "late", lag: 200_000 }] };
  expect(mostUrgent(facts)).toMatchObject({ title: "late is 200,000 events behind", more: 1 });
  expect(mostUrgent({ ...facts, supervisors: [{ ...reader, unparseable: 1234.5 }] })).toMatchObject({ tone: "warn", about: "1,235 a second are passed over, as they cannot be parsed." });
});

test("tasks that wait say why, before the lag that comes of it", () => {
  const facts: Facts = { ...well, supervisors: [{ ...reader, lag: 1_000_000, waiting: "no worker has room" }] };
  expect(mostUrgent(facts)).toMatchObject({ tone: "warn", title: "Some tasks of wiki wait", about: "no worker has room", more: 1 });
  expect(mostUrgent({ ...well, supervisors: [{ ...reader, suspended: true, waiting: "x" }] }).title).toBe("Supervisor wiki is suspended");
});

test("a suspended supervisor is not called sick", () => {
  expect(mostUrgent({ ...well, supervisors: [{ ...reader, healthy: false, suspended: true }] })).toMatchObject({ tone: "warn", title: "Supervisor wiki is suspended" });
});

test("nothing wrong is said in as many words", () => {
  expect(mostUrgent(well)).toMatchObject({ tone: "good", title: "All is well", more: 0 });
  expect(mostUrgent({ ...well, datasources: 0 }).title).toBe("Ready for your data");
});

test("an alert that pages comes before all, one for information behind what is late", () => {
  const alert = { name: "sales stop", severity: "page", state: "firing", description: "call the shop" } as const;
  expect(mostUrgent({ ...well, unavailable: 3, alerts: [alert] })).toMatchObject({ tone: "bad", title: "The alert sales stop fires", about: "call the shop", more: 1, to: { path: "/alerts", parameters: { name: "sales stop" } } });
  const late = { ...well, supervisors: [{ ...reader, lag: 200_000 }] };
  expect(mostUrgent({ ...late, alerts: [{ ...alert, severity: "ticket" }] })).toMatchObject({ tone: "warn", title: "The alert sales stop fires" });
  expect(mostUrgent({ ...late, alerts: [{ ...alert, severity: "info" }] }).title).toBe("wiki is 200,000 events behind");
  expect(mostUrgent({ ...well, alerts: [{ ...alert, state: "error" }] })).toMatchObject({ tone: "warn", title: "The alert sales stop cannot be evaluated" });
});
