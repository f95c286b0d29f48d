// Every page in both themes, and the main actions, against a server that needs no credentials and has the live data of
// `henge quickstart` (wikipedia and payments).

import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { about } from "../src/parts/routines";
import { axe, brokers, onTablet, shot, sql, TABLET, walking } from "./browser";

const walk = walking();

const PAGES: [string, string, string][] = [
  ["home", "/", "Supervisors"],
  ["query", "/query", "Rows at most"],
  ["explore", "/explore?source=wikipedia", "Split by"],
  ["load", "/load", "Where events come from"],
  ["datasources", "/datasources", "wikipedia"],
  ["datasource", "/datasources?name=wikipedia", "Rows stored"],
  ["segments", "/segments?source=wikipedia", "overshadowed"],
  ["supervisors", "/ingestion", "payments"],
  ["supervisor", "/ingestion?supervisor=wikipedia", "Read to"],
  ["tasks", "/ingestion?tab=tasks", "index_kafka"],
  ["lookups", "/lookups", "New lookup"],
  ["services", "/services", "coordinator"],
  ["users", "/access", "admin"],
  ["roles", "/access?tab=roles", "New role"],
  ["tables", "/access?tab=tables", "Ask for one"],
  ["audit", "/audit", "query"],
];

const ask = async (page: Page, text: string): Promise<void> => {
  await page.goto(`${walk.url}/query?q=${encodeURIComponent(text)}`);
  await page.getByRole("button", { name: "Run" }).click();
};

for (const theme of ["light", "dark"] as const) {
  describe(`in ${theme}`, () => {
    test.each(PAGES)("%s", async (name, path, text) => {
      const { context, page, complaints } = await walk.visit(theme);
      await page.goto(walk.url + path);
      await page.getByText(text).first().waitFor({ timeout: 20_000 });
      await page.waitForTimeout(800);
      await shot(page, `${name}-${theme}`);
      expect(await axe(page)).toEqual([]);
      await onTablet(page, `${name}-tablet-${theme}`);
      expect(complaints).toEqual([]);
      await context.close();
    });

    test("a result as table and as each chart, its plan, and its error", async () => {
      const { context, page, complaints } = await walk.visit(theme);
      await ask(page, `SELECT TIME_FLOOR(__time, 'PT1M') AS "minute", channel, COUNT(*) AS edits\nFROM wikipedia WHERE __time > CURRENT_TIMESTAMP - INTERVAL '15' MINUTE GROUP BY 1, 2`);
      await page.getByRole("grid", { name: "Rows of the result" }).waitFor();
      await shot(page, `result-table-${theme}`);
      expect(await axe(page)).toEqual([]);
      for (const [kind, file] of [["Over time", "time"], ["Bars", "bars"], ["Heat map", "heat"], ["Shares", "pie"]] as const) {
        await page.getByRole("button", { name: kind, exact: true }).click();
        await page.waitForTimeout(500);
        await shot(page, `result-${file}-${theme}`);
        expect(await axe(page)).toEqual([]);
      }
      await onTablet(page, `result-tablet-${theme}`);
      await page.getByRole("button", { name: "Explain" }).click();
      await page.getByText("grouped by").waitFor();
      await shot(page, `plan-${theme}`);
      expect(await axe(page)).toEqual([]);
      expect(complaints).toEqual([]);
      await ask(page, "SELECT chanel FROM wikipedia");
      await page.getByText("did you mean 'channel'").first().waitFor();
      expect(await page.locator(".cm-lintRange-error").textContent()).toBe("chanel");
      await shot(page, `error-${theme}`);
      // The browser itself reports a status of 400.
      expect(complaints.filter((one) => !one.includes("status of 400"))).toEqual([]);
      await context.close();
    });
  });
}

