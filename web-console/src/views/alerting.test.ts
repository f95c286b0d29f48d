import { expect, test } from "vitest";
import type { Alert } from "../api/alerts";
import { BLANK, concerning, conditionText, formOf, ordered, periodText, queryText, ruleOf, tablesOf, wanting, type Form } from "./alerting";

const NOW = Date.UTC(2026, 10, 23, 6);
const alert = (name: string, change: Partial<Alert> = {}): Alert => ({
  name, version: 1, owner: "ann", query: { sql: "SELECT COUNT(*) FROM payments" }, condition: { type: "threshold", op: ">", value: 5 }, every: "PT30S", for: "PT1M", severity: "ticket", notify: [],
  state: "ok", since: null, value: null, lastEvaluated: null, lastError: null, silence: null, ...change,
});
const until = (ms: number): Alert["silence"] => ({ until: new Date(NOW + ms).toISOString(), by: "ann", reason: "known" });

test("the worst comes first, and what is silenced waits", () => {
  const all = [
    alert("fine"),
    alert("off", { state: "disabled" }),
    alert("told", { state: "firing", severity: "page", silence: until(60_000) }),
    alert("note", { state: "firing", severity: "info" }),
    alert("page", { state: "firing", severity: "page", silence: until(-60_000) }),
    alert("broken", { state: "error", severity: "page" }),
    alert("soon", { state: "pending" }),
  ];
  expect(ordered(all, NOW).map((one) => one.name)).toEqual(["page", "note", "told", "broken", "soon", "fine", "off"]);
  expect(wanting(all, NOW).map((one) => one.name)).toEqual(["page", "note", "broken"]);
});

test("rules in words", () => {
  expect(conditionText({ type: "threshold", op: ">=", value: 12500 })).toBe("it is at or above 12,500");
  expect(conditionText({ type: "change", op: "<", percent: -50, period: "PT1H" })).toBe("its change is below -50% against 1 h before");
  expect(conditionText({ type: "absence" })).toBe("there is none");
  expect(queryText({ metric: "henge_ingest_lag", labels: { supervisor: "a" }, over: "PT5M", function: "max" })).toBe('largest of henge_ingest_lag{supervisor="a"} over 5 min');
  expect(["PT1M30S", "P1DT2H", "P1M", "whenever"].map(periodText)).toEqual(["1 min 30 s", "1 d 2 h", "P1M", "whenever"]);
});

test("a form becomes its rule and comes back as it was", () => {
  const rules: Form[] = [
    { ...BLANK, name: "a", sql: "SELECT 1", value: "0.5", notify: ["ops"], repeat: "PT4H" },
    { ...BLANK, name: "b", from: "metric", metric: "henge_ingest_lag", labels: "supervisor=pay=ments, node=a", condition: "change", op: "<", percent: "-20", disabled: true },
    { ...BLANK, name: "c", sql: "SELECT 1", condition: "absence", description: "nothing came" },
  ];
  for (const form of rules) {
    const said = ruleOf(form);
    if (!("rule" in said)) throw new Error(said.lacks);
    const back = ruleOf(formOf(form.name, said.rule));
    expect(back).toEqual(said);
  }
  const second = rules[1];
  expect(second === undefined ? null : ruleOf(second)).toMatchObject({ rule: { query: { labels: { supervisor: "pay=ments", node: "a" } }, condition: { percent: -20 }, disabled: true } });
});

test.each([
  [{ sql: " ", value: "1" }, "statement"],
  [{ sql: "SELECT 1", value: "" }, "number"],
  [{ sql: "SELECT 1", value: "much" }, "number"],
  [{ from: "metric" as const, value: "1" }, "metric"],
  [{ from: "metric" as const, metric: "m", labels: "a", value: "1" }, "name=value"],
])("what a form lacks is told: %o", (change, word) => {
  const said = ruleOf({ ...BLANK, ...change });
  expect("lacks" in said ? said.lacks : "").toContain(word);
});

test("alerts are told where their tables are shown", () => {
  expect([...tablesOf(`SELECT 'from nowhere' FROM "pay""ments" p JOIN druid.wikipedia w ON 1=1 -- from here`)]).toEqual(['pay"ments', "wikipedia"]);
  const all = [alert("a", { state: "firing" }), alert("b"), alert("c", { state: "firing", query: { sql: "SELECT 1 FROM wikipedia" } })];
  expect(concerning(all, ['SELECT x FROM "payments"']).map((one) => one.name)).toEqual(["a"]);
});
