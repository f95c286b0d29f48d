// Loading data: streams, pasted text, files on the web and on the server become datasources; what the form says is what the spec
// says, and what comes of it is shown on real events before anything is kept.

import { createServer, type Server } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { axe, brokers, forget, onTablet, shot, sql, walking } from "./browser";

const walk = walking();
const folder = mkdtempSync(join(tmpdir(), "henge-walk-"));
const made: string[] = [];

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await Promise.all(made.map(forget));
});

/** A name of its own for each run, forgotten at the end. */
const fresh = (what: string): string => {
  const name = `${what}_${Date.now()}`;
  made.push(name);
  return name;
};

const START = Date.UTC(2026, 0, 5);
/** Orders of three days, with fields within fields. */
const orders = (many: number): string[] =>
  Array.from({ length: many }, (_, at) =>
    JSON.stringify({ at: new Date(START + at * 40_000).toISOString(), country: ["de", "fr", "it"][at % 3], amount: (at % 10) * 1.5, items: at % 4, customer: { name: { first: `first ${at % 5}` }, age: 20 + (at % 3) } }),
  );

test("form and spec are one document, and a sample of the stream fills in what it can", async () => {
  const { context, page, complaints } = await walk.visit("light");
  await page.goto(`${walk.url}/load`);
  await page.getByLabel("Brokers").fill(await brokers());
  await page.getByLabel("Topic", { exact: true }).fill("shop.orders");
  expect(await page.getByLabel("Name of the datasource").inputValue()).toBe("shop_orders");
  await page.getByLabel("Topic", { exact: true }).fill("payments");
  await page.getByLabel("Begin with").selectOption("new");
  await page.getByRole("button", { name: "Show some events" }).click();
  await page.getByRole("region", { name: "What comes of it" }).waitFor({ timeout: 30_000 });
  await expect.poll(() => page.getByLabel("Column of the time").inputValue(), { timeout: 15_000 }).toBe("ts");
  expect(await page.getByLabel("Written as").inputValue()).toBe("millis");
  await page.getByRole("grid", { name: "Rows of the sample" }).getByRole("columnheader", { name: /merchant_kind/ }).waitFor({ timeout: 30_000 });
  await page.getByLabel("Find columns and their types").uncheck();
  const types = await page.getByLabel(/Type of column/).evaluateAll((fields) => fields.map((field) => (field as { value?: string }).value));
  expect(types).toContain("double");
  expect(types).toContain("string");
  await page.getByLabel(/Roll up/).check();
  await page.getByText(/rows? would be left/).waitFor();
  await shot(page, "load-sample");
  await onTablet(page, "load-sample-tablet");
  expect(await axe(page)).toEqual([]);
  // A time that is none of the events' makes no rows of them: each is told with its reason.
  await page.getByLabel("Column of the time").fill("merchant");
  await page.getByText(/could not be read$/).waitFor({ timeout: 30_000 });
  await page.getByRole("list", { name: "Events that could not be read" }).getByText(/merchant/).first().waitFor();
  await shot(page, "load-unread");
  expect(await axe(page)).toEqual([]);
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText('{"type": "kafka", "spec": {"dataSchema": {"dataSource": "by_hand", "timestampSpec": {"column": "t", "format": "iso"}}, "ioConfig": {"topic": "x"}}}');
  await page.getByText("needs a broker").waitFor();
  expect(await page.getByLabel("Name of the datasource").inputValue()).toBe("by_hand");
  await page.keyboard.press("Backspace");
  await page.getByText("The spec is not JSON at the moment.").waitFor();
  // Nothing of a spec that was to be changed stays in the form for a new one.
  await page.goto(`${walk.url}/load?edit=payments`);
  await expect.poll(() => page.getByLabel("Name of the datasource").inputValue(), { timeout: 15_000 }).toBe("payments");
  await page.getByRole("navigation").getByRole("link", { name: "Load data" }).click();
  await expect.poll(() => page.getByLabel("Name of the datasource").inputValue(), { timeout: 15_000 }).toBe("");
  expect(complaints).toEqual([]);
  await context.close();
});