test("on a tablet the navigation opens over the page", async () => {
  const { context, page, complaints } = await walk.visit("light", TABLET);
  await page.goto(`${walk.url}/`);
  await page.getByText("Supervisors").first().waitFor();
  await shot(page, "tablet");
  await page.getByRole("button", { name: "Navigation" }).click();
  await shot(page, "tablet-navigation");
  await page.getByRole("navigation").getByRole("link", { name: "Segments" }).click();
  await page.getByText("overshadowed").waitFor();
  // What there is to ask about is laid over the statement, and goes away once something was chosen of it.
  await page.goto(`${walk.url}/query`);
  const tables = page.getByRole("complementary", { name: "What there is to ask about" });
  expect(await tables.isVisible()).toBe(false);
  await page.getByRole("button", { name: "Tables" }).click();
  await tables.getByText("wikipedia", { exact: true }).click();
  await shot(page, "tablet-tables");
  expect(await axe(page)).toEqual([]);
  await tables.getByRole("button", { name: "Show rows" }).first().click();
  await tables.waitFor({ state: "hidden" });
  expect(await page.locator(".cm-content").textContent()).toContain('FROM "wikipedia"');
  expect(complaints).toEqual([]);
  await context.close();
});

test("completion knows columns and functions", async () => {
  const { context, page, complaints } = await walk.visit("light");
  await page.goto(`${walk.url}/query`);
  await page.locator(".cm-content").click();
  await page.keyboard.type("SELECT chan FROM wikipedia");
  for (let at = 0; at < " FROM wikipedia".length; at += 1) await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Control+Space");
  await page.locator(".cm-tooltip-autocomplete").getByText("channel").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("SELECT TIME_FL");
  await page.locator(".cm-tooltip-autocomplete").getByText("TIME_FLOOR").first().waitFor();
  await page.getByText("TIME_FLOOR(<TIMESTAMP>, <CHARACTER>, <TIMESTAMP>)").waitFor();
  await page.getByText("the beginning of the period").waitFor();
  await shot(page, "completion");
  const names = (await sql("SELECT ROUTINE_NAME FROM INFORMATION_SCHEMA.ROUTINES")).map((one) => String(one["ROUTINE_NAME"]));
  expect(names.length).toBeGreaterThan(200);
  expect(names.filter((name) => about(name) === null)).toEqual([]);
  // The statement was typed over another, and no style came with it.
  expect(complaints).toEqual([]);
  await context.close();
});

test("a query can be cancelled, and the page goes on", async () => {
  const { context, page } = await walk.visit("light");
  const ended: number[] = [];
  page.on("response", (answer) => {
    if (answer.request().method() === "DELETE" && answer.url().includes("/druid/v2/sql/")) ended.push(answer.status());
  });
  // As many pairs of pairs as there are: hours of work.
  const hours = "SELECT COUNT(*) AS n FROM wikipedia a JOIN wikipedia b ON a.namespace = b.namespace JOIN wikipedia c ON b.namespace = c.namespace";
  await ask(page, hours);
  await page.waitForTimeout(1500);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("The server was told to stop.").waitFor();
  expect(ended).toEqual([202]);
  // When the server cannot be told, nobody is told that it was.
  await page.route("**/druid/v2/sql/*", (route) => (route.request().method() === "DELETE" ? route.fulfill({ status: 500, body: '{"error":"not today"}' }) : route.continue()));
  await page.getByRole("button", { name: "Run" }).click();
  await page.waitForTimeout(1000);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("may still be at work: not today").waitFor();
  expect(await page.getByText("The server was told to stop.").count()).toBe(0);
  await ask(page, "SELECT 'goes on' AS it");
  await page.getByRole("gridcell", { name: "goes on" }).waitFor();
  await context.close();
});

test("a page that is opened in the background loads, and asks again when it is shown", async () => {
  const { context, page } = await walk.visit("light");
  await page.addInitScript("window.away = true; Object.defineProperty(document, 'hidden', { get: () => window.away })");
  await page.goto(`${walk.url}/query`);
  await page.getByRole("complementary", { name: "What there is to ask about" }).getByText("wikipedia", { exact: true }).waitFor();
  await page.goto(`${walk.url}/services`);
  await page.waitForTimeout(1500);
  expect(await page.getByRole("gridcell", { name: /coordinator/ }).count()).toBe(0);
  await page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))");
  await page.getByRole("gridcell", { name: /coordinator/ }).first().waitFor({ timeout: 3_000 });
  await context.close();
});

