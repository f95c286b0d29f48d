// Alerts from a rule to somebody who is told, against a server that needs no credentials and has the live data of
// `henge quickstart`. Whom it tells is a receiver of this test. A server without alerts is said to be so, and not walked.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { axe, HENGE, onTablet, shot, walking } from "./browser";

const served = (await fetch(`${HENGE}/henge/v1/alerts`)).status !== 404;
if (!served) console.warn("NOT WALKED: the server has no alerts");

describe.skipIf(!served)("alerts", () => {
  const walk = walking(HENGE, 3);
  let receiver: Server;
  const told: string[] = [];
  const stamp = Date.now();
  const NAMES = { fires: `edits come ${stamp}`, quiet: `nothing comes ${stamp}`, broken: `asks wrongly ${stamp}`, channel: `desk${stamp}` };
  const send = async (path: string, method: string, body?: unknown): Promise<void> => {
    const answer = await fetch(HENGE + path, { method, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  };
  const address = (): string => `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/told`;

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      let body = "";
      request.on("data", (part) => (body += String(part)));
      request.on("end", () => {
        told.push(body);
        response.end("ok");
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  });
  afterAll(async () => {
    for (const name of [NAMES.fires, NAMES.quiet, NAMES.broken]) await send(`/henge/v1/alerts/${encodeURIComponent(name)}`, "DELETE").catch(() => undefined);
    await send(`/henge/v1/alert-channels/${NAMES.channel}`, "DELETE").catch(() => undefined);
    receiver?.close();
  });

  test("a channel is made and tried, a rule is written with what it would say, fires, is told, silenced and switched off", async () => {
    const { context, page, complaints } = await walk.visit("light");
    await page.goto(`${walk.url}/alerts?tab=channels`);
    await page.getByRole("button", { name: "New channel" }).click();
    await page.getByLabel("Name").fill(NAMES.channel);
    await page.getByLabel("Address").fill(address());
    await shot(page, "channel-new");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Make the channel" }).click();
    const row = page.getByRole("row", { name: new RegExp(NAMES.channel) });
    await row.getByRole("button", { name: "Send a test" }).click();
    await row.getByText("it arrived").waitFor();
    expect(told).toHaveLength(1);
    await shot(page, "channels");
    await onTablet(page, "channels-tablet");
    expect(await axe(page)).toEqual([]);

    await page.getByRole("tab", { name: "Rules" }).click();
    await page.getByRole("button", { name: "New rule" }).click();
    await page.getByLabel("Name").fill(NAMES.fires);
    await page.getByLabel("Severity").selectOption("page");
    await page.getByLabel("Description").fill("Edits come in; nobody need get up.");
    await page.locator(".cm-content").click();
    await page.keyboard.type("SELECT COUNT(*) FROM wikipedie");
    await page.getByRole("textbox", { name: "Number" }).fill("1000000000");
    const trying = page.getByRole("status", { name: "What it would say now" });
    await trying.getByText("wikipedie").waitFor();
    await shot(page, "alert-wrong");
    await page.locator(".cm-content").click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("SELECT COUNT(*) FROM wikipedia");
    await trying.getByText("all would be well").waitFor();
    await page.getByRole("textbox", { name: "Number" }).fill("0");
    await trying.getByText("it would fire").waitFor();
    await page.getByLabel("Evaluated each").selectOption("PT10S");
    await page.getByLabel("Fires after").selectOption("PT0S");
    await page.getByLabel(NAMES.channel).check();
    await shot(page, "alert-new");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Make the rule" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Firing").first().waitFor({ timeout: 60_000 });
    await expect.poll(() => told.some((one) => one.includes(NAMES.fires)), { timeout: 30_000 }).toBe(true);
    await dialog.getByRole("table").getByText(NAMES.channel).first().waitFor({ timeout: 30_000 });
    await shot(page, "alert");
    expect(await axe(page)).toEqual([]);

    // Seen where it belongs: in the navigation, at home, and over a dashboard of its table.
    await page.goto(`${walk.url}/`);
    await page.getByRole("navigation").getByLabel(/\d+ firing/).waitFor();
    await page.getByRole("region", { name: "What needs attention" }).getByText(`The alert ${NAMES.fires} fires`).waitFor();
    await shot(page, "home-alert");
    await page.getByRole("link", { name: "See the alert" }).click();

    await page.getByRole("button", { name: "Silence…" }).click();
    expect(await page.getByRole("button", { name: "Silence it" }).isDisabled()).toBe(true);
    await page.getByLabel("Why").fill("a walk through the page");
    await shot(page, "silence");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Silence it" }).click();
    await dialog.getByText("a walk through the page").waitFor();
    await page.getByRole("button", { name: "End the silence" }).click();
    await dialog.getByText("a walk through the page").waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Switch off" }).click();
    await dialog.getByText("Switched off").first().waitFor();
    await page.getByRole("button", { name: "Switch on" }).click();
    await page.getByRole("button", { name: "Switch off" }).waitFor();
    await page.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByRole("textbox", { name: "Number" }).fill("1000000000");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await dialog.getByText("it is above 1,000,000,000").waitFor();
    // What was tried of a table that is not there.
    expect(complaints.filter((one) => !one.includes("status of 400"))).toEqual([]);
    await context.close();
  });

  test.each(["light", "dark"] as const)("the worst of several comes first, in %s", async (theme) => {
    const rule = (sql: string, more: object = {}): object => ({ query: { sql }, condition: { type: "threshold", op: ">", value: 0 }, every: "PT10S", for: "PT0S", severity: "ticket", notify: [], ...more });
    const known = (await (await fetch(`${HENGE}/henge/v1/alerts`)).json()) as { name: string }[];
    if (!known.some((one) => one.name === NAMES.broken)) {
      await send(`/henge/v1/alerts/${encodeURIComponent(NAMES.broken)}`, "PUT", rule("SELECT MAX(added) FROM wikipedia", { severity: "info" }));
      await send(`/henge/v1/alerts/${encodeURIComponent(NAMES.quiet)}`, "PUT", rule("SELECT COUNT(*) FROM wikipedia WHERE __time > CURRENT_TIMESTAMP + INTERVAL '1' DAY"));
    }
    const { context, page, complaints } = await walk.visit(theme);
    await page.goto(`${walk.url}/alerts`);
    await page.getByRole("row", { name: new RegExp(NAMES.broken) }).getByText("Firing").waitFor({ timeout: 60_000 });
    await page.getByRole("row", { name: new RegExp(NAMES.quiet) }).getByText("All is well").waitFor({ timeout: 60_000 });
    const names = await page.getByRole("row").allInnerTexts();
    expect(names.findIndex((one) => one.includes(NAMES.broken))).toBeLessThan(names.findIndex((one) => one.includes(NAMES.quiet)));
    await shot(page, `alerts-${theme}`);
    expect(await axe(page)).toEqual([]);
    await onTablet(page, `alerts-tablet-${theme}`);
    await page.getByRole("row", { name: new RegExp(NAMES.broken) }).getByRole("gridcell").first().click();
    await page.getByRole("dialog").getByRole("heading", { name: "History" }).waitFor();
    await shot(page, `alert-${theme}`);
    expect(await axe(page)).toEqual([]);
    await onTablet(page, `alert-tablet-${theme}`);
    if (theme === "dark") {
      await page.getByRole("button", { name: "Delete…" }).click();
      await page.getByLabel(/Type/).fill(NAMES.broken);
      await page.getByRole("button", { name: "Delete it" }).click();
      await page.getByRole("gridcell", { name: NAMES.broken }).waitFor({ state: "detached" });
    }
    expect(complaints).toEqual([]);
    await context.close();
  });
});
