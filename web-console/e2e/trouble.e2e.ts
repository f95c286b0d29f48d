// What goes wrong, and what people and their data do to a page: it says what happened, and stays usable.

import type { Page } from "playwright-core";
import { afterAll, expect, test } from "vitest";
import { axe, forget, HENGE, put, shot, walking } from "./browser";

const walk = walking();
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map(forget));
});

const fresh = async (what: string, rows: object[], more: object = {}): Promise<string> => {
  const name = `${what}_${Date.now()}`;
  made.push(name);
  await put(name, { type: "inline", data: rows.map((row) => JSON.stringify(row)).join("\n") }, more);
  return name;
};

const ask = async (page: Page, text: string): Promise<void> => {
  await page.goto(`${walk.url}/query?q=${encodeURIComponent(text)}`);
  await page.getByRole("button", { name: "Run" }).click();
};

/** The page can still be used: another statement is answered. */
const goesOn = async (page: Page): Promise<void> => {
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.locator(".cm-content").focus();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText("SELECT 'goes on' AS it");
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("gridcell", { name: "goes on" }).waitFor();
};

const EVIL = `<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1"><b>bold</b>`;
const BIDI = "\u202Egnp.exe\u2066 \u200F\u0000\uFFFF";
const COLUMN = `<i onmouseover=window.hurt=1>"quoted' \u202E`;

test("hostile names and values of a real table are text wherever they are shown", async () => {
  const name = await fresh("hostile", Array.from({ length: 40 }, (_, at) => ({ __time: new Date(Date.now() - at * 60_000).toISOString(), [COLUMN]: at % 2 === 0 ? EVIL : BIDI, huge: at === 0 ? "huge ".repeat(40_000) : `${at}`, nested: { [EVIL]: [EVIL] }, n: at })));
  const { context, page, complaints } = await walk.visit("dark");
  const unhurt = async (): Promise<void> => {
    expect(await page.evaluate("window.hurt")).toBeUndefined();
    // What the values would make of the page, if they were taken for parts of it.
    expect(await page.locator("main img:not(.cm-widgetBuffer), main script, dialog img:not(.cm-widgetBuffer), dialog script, [onmouseover], [onerror]").count()).toBe(0);
    expect(await page.locator("b").getByText("bold", { exact: true }).count()).toBe(0);
  };
  await ask(page, `SELECT * FROM "${name}" ORDER BY n`);
  await page.getByRole("gridcell", { name: /window\.hurt/ }).first().waitFor();
  await shot(page, "hostile-rows");
  await unhurt();
  // The huge cell is cut in the list, and whole in its window.
  await page.getByRole("gridcell", { name: /^huge huge/ }).click();
  expect(await page.getByRole("dialog").locator("pre").evaluate((pre) => (pre.textContent ?? "").length)).toBe(200_000);
  await unhurt();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Bars" }).click();
  await page.getByRole("region", { name: "Result" }).getByText(/window\.hurt/).filter({ visible: true }).first().waitFor();
  await shot(page, "hostile-bars");
  await unhurt();
  await page.goto(`${walk.url}/explore?source=${name}&split=${encodeURIComponent(JSON.stringify([COLUMN]))}`);
  await page.getByRole("button", { name: /window\.hurt/ }).first().waitFor();
  await shot(page, "hostile-explore");
  await unhurt();
  await page.getByRole("button", { name: /window\.hurt = 1/ }).first().click();
  await page.getByRole("group", { name: "Filters" }).getByText(/window\.hurt/).first().waitFor();
  await page.reload();
  await page.getByRole("group", { name: "Filters" }).getByText(/window\.hurt/).first().waitFor();
  await unhurt();
  await page.goto(`${walk.url}/datasources?name=${name}`);
  await page.getByRole("dialog").getByText(/onmouseover/).waitFor();
  await unhurt();
  // And in the wizard, before anything is kept.
  await page.goto(`${walk.url}/load`);
  await page.getByRole("button", { name: "Paste or upload" }).click();
  await page.getByLabel("Events, one a line").fill(JSON.stringify({ time: "2026-01-01T00:00:00Z", [COLUMN]: EVIL, deep: { [EVIL]: BIDI } }));
  await page.getByRole("button", { name: "Show some events" }).click();
  await page.getByRole("grid", { name: "Rows of the sample" }).getByRole("gridcell", { name: /window\.hurt/ }).first().waitFor();
  await page.getByRole("group", { name: "Paths of the sample" }).getByRole("button").first().click();
  await shot(page, "hostile-load");
  await unhurt();
  expect(complaints).toEqual([]);
  await context.close();
});