test("hostile strings are text", async () => {
  const { context, page, complaints } = await walk.visit("dark");
  await ask(page, `SELECT '<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">' AS "<b onmouseover=window.hurt=1>column</b>", U&'\\202Eesrever \\2066 \\FFFF' AS bidi, REPEAT('long ', 20000) AS huge`);
  await page.getByRole("gridcell", { name: /script/ }).first().waitFor();
  await shot(page, "hostile");
  await page.getByRole("gridcell", { name: /script/ }).first().click();
  await page.getByRole("dialog").getByText("<script>").waitFor();
  expect(await page.evaluate("window.hurt")).toBeUndefined();
  expect(await page.locator("b").count()).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a newcomer comes from a topic to a chart", async () => {
  const name = `newcomer_${Date.now()}`;
  const { context, page, complaints } = await walk.visit("light");
  let clicks = 0;
  const click = async (what: ReturnType<Page["locator"]>): Promise<void> => {
    clicks += 1;
    await what.click();
  };
  await page.goto(`${walk.url}/`);
  await click(page.getByRole("navigation").getByRole("link", { name: "Load data" }));
  await click(page.getByLabel("Brokers"));
  await page.keyboard.type(await brokers());
  await page.keyboard.press("Tab");
  await page.keyboard.type("wikipedia");
  await click(page.getByLabel("Name of the datasource"));
  await page.keyboard.press("Control+a");
  await page.keyboard.type(name);
  // The demo's broker keeps little: its earliest events may be gone before they are read.
  await page.getByLabel("Begin with").selectOption("new");
  clicks += 2;
  await shot(page, "load-filled");
  await click(page.getByRole("button", { name: "Start reading" }));
  await page.getByRole("dialog").getByRole("heading", { name: "Partitions" }).waitFor();
  for (let tries = 0; tries < 80 && !((await sql(`SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = '${name}'`)).length > 0); tries += 1) await page.waitForTimeout(500);
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  clicks += 1;
  await click(page.getByRole("navigation").getByRole("link", { name: "Explore" }));
  await page.getByLabel("Datasource").selectOption(name);
  clicks += 2;
  await page.locator(".lines-chart canvas").waitFor();
  await page.getByRole("button", { name: /#en\.wikipedia/ }).waitFor({ timeout: 30_000 });
  await shot(page, "newcomer");
  console.log("clicks from a fresh page to a chart:", clicks);
  expect(clicks).toBeLessThanOrEqual(12);
  expect(complaints).toEqual([]);
  // What was begun is ended, with its consequence told and its name typed.
  await page.goto(`${walk.url}/ingestion?supervisor=${name}`);
  await page.getByRole("button", { name: "End…", exact: true }).click();
  await page.getByText("Its tasks publish what they have read").waitFor();
  expect(await page.getByRole("button", { name: "End it", exact: true }).isDisabled()).toBe(true);
  await shot(page, "confirm");
  expect(await axe(page)).toEqual([]);
  await page.getByLabel(/Type/).fill(name);
  await page.getByRole("button", { name: "End it", exact: true }).click();
  await page.getByRole("button", { name: "End it", exact: true }).waitFor({ state: "hidden" });
  await context.close();
});

test("a supervisor is suspended and goes on", async () => {
  const { context, page } = await walk.visit("dark");
  await page.goto(`${walk.url}/ingestion?supervisor=payments`);
  await page.getByRole("button", { name: "Suspend…" }).click();
  await page.getByRole("button", { name: "Suspend it" }).click();
  await page.getByRole("button", { name: "Go on…" }).waitFor({ timeout: 15_000 });
  await shot(page, "suspended");
  await page.getByRole("button", { name: "Go on…" }).click();
  await page.getByRole("button", { name: "Go on", exact: true }).click();
  await page.getByRole("button", { name: "Suspend…" }).waitFor({ timeout: 15_000 });
  // Where the keyboard was before a question, it is after it.
  await page.getByRole("button", { name: "Suspend…" }).click();
  await page.getByRole("button", { name: "Keep it as it is" }).click();
  await page.getByRole("button", { name: "Suspend it" }).waitFor({ state: "hidden" });
  expect(await page.evaluate("document.activeElement.textContent")).toBe("Suspend…");
  await context.close();
});

test("why tasks of a supervisor wait is told at home and with the supervisor", async () => {
  const { context, page, complaints } = await walk.visit("light");
  await page.route("**/supervisor/payments/status", async (route) => {
    const answer = await route.fetch();
    const status = (await answer.json()) as { payload: object };
    await route.fulfill({ response: answer, json: { ...status, payload: { ...status.payload, waiting: "no worker has room for 2 tasks" } } });
  });
  await page.goto(`${walk.url}/`);
  await page.getByRole("region", { name: "What needs attention" }).getByText("no worker has room for 2 tasks").waitFor();
  await page.getByRole("link", { name: "See its tasks" }).click();
  await page.getByRole("dialog").getByText("no worker has room for 2 tasks").waitFor();
  await shot(page, "waiting");
  expect(await axe(page)).toEqual([]);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a lookup is made, used and deleted", async () => {
  const { context, page } = await walk.visit("light");
  const name = `countries${Date.now()}`;
  await page.goto(`${walk.url}/lookups`);
  await page.getByRole("button", { name: "New lookup" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("gridcell", { name }).waitFor();
  await shot(page, "lookup");
  await page.getByRole("gridcell", { name }).click();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByLabel(/Type/).fill(name);
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByRole("gridcell", { name }).waitFor({ state: "detached" });
  await context.close();
});

test("a role shows what a user would see before it is posted", async () => {
  const { context, page } = await walk.visit("light");
  const name = `walker${Date.now()}`;
  await page.goto(`${walk.url}/access`);
  await page.getByRole("button", { name: "New user" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("textbox", { name: "Password" }).fill("a long enough password");
  await page.getByLabel("Attributes").fill("channel: #en.wikipedia");
  await page.getByRole("button", { name: "Make the user" }).click();
  await page.getByRole("gridcell", { name }).first().waitFor();
  await page.getByRole("tab", { name: "Roles and policies" }).click();
  await page.getByRole("button", { name: "New role" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill(name);
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(JSON.stringify({ permissions: [{ resource: { type: "DATASOURCE", name: "wikipedia" }, action: "READ" }], policies: [{ name: "own", datasource: "wikipedia", kind: "permissive", sql: "channel = USER_ATTRIBUTE('channel')" }] }));
  await page.getByRole("combobox", { name: "User", exact: true }).selectOption(name);
  await page.getByRole("dialog").getByRole("combobox", { name: "Datasource" }).selectOption("wikipedia");
  await page.getByText("channel = '#en.wikipedia'").waitFor();
  await page.getByText("restricted").waitFor();
  await shot(page, "role");
  await onTablet(page, "role-tablet");
  expect(await axe(page)).toEqual([]);
  await page.getByRole("button", { name: "Make the role" }).click();
  await page.getByRole("gridcell", { name }).first().waitFor();
  await page.getByRole("gridcell", { name }).first().click();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByLabel(/Type/).fill(name);
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("tab", { name: "Users" }).click();
  await page.getByRole("gridcell", { name }).first().click();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByLabel(/Type/).fill(name);
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("gridcell", { name }).first().waitFor({ state: "detached" });
  await context.close();
});

test("exploring: a bar filters, the address says so, a reload shows the same", async () => {
  const { context, page, complaints } = await walk.visit("dark");
  await page.goto(`${walk.url}/explore?source=wikipedia&compare=1`);
  await page.getByRole("button", { name: /#de\.wikipedia/ }).click();
  await page.getByRole("group", { name: "Filters" }).getByText("#de.wikipedia").waitFor();
  expect(page.url()).toContain("filter=");
  await page.reload();
  await page.getByRole("group", { name: "Filters" }).getByText("#de.wikipedia").waitFor();
  await page.locator(".u-over").waitFor();
  await page.waitForTimeout(500);
  const box = await page.locator(".u-over").boundingBox();
  if (box === null) throw new Error("no chart");
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/from=/);
  await page.waitForTimeout(800);
  await shot(page, "explore-brushed");
  await page.goto(`${walk.url}/explore?source=wikipedia&split=${encodeURIComponent('["channel"]')}`);
  await page.getByRole("button", { name: /#de\.wikipedia/ }).waitFor();
  await page.getByRole("group", { name: "Split by" }).getByText("channel", { exact: true }).click();
  await page.getByRole("button", { name: /#de\.wikipedia/ }).waitFor({ state: "detached" });
  await page.waitForTimeout(1000);
  expect(new URL(page.url()).searchParams.get("split")).toBe("[]");
  expect(complaints).toEqual([]);
  await context.close();
});

test("theme and time zone are chosen, and kept", async () => {
  const { context, page, complaints } = await walk.visit("light");
  await page.goto(`${walk.url}/segments?source=wikipedia`);
  await page.getByRole("gridcell", { name: /00Z$/ }).first().waitFor();
  await page.getByRole("button", { name: /Not signed in/ }).click();
  await shot(page, "account-menu");
  expect(await axe(page)).toEqual([]);
  await page.getByRole("menuitemradio", { name: "Dark" }).click();
  await page.getByRole("menuitemradio", { name: /Europe\/Berlin/ }).click();
  await page.keyboard.press("Escape");
  await page.getByRole("gridcell", { name: /\+0[12]:00$/ }).first().waitFor();
  await page.reload();
  await page.getByRole("gridcell", { name: /\+0[12]:00$/ }).first().waitFor();
  expect(await page.evaluate("document.documentElement.dataset.theme")).toBe("dark");
  expect(complaints).toEqual([]);
  await context.close();
});

test("a native query is run, and one that is no JSON is told so", async () => {
  const { context, page } = await walk.visit("light");
  await ask(page, '{"queryType": "timeseries", "dataSource": "wikipedia", "granularity": "hour", "intervals": ["2020/2100"], "aggregations": [{"type": "count", "name": "n"}]}');
  await page.getByRole("columnheader", { name: /timestamp/ }).waitFor();
  await ask(page, '{"queryType": ');
  await page.getByText("A native query is JSON, and this is not").first().waitFor();
  await context.close();
});

test("exports have all rows", async () => {
  const { context, page } = await walk.visit("light");
  await ask(page, "SELECT channel, COUNT(*) AS n FROM wikipedia GROUP BY 1");
  await page.getByRole("grid", { name: "Rows of the result" }).waitFor();
  for (const [format, ends] of [["CSV", "csv"], ["JSON", "json"], ["Arrow stream", "arrows"]] as const) {
    await page.getByRole("button", { name: "Download" }).click();
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: format, exact: true }).click()]);
    expect(file.suggestedFilename()).toBe(`result.${ends}`);
  }
  await context.close();
});

test("a server that goes away is told, and the page comes back by itself", async () => {
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/services`);
  await page.getByRole("gridcell", { name: /coordinator/ }).first().waitFor();
  await page.route("**/druid/**", (route) => route.abort("connectionrefused"));
  await page.getByText("No connection").waitFor({ timeout: 20_000 });
  await page.getByRole("gridcell", { name: /coordinator/ }).first().waitFor();
  await shot(page, "unreachable");
  await page.unroute("**/druid/**");
  await page.getByText("No connection").waitFor({ state: "hidden", timeout: 30_000 });
  await context.close();
});

test("the first load of the home page is small", async () => {
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/`);
  await page.getByText("Supervisors").first().waitFor();
  const loaded = (await page.evaluate(`performance.getEntriesByType("resource").filter((one) => one.name.endsWith(".js")).map((one) => one.name)`)) as string[];
  const { gzipSync } = await import("node:zlib");
  let total = 0;
  for (const name of loaded) total += gzipSync(Buffer.from(await (await fetch(name)).arrayBuffer())).length;
  console.log("JavaScript of the first load, gzip:", total, "bytes in", loaded.length, "files");
  expect(total).toBeLessThan(350_000);
  await context.close();
});