test("a pasted text: paths, computed columns and a filter are seen on its own events, and it is loaded to its end", async () => {
  const name = fresh("pasted");
  const { context, page, complaints } = await walk.visit("light");
  await page.goto(`${walk.url}/load`);
  await page.getByRole("button", { name: "Paste or upload" }).click();
  await page.getByLabel("Events, one a line").fill([...orders(300), "no JSON at all"].join("\n"));
  await page.getByLabel("Name of the datasource").fill(name);
  await page.getByRole("button", { name: "Show some events" }).click();
  const rows = page.getByRole("grid", { name: "Rows of the sample" });
  await rows.getByRole("columnheader", { name: /country/ }).waitFor();
  expect(await page.getByLabel("Column of the time").inputValue()).toBe("at");
  await page.getByText("300 rows of 301 events · 1 could not be read").waitFor();
  // What stands deeper becomes a column, by a path of the sample's own.
  await page.getByRole("group", { name: "Paths of the sample" }).getByText("$.customer.name.first").click();
  await rows.getByRole("columnheader", { name: /customer_name_first/ }).waitFor();
  await rows.getByRole("gridcell", { name: "first 3", exact: true }).first().waitFor();
  // So does what is computed; while it cannot be, the page says what is wrong with it.
  await page.getByRole("button", { name: "Computed column", exact: true }).click();
  await page.getByLabel("Name of computed column 1").fill("land");
  await page.getByLabel("Expression 1").fill("uper(country)");
  await page.getByText(/uper/).and(page.locator("bdi")).waitFor();
  await shot(page, "load-wrong-expression");
  await page.getByLabel("Expression 1").fill("upper(country)");
  await rows.getByRole("columnheader", { name: /land/ }).waitFor();
  await rows.getByRole("gridcell", { name: "DE", exact: true }).first().waitFor();
  await page.getByLabel("Events to keep").selectOption("differs");
  await page.getByLabel("Column of the filter").fill("country");
  await page.getByLabel("Value of the filter").fill("fr");
  await page.getByText("200 rows of 301 events · 100 left out by the filter · 1 could not be read").waitFor();
  await shot(page, "load-preview-light");
  await onTablet(page, "load-preview-light-tablet");
  await page.getByRole("button", { name: /^Left out/ }).click();
  await page.getByRole("grid", { name: "Some events" }).getByRole("gridcell", { name: "fr", exact: true }).first().waitFor();
  // Types as the server found them; rolled up, and by how much.
  await page.getByLabel("Find columns and their types").uncheck();
  expect(await page.getByLabel("Type of column 1", { exact: true }).inputValue()).toBe("string");
  await page.getByRole("button", { name: "Leave out customer", exact: true }).click();
  await page.getByLabel(/Roll up/).check();
  expect(await page.getByLabel("Kind of figure 2").inputValue()).toBe("doubleSum");
  await page.getByLabel("Events count as equal within").selectOption("DAY");
  await page.getByText(/% fewer rows\./).waitFor();
  await shot(page, "load-rollup");
  expect(await axe(page)).toEqual([]);
  // The spec says the same, and is heard.
  const editor = page.locator(".cm-content");
  expect(await editor.textContent()).toContain('"index_parallel"');
  expect(await editor.textContent()).toContain("characters that were pasted or chosen");
  await page.getByRole("button", { name: "Load it" }).click();
  await page.waitForURL(/task=/);
  await page.getByRole("link", { name: "Explore it" }).waitFor({ timeout: 60_000 });
  await page.getByText("Can be asked for").waitFor();
  await shot(page, "load-arrived-light");
  expect(await axe(page)).toEqual([]);
  const [kept] = await sql(`SELECT SUM(events) AS n, COUNT(DISTINCT land) AS lands, SUM(amount) AS amount FROM "${name}"`);
  const expected = Array.from({ length: 300 }, (_, at) => at).filter((at) => at % 3 !== 1).reduce((sum, at) => sum + (at % 10) * 1.5, 0);
  expect(kept).toEqual({ n: 200, lands: 2, amount: expected });
  await page.getByRole("link", { name: "Explore it" }).click();
  await page.locator(".lines-chart canvas").waitFor();
  expect(complaints.filter((one) => !one.includes("status of 400"))).toEqual([]);
  await context.close();
});

