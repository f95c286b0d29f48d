// A browser before the built page, under the Content-Security-Policy that the server sends. Whatever the
// page writes to the console as an error, and every violation of the policy, is kept, and fails the test that looks at it.

import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect } from "vitest";

const OUT = new URL("./out/", import.meta.url).pathname;

export const HENGE = process.env.HENGE_URL ?? "http://127.0.0.1:8888";

const post = (path: string, body: unknown): Promise<Response> => fetch(HENGE + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const sql = async (query: string): Promise<Record<string, unknown>[]> => (await (await post("/druid/v2/sql", { query })).json()) as Record<string, unknown>[];

/** Where the demo's streams are. */
export async function brokers(): Promise<string> {
  const answer = await fetch(`${HENGE}/druid/indexer/v1/supervisor/wikipedia`);
  const { spec } = (await answer.json()) as { spec: { ioConfig: { consumerProperties: Record<string, string> } } };
  return spec.ioConfig.consumerProperties["bootstrap.servers"] ?? "";
}

/** Takes a datasource that a walk made out of use. */
export const forget = async (name: string): Promise<void> => {
  await fetch(`${HENGE}/druid/coordinator/v1/datasources/${encodeURIComponent(name)}`, { method: "DELETE" });
};

/** Runs a batch task to its end, until its rows answer queries; `more` goes into its dataSchema. */
export async function put(name: string, inputSource: object, more: object = {}, inputFormat: object = { type: "json" }): Promise<void> {
  const answer = await post("/druid/indexer/v1/task", {
    type: "index_parallel",
    spec: {
      dataSchema: { dataSource: name, timestampSpec: { column: "__time", format: "auto" }, dimensionsSpec: { useSchemaDiscovery: true }, granularitySpec: { segmentGranularity: "YEAR", rollup: false }, ...more },
      ioConfig: { type: "index_parallel", inputSource, inputFormat },
      tuningConfig: { type: "index_parallel" },
    },
  });
  const { task, error } = (await answer.json()) as { task?: string; error?: string };
  if (task === undefined) throw new Error(error ?? `status ${answer.status}`);
  for (;;) {
    const { status } = (await (await fetch(`${HENGE}/druid/indexer/v1/task/${encodeURIComponent(task)}/status`)).json()) as { status: { statusCode: string; errorMsg: string | null } };
    if (status.statusCode === "FAILED") throw new Error(status.errorMsg ?? "the task failed");
    if (status.statusCode === "SUCCESS" && (await sql(`SELECT COUNT(*) AS n FROM "${name}"`))[0]?.n !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

interface Served {
  url: string;
  close: () => Promise<void>;
}

/** The page as the server has it; of a server that was built without, or with CONSOLE_DIST=1, dist/ at /console/, passing requests on to it. */
async function serve(henge: string, port: number): Promise<Served> {
  const own = process.env.CONSOLE_DIST === "1" ? "" : await fetch(`${henge}/console/`).then((answer) => (answer.ok ? answer.text() : ""));
  if (own.includes('id="root"')) return { url: `${henge}/console`, close: () => Promise.resolve() };
  process.env.HENGE_URL = henge;
  const server: PreviewServer = await preview({ root: new URL("..", import.meta.url).pathname, preview: { port, host: "127.0.0.1", strictPort: true }, logLevel: "error" });
  return { url: `http://127.0.0.1:${port}/console`, close: () => server.close() };
}

/** A browser and the console of a server, for the walks of one file. */
export interface Walk {
  /** Of the console, without a slash at its end; known once walks begin. */
  readonly url: string;
  visit: (theme: "light" | "dark", size?: Size) => Promise<Visit>;
}

/** Said once at the head of a file's walks: both are opened before the first of them and closed after the last. */
export function walking(henge = HENGE, port = 0): Walk {
  let browser: Browser | null = null;
  let site: Served | null = null;
  beforeAll(async () => {
    mkdirSync(OUT, { recursive: true });
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
    site = await serve(henge, Number(process.env.CONSOLE_PORT ?? 22080) + port);
  });
  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });
  return {
    get url() {
      return site?.url ?? "";
    },
    visit: (theme, size) => {
      if (browser === null) throw new Error("the walks have not begun");
      return visit(browser, theme, size);
    },
  };
}

export interface Size {
  width: number;
  height: number;
}

export const TABLET: Size = { width: 820, height: 1180 };

export interface Visit {
  context: BrowserContext;
  page: Page;
  /** What went wrong in the browser, so far. */
  complaints: string[];
}

async function visit(browser: Browser, theme: "light" | "dark", size: Size = { width: 1440, height: 900 }): Promise<Visit> {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, reducedMotion: "reduce", timezoneId: "Europe/Berlin", locale: "en-US" });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || /Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return { context, page, complaints };
}

/** Serious and critical findings, in words. */
export async function axe(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .flatMap((one) => one.nodes.slice(0, 4).map((node) => `${one.id}: ${node.target.join(" ")} ${node.failureSummary?.replaceAll("\n", " ") ?? ""}`));
}

export const shot = (page: Page, name: string): Promise<Buffer> => page.screenshot({ path: `${OUT}${name}.png` });

/** What stands there, on a tablet as well: its picture, that nothing of the page reaches beyond its side, and axe. */
export async function onTablet(page: Page, name: string): Promise<void> {
  const before = page.viewportSize();
  await page.setViewportSize(TABLET);
  await page.waitForTimeout(400);
  await shot(page, name);
  // Lists scroll within themselves; the page and its windows do not scroll sideways, and no button is out of reach.
  const beyond = await page.evaluate(`[...document.querySelectorAll("main, dialog .dialog-body, main button, main .button, main select, dialog button")]
    .filter((one) => one.closest(".grid, .sheet-tabs, .tabs, .heat-room, .operations") === null && one.checkVisibility({ visibilityProperty: true }))
    .filter((one) => (one.matches("main, .dialog-body") ? one.scrollWidth > one.clientWidth : one.getBoundingClientRect().right > ${TABLET.width}))
    .map((one) => one.outerHTML.slice(0, 120))`);
  expect(beyond, name).toEqual([]);
  expect(await page.locator("dialog[open]").evaluateAll((windows) => windows.filter((one) => !one.checkVisibility({ visibilityProperty: true })).length), name).toBe(0);
  expect(await axe(page), name).toEqual([]);
  if (before !== null) await page.setViewportSize(before);
}
