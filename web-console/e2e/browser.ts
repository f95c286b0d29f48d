// A browser before the built page, under the Content-Security-Policy that the server sends. Whatever the
// page writes to the console as an error, and every violation of the policy, is kept, and fails the test that looks at it.

import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { preview, type PreviewServer } from "vite";

export const OUT = new URL("./out/", import.meta.url).pathname;

export interface Served {
  url: string;
  close: () => Promise<void>;
}

/** The page as the server has it; of a server that was built without, or with CONSOLE_DIST=1, dist/ at /console/, passing requests on to it. */
export async function serve(henge: string, port: number): Promise<Served> {
  const own = process.env.CONSOLE_DIST === "1" ? "" : await fetch(`${henge}/console/`).then((answer) => (answer.ok ? answer.text() : ""));
  if (own.includes('id="root"')) return { url: `${henge}/console`, close: () => Promise.resolve() };
  process.env.HENGE_URL = henge;
  const server: PreviewServer = await preview({ root: new URL("..", import.meta.url).pathname, preview: { port, host: "127.0.0.1", strictPort: true }, logLevel: "error" });
  return { url: `http://127.0.0.1:${port}/console`, close: () => server.close() };
}

export async function launch(): Promise<Browser> {
  mkdirSync(OUT, { recursive: true });
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

export interface Visit {
  context: BrowserContext;
  page: Page;
  /** What went wrong in the browser, so far. */
  complaints: string[];
}

export async function visit(browser: Browser, theme: "light" | "dark", size = { width: 1440, height: 900 }): Promise<Visit> {
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