test("a file that is chosen here tells its name and its format", async () => {
  const name = fresh("chosen");
  const file = join(folder, `${name}.csv`);
  // Long enough to be kept beside the spec, and to be looked at in part.
  const lines = Array.from({ length: 12_000 }, (_, at) => `${new Date(START + at * 1000).toISOString()},shop ${at % 7},${at}`);
  writeFileSync(file, ["time,shop,amount", ...lines].join("\n"));
  const { context, page, complaints } = await walk.visit("dark");
  await page.goto(`${walk.url}/load`);
  await page.getByRole("button", { name: "Paste or upload" }).click();
  await page.locator("input[type=file]").setInputFiles(file);
  await expect.poll(() => page.getByLabel("Name of the datasource").inputValue(), { timeout: 15_000 }).toBe(name);
  expect(await page.getByLabel("Format").inputValue()).toBe("csv");
  await page.getByText("12,001 lines").waitFor();
  await page.getByRole("button", { name: "Show some events" }).click();
  await page.getByRole("grid", { name: "Rows of the sample" }).getByRole("columnheader", { name: /shop/ }).waitFor();
  await shot(page, "load-preview-dark");
  expect(await axe(page)).toEqual([]);
  await page.getByRole("button", { name: "Load it" }).click();
  await page.getByRole("link", { name: "Explore it" }).waitFor({ timeout: 60_000 });
  await shot(page, "load-arrived-dark");
  await onTablet(page, "load-arrived-dark-tablet");
  expect(await axe(page)).toEqual([]);
  expect(await sql(`SELECT COUNT(*) AS n, SUM(amount) AS s FROM "${name}"`)).toEqual([{ n: 12_000, s: (11_999 * 12_000) / 2 }]);
  expect(complaints).toEqual([]);
  await context.close();
});

test("files on the server are loaded, and a load that fails is told and can be mended", async () => {
  const name = fresh("folder");
  for (const part of [0, 1, 2]) writeFileSync(join(folder, `part-${part}.json`), orders(100).join("\n"));
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/load`);
  await page.getByRole("button", { name: "Files on the server" }).click();
  await page.getByLabel("Folder").fill(folder);
  await page.getByLabel("Files named like").fill("part-*.json");
  await page.getByLabel("Name of the datasource").fill(name);
  await page.getByRole("button", { name: "Show some events" }).click();
  await page.getByRole("grid", { name: "Rows of the sample" }).getByRole("columnheader", { name: /country/ }).waitFor();
  // A time that no event has, and none may be missing: the task fails.
  await page.getByLabel("Column of the time").fill("nowhere");
  const editor = page.locator(".cm-content");
  await editor.click();
  await page.keyboard.press("Control+a");
  const spec = { type: "index_parallel", spec: { dataSchema: { dataSource: name, timestampSpec: { column: "nowhere", format: "auto" }, dimensionsSpec: { useSchemaDiscovery: true }, granularitySpec: { segmentGranularity: "DAY", rollup: false } }, ioConfig: { type: "index_parallel", inputSource: { type: "local", baseDir: folder, filter: "part-*.json" }, inputFormat: { type: "json" } }, tuningConfig: { type: "index_parallel", maxParseExceptions: 0 } } };
  await page.keyboard.insertText(JSON.stringify(spec));
  expect(await page.getByLabel("Files named like").inputValue()).toBe("part-*.json");
  await page.getByRole("button", { name: "Load it" }).click();
  await page.getByText("It failed").waitFor({ timeout: 60_000 });
  await shot(page, "load-failed");
  expect(await axe(page)).toEqual([]);
  await page.getByRole("link", { name: "Change it and try again" }).click();
  await expect.poll(() => page.getByLabel("Column of the time").inputValue(), { timeout: 15_000 }).toBe("nowhere");
  await page.getByLabel("Column of the time").fill("at");
  await page.getByRole("button", { name: "Load it" }).click();
  await page.getByRole("link", { name: "Explore it" }).waitFor({ timeout: 60_000 });
  expect(await sql(`SELECT COUNT(*) AS n FROM "${name}"`)).toEqual([{ n: 300 }]);
  await context.close();
});

test("files on the web are asked for by address, and what the server may not fetch is said", async () => {
  const server: Server = createServer((_, answer) => answer.end(orders(50).join("\n")));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const { context, page } = await walk.visit("light");
  await page.goto(`${walk.url}/load`);
  await page.getByRole("button", { name: "Files on the web" }).click();
  await page.getByLabel("Addresses, one a line").fill(`http://127.0.0.1:${port}/orders.json`);
  expect(await page.getByLabel("Name of the datasource").inputValue()).toBe("orders");
  await page.getByRole("button", { name: "Show some events" }).click();
  // A host of this machine's network is read only where an operator named it: both are answers.
  await page.getByRole("alert").or(page.getByRole("grid", { name: "Rows of the sample" })).first().waitFor();
  await shot(page, "load-web");
  expect(await axe(page)).toEqual([]);
  await context.close();
  server.close();
});