test("a datasource that is dropped while it is open is told, and the page goes on", async () => {
  const name = await fresh("gone", [{ __time: new Date().toISOString(), a: "x" }]);
  const { context, page } = await walk.visit("light");
  await ask(page, `SELECT a FROM "${name}"`);
  await page.getByRole("gridcell", { name: "x", exact: true }).waitFor();
  const exploring = await context.newPage();
  await exploring.goto(`${walk.url}/explore?source=${name}`);
  await exploring.locator(".lines-chart canvas").waitFor();
  const listed = await context.newPage();
  await listed.goto(`${walk.url}/datasources?name=${name}`);
  await listed.getByText("Rows stored").waitFor();
  await forget(name);
  await expect.poll(async () => (await fetch(`${HENGE}/druid/v2/sql`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query: `SELECT COUNT(*) FROM "${name}"` }) })).status, { timeout: 30_000 }).toBe(400);
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("alert").getByText(new RegExp(name)).waitFor();
  await shot(page, "gone-query");
  expect(await axe(page)).toEqual([]);
  await goesOn(page);
  await exploring.bringToFront();
  await exploring.reload();
  await exploring.getByText(/not found|no such|There is no|nothing/i).first().waitFor({ timeout: 20_000 });
  await shot(exploring, "gone-explore");
  expect(await axe(exploring)).toEqual([]);
  await exploring.getByLabel("Datasource").selectOption("wikipedia");
  await exploring.locator(".lines-chart canvas").waitFor();
  await listed.bringToFront();
  await listed.getByRole("button", { name: "Actions" }).click();
  await listed.keyboard.press("Escape");
  await listed.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await listed.getByRole("gridcell", { name: "wikipedia" }).waitFor();
  await shot(listed, "gone-list");
  await context.close();
});

test("a query whose connection is lost, before and in the midst of its answer", async () => {
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/query`);
  await page.route("**/druid/v2/sql", (route) => (route.request().postData()?.includes("lost") === true ? route.abort("connectionrefused") : route.continue()));
  await page.locator(".cm-content").click();
  await page.keyboard.insertText("SELECT 'lost' AS it");
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("alert").getByText("No connection").waitFor();
  await shot(page, "lost");
  expect(await axe(page)).toEqual([]);
  await goesOn(page);
  await page.route("**/druid/v2/sql", (route) => (route.request().postData()?.includes("broken") === true ? route.fulfill({ body: '["a"]\n["LONG"]\n["BIGINT"]\n[1]\n[2]\n[', contentType: "application/json" }) : route.continue()));
  // Completions that were looked for while it was left do not lie over it.
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText("SELECT 'broken' AS it");
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("alert").getByText(/broke off after 2 rows/).waitFor();
  await shot(page, "broken-off");
  await goesOn(page);
  await context.close();
});

test("statements with errors: where, what, and what else there is", async () => {
  const { context, page } = await walk.visit("light");
  for (const [statement, words] of [
    ["SELECT chanel FROM wikipedia", /did you mean 'channel'/],
    ["SELECT * FROM wikipedija", /wikipedija/],
    ["SELECT FROM", /./],
    ["SELECT channel, COUNT(*) FROM wikipedia", /GROUP BY|channel/],
    [`SELECT '${"x".repeat(2_000)}' FROM nowhere`, /nowhere/],
    ["DROP TABLE wikipedia", /./],
    ['{"queryType": "nonsense"}', /nonsense/],
    ['{"queryType": "timeseries", "dataSource": "nowhere", "granularity": "all", "intervals": ["x"], "aggregations": []}', /./],
  ] as const) {
    await ask(page, statement);
    await page.getByRole("alert").getByText(words).first().waitFor();
  }
  await goesOn(page);
  await context.close();
});

test("a statement longer than a server takes of an address comes by its link, and one too long for a link is told so", async () => {
  const { context, page, complaints } = await walk.visit("light");
  const statement = `SELECT LENGTH('${"x".repeat(100_000)}') AS it`;
  await page.goto(`${walk.url}/query#${new URLSearchParams({ q: statement })}`);
  await page.locator(".cm-content").getByText("SELECT").waitFor();
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("gridcell", { name: "100,000" }).waitFor();
  expect(new URL(page.url()).hash).toBe("");
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByRole("menuitem", { name: "as a link to this query" }).click();
  await page.getByText("Too long for a link").waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});
