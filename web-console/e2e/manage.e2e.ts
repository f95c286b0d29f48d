// What operators change: how long a datasource is kept, and taking it out of use, each with what follows from it.

import { afterAll, expect, test } from "vitest";
import { axe, forget, HENGE, onTablet, put, shot, sql, walking } from "./browser";

const walk = walking();
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map(forget));
});

const rulesOf = async (name: string): Promise<unknown> => (await fetch(`${HENGE}/druid/coordinator/v1/rules/${name}`)).json();

test("what would leave is told before rules are put in force, and has to be meant", async () => {
  const name = `kept_${Date.now()}`;
  made.push(name);
  const hour = 3_600_000;
  const rows = [400 * 24, 399 * 24, 30, 2].map((back) => JSON.stringify({ __time: new Date(Date.now() - back * hour).toISOString(), n: back }));
  await put(name, { type: "inline", data: rows.join("\n") }, { granularitySpec: { segmentGranularity: "DAY", rollup: false } });
  const { context, page, complaints } = await walk.visit("light");
  await page.goto(`${walk.url}/datasources?name=${name}`);
  await page.getByRole("button", { name: "Actions" }).click();
  await page.getByRole("menuitem", { name: "Change its retention…" }).click();
  const window = page.getByRole("dialog", { name: /How long/ });
  await window.getByText("No rules of its own").waitFor();
  await window.getByRole("button", { name: "Give it rules" }).click();
  await window.getByText("Leaves all answers:").waitFor();
  await window.getByText(/^2 segments, 2 rows/).first().waitFor();
  await shot(page, "retention-light");
  expect(await axe(page)).toEqual([]);
  // Nothing leaves when the rule that drops is gone; what is read first decides.
  await window.getByRole("button", { name: "Read rule 2 earlier" }).click();
  await window.getByText(/^4 segments, 4 rows/).waitFor();
  await window.getByRole("button", { name: "Take rule 1 away" }).click();
  await window.getByText("Nothing that is stored leaves.").waitFor();
  await window.getByText("As JSON").click();
  await window.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText('[{"type": "loadByPeriod", "period": "P1Y", "tieredReplicants": {"_default_tier": 1}}, {"type": "dropForever"}]');
  expect(await window.getByLabel("Period of rule 1").inputValue()).toBe("P1Y");
  await window.getByRole("button", { name: "Set these rules…" }).click();
  const question = page.getByRole("dialog", { name: /in force/ });
  await question.getByText("Leaves all answers:").waitFor();
  expect(await question.getByRole("button", { name: "Let them go" }).isDisabled()).toBe(true);
  await shot(page, "retention-confirm");
  await onTablet(page, "retention-tablet");
  expect(await axe(page)).toEqual([]);
  expect(await rulesOf(name)).toEqual([]);
  await question.getByLabel(/Type/).fill(name);
  await question.getByRole("button", { name: "Let them go" }).click();
  await question.waitFor({ state: "hidden" });
  expect(await rulesOf(name)).toEqual([{ type: "loadByPeriod", period: "P1Y", tieredReplicants: { _default_tier: 1 } }, { type: "dropForever" }]);
  // As it was said, so it is.
  await expect.poll(async () => (await sql(`SELECT COUNT(*) AS n FROM "${name}"`))[0]?.n, { timeout: 60_000 }).toBe(2);
  await page.getByRole("button", { name: "Actions" }).click();
  await page.getByRole("menuitem", { name: "Change its retention…" }).click();
  await window.getByText("What they were before").click();
  await window.getByRole("button", { name: "Take these" }).first().waitFor();
  await shot(page, "retention-history");
  expect(complaints).toEqual([]);
  await context.close();
});

test("the rules of the cluster are told by what they decide on", async () => {
  const { context, page, complaints } = await walk.visit("dark");
  await page.goto(`${walk.url}/datasources`);
  await page.getByRole("button", { name: "Retention of the cluster…" }).click();
  await page.getByRole("dialog").getByText("Nothing that is stored leaves.").waitFor();
  await shot(page, "retention-dark");
  expect(await axe(page)).toEqual([]);
  await page.getByLabel("Effect of rule 1").selectOption("drop");
  await page.getByRole("dialog").getByText("Leaves all answers:").waitFor();
  await page.getByRole("button", { name: "Keep it as it is" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  expect(complaints).toEqual([]);
  await context.close();
});

test("a datasource is taken out of use, and used again", async () => {
  const name = `dropped_${Date.now()}`;
  made.push(name);
  await put(name, { type: "inline", data: '{"__time": "2026-01-01T00:00:00Z", "n": 1}' });
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/datasources?name=${name}`);
  await page.getByRole("button", { name: "Actions" }).click();
  await shot(page, "datasource-actions");
  await page.getByRole("menuitem", { name: "Take it out of use…" }).click();
  await page.getByText("queries find none of its published rows").waitFor();
  await page.getByLabel(/Type/).fill(name);
  await page.getByRole("button", { name: "Take it out of use", exact: true }).click();
  await expect.poll(async () => (await sql(`SELECT COUNT(*) AS n FROM sys.segments WHERE datasource = '${name}' AND is_active = 1`))[0]?.n, { timeout: 30_000 }).toBe(0);
  await page.getByRole("button", { name: "Actions" }).click();
  await page.getByRole("menuitem", { name: "Use its segments again…" }).click();
  await page.getByRole("button", { name: "Use them again" }).click();
  await expect.poll(async () => (await sql(`SELECT COUNT(*) AS n FROM sys.segments WHERE datasource = '${name}' AND is_active = 1`))[0]?.n, { timeout: 30_000 }).toBe(1);
  await context.close();
});
