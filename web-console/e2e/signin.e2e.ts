// Signing in, sessions that end, and a person who may see one channel only: against a server that needs credentials
// (`henge quickstart --set auth.required=true`, HENGE_AUTH_URL, its administrator's password in HENGE_AUTH_PASSWORD).

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { axe, onTablet, shot, walking } from "./browser";

const HENGE = process.env.HENGE_AUTH_URL;
const PASSWORD = process.env.HENGE_AUTH_PASSWORD ?? "";
const ANN = `ann${Date.now()}`;
const SECRET = "ann has a long password";
/** What a server that keeps dashboards adds to everybody's pages. */
const dashboards =
  HENGE === undefined || (await fetch(`${HENGE}/henge/v1/dashboards`, { headers: { Authorization: `Basic ${btoa(`admin:${PASSWORD}`)}` } })).status === 404 ? [] : ["Dashboards"];

describe.skipIf(HENGE === undefined)("where credentials are needed", () => {
  const walk = walking(HENGE ?? "", 1);
  const admin = (path: string, method: string, body?: unknown): Promise<Response> =>
    fetch(HENGE + path, { method, headers: { Authorization: `Basic ${btoa(`admin:${PASSWORD}`)}`, "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });

  beforeAll(async () => {
    await admin(`/henge/v1/security/roles/${ANN}`, "PUT", {
      permissions: [{ resource: { type: "DATASOURCE", name: "wikipedia" }, action: "READ" }],
      policies: [{ name: "own channel", datasource: "wikipedia", kind: "permissive", sql: "channel = USER_ATTRIBUTE('channel')" }],
    });
    const made = await admin(`/henge/v1/security/users/${ANN}`, "PUT", { password: SECRET, roles: [ANN], attributes: { channel: ["#en.wikipedia"] } });
    expect(made.status).toBeLessThan(300);
  });
  afterAll(async () => {
    await admin(`/henge/v1/security/users/${ANN}`, "DELETE");
    await admin(`/henge/v1/security/roles/${ANN}`, "DELETE");
  });

  const signIn = async (page: Page, name: string, password: string): Promise<void> => {
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  /** The browser itself reports the 401 by which the page learns that nobody is signed in. */
  const beyond401 = (complaints: string[]): string[] => complaints.filter((one) => !one.includes("status of 401"));

  test.each(["light", "dark"] as const)("signing in, in %s", async (theme) => {
    const { context, page, complaints } = await walk.visit(theme);
    await page.goto(`${walk.url}/services`);
    await page.getByRole("heading", { name: "Sign in to Henge" }).waitFor();
    await shot(page, `signin-${theme}`);
    await onTablet(page, `signin-tablet-${theme}`);
    expect(await axe(page)).toEqual([]);
    await signIn(page, "admin", "wrong");
    await page.getByText("The name or the password is wrong.").waitFor();
    await signIn(page, "admin", PASSWORD);
    await page.getByRole("heading", { name: "Services" }).waitFor();
    const kept = await page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie");
    expect(kept).not.toContain(PASSWORD);
    expect(kept).not.toMatch(/csrf|henge_session|[0-9a-f]{32}/i);
    await page.getByRole("button", { name: /admin/ }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to Henge" }).waitFor();
    expect(beyond401(complaints)).toEqual([]);
    await context.close();
  });

  test("a session that ends in the midst of work, and work that goes on", async () => {
    const { context, page } = await walk.visit("light");
    await page.goto(`${walk.url}/query`);
    await signIn(page, ANN, SECRET);
    await page.locator(".cm-content").click();
    await page.keyboard.insertText("SELECT channel, COUNT(*) AS n FROM wikipedia GROUP BY 1");
    await admin(`/henge/v1/security/users/${ANN}/sessions`, "DELETE");
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByRole("heading", { name: "Your session has ended" }).waitFor();
    await shot(page, "session-ended");
    await page.getByLabel("Password").fill(SECRET);
    await page.getByRole("button", { name: "Sign in" }).click();
    // What was asked is asked again, and she sees her own channel only.
    await page.getByRole("gridcell", { name: "#en.wikipedia" }).waitFor();
    expect(await page.getByText("1 row in").count()).toBe(1);
    await context.close();
  });

  test("two tabs: who signs in in one goes on in the other, and another person begins anew", async () => {
    const { context, page } = await walk.visit("light");
    await page.goto(`${walk.url}/query`);
    await signIn(page, ANN, SECRET);
    await page.locator(".cm-content").click();
    await page.keyboard.insertText("SELECT channel, COUNT(*) AS n FROM wikipedia GROUP BY 1");
    const leave = async (tab: Page, name: string | RegExp): Promise<void> => {
      await tab.getByRole("button", { name }).click();
      await tab.getByRole("menuitem", { name: "Sign out" }).click();
      await tab.getByRole("heading", { name: "Sign in to Henge" }).waitFor();
    };
    const second = await context.newPage();
    await second.goto(`${walk.url}/me`);
    await leave(second, new RegExp(ANN));
    await signIn(second, ANN, SECRET);
    await second.getByRole("navigation").waitFor();
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByRole("gridcell", { name: "#en.wikipedia" }).waitFor();
    await leave(second, new RegExp(ANN));
    await signIn(second, "admin", PASSWORD);
    await second.getByRole("navigation").getByRole("link", { name: "Access" }).waitFor();
    const anew = page.waitForEvent("load");
    await page.getByRole("button", { name: "Run" }).click();
    await anew;
    await page.getByRole("navigation").getByRole("link", { name: "Access" }).waitFor();
    await context.close();
  });

  test("a sign-out that the server does not answer is none", async () => {
    const { context, page } = await walk.visit("light");
    await page.goto(`${walk.url}/`);
    await signIn(page, "admin", PASSWORD);
    await page.route("**/security/logout", (route) => route.fulfill({ status: 503, body: '{"error":"the catalog is away"}' }));
    await page.getByRole("button", { name: /admin/ }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByRole("dialog").getByText("the catalog is away").waitFor();
    await page.getByRole("heading", { name: "You are still signed in" }).waitFor();
    expect(await axe(page)).toEqual([]);
    await page.unroute("**/security/logout");
    await page.getByRole("dialog").getByRole("button", { name: /again/i }).click();
    await page.getByRole("heading", { name: "Sign in to Henge" }).waitFor();
    expect(await page.getByRole("dialog").count()).toBe(0);
    await context.close();
  });

  test("an auditor sees the audit log, and no other table of the system", async () => {
    const name = `auditor${Date.now()}`;
    await admin(`/henge/v1/security/roles/${name}`, "PUT", { permissions: [{ resource: { type: "SYSTEM_TABLE", name: "audit" }, action: "READ" }], policies: [] });
    await admin(`/henge/v1/security/users/${name}`, "PUT", { password: SECRET, roles: [name], attributes: {} });
    const { context, page, complaints } = await walk.visit("light");
    await page.goto(`${walk.url}/`);
    await signIn(page, name, SECRET);
    await page.getByRole("navigation").getByRole("link", { name: "Audit log" }).waitFor();
    const links = await page.getByRole("navigation").getByRole("link").allInnerTexts();
    expect(links.map((one) => one.trim())).toEqual(["Henge", "Home", "Query", "Explore", ...dashboards, "Datasources", "Audit log", "API"]);
    await page.getByText("Newest event").or(page.getByText("No data yet")).first().waitFor();
    await page.getByRole("navigation").getByRole("link", { name: "Datasources" }).click();
    await page.getByRole("heading", { name: "Datasources" }).waitFor();
    await page.getByRole("navigation").getByRole("link", { name: "Audit log" }).click();
    await page.getByRole("gridcell", { name: "signin" }).first().waitFor();
    await shot(page, "auditor");
    await page.goto(`${walk.url}/segments`);
    await page.getByText("There is no such page").waitFor();
    expect(beyond401(complaints)).toEqual([]);
    await context.close();
    await admin(`/henge/v1/security/users/${name}`, "DELETE");
    await admin(`/henge/v1/security/roles/${name}`, "DELETE");
  });

  test("who may see one channel is shown that and no more", async () => {
    const { context, page, complaints } = await walk.visit("dark");
    await page.goto(`${walk.url}/`);
    await signIn(page, ANN, SECRET);
    await page.getByText("All is well").waitFor();
    await page.waitForTimeout(1000);
    const links = await page.getByRole("navigation").getByRole("link").allInnerTexts();
    expect(links.map((one) => one.trim())).toEqual(["Henge", "Home", "Query", "Explore", ...dashboards, "Datasources", "API"]);
    await shot(page, "restricted-home");
    await onTablet(page, "restricted-home-tablet");
    expect(await axe(page)).toEqual([]);
    for (const path of ["/query", "/explore", "/datasources?name=wikipedia"]) {
      await page.goto(walk.url + path);
      await page.waitForTimeout(1500);
    }
    await shot(page, "restricted-datasource");
    await page.goto(`${walk.url}/explore?source=wikipedia`);
    await page.getByRole("button", { name: /#en\.wikipedia/ }).waitFor();
    expect(await page.getByRole("button", { name: /#de\.wikipedia/ }).count()).toBe(0);
    await shot(page, "restricted-explore");
    await page.goto(`${walk.url}/access`);
    await page.getByText("There is no such page").waitFor();
    expect(beyond401(complaints)).toEqual([]);
    await context.close();
  });

  test.skipIf(dashboards.length === 0)("a shared dashboard shows each what they may see, and what one sets follows to another browser", async () => {
    const made = await admin("/henge/v1/dashboards", "POST", {
      name: `For ${ANN}`,
      description: "shared with her role",
      sharedWith: [ANN],
      content: {
        range: "PT1H",
        refreshSeconds: null,
        variables: [],
        panels: [{ id: "p1", title: "Channels", kind: "table", query: "SELECT channel, COUNT(*) AS n FROM wikipedia WHERE __time >= :from GROUP BY 1", unit: null, x: 0, y: 0, w: 6, h: 5 }],
      },
    });
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: string };
    const { context, page, complaints } = await walk.visit("light");
    await page.goto(`${walk.url}/dashboards`);
    await signIn(page, ANN, SECRET);
    await page.getByRole("gridcell", { name: `For ${ANN}`, exact: true }).click();
    await page.getByRole("region", { name: "Channels" }).getByRole("gridcell", { name: "#en.wikipedia" }).waitFor();
    expect(await page.getByRole("region", { name: "Channels" }).getByRole("gridcell", { name: /wikipedia/ }).count()).toBe(1);
    expect(await page.getByRole("button", { name: "Edit", exact: true }).count()).toBe(0);
    await shot(page, "restricted-dashboard");
    expect(await axe(page)).toEqual([]);
    // She keeps it close at hand, makes it dark, and has both elsewhere.
    await page.getByRole("button", { name: /close at hand/ }).click();
    await page.locator(".account").getByRole("button").click();
    await page.getByRole("menuitemradio", { name: "Dark" }).click();
    await page.keyboard.press("Escape");
    await page.waitForTimeout(1500);
    const other = await walk.visit("light");
    await other.page.goto(`${walk.url}/`);
    await signIn(other.page, ANN, SECRET);
    await other.page.getByRole("navigation", { name: "Dashboards close at hand" }).getByText(`For ${ANN}`).waitFor();
    expect(await other.page.evaluate("document.documentElement.dataset.theme")).toBe("dark");
    await other.page.goto(`${walk.url}/alerts`);
    await other.page.getByText("There is no such page").waitFor();
    await other.context.close();
    // What she may not change she may copy, and that is hers.
    await page.getByRole("button", { name: "More" }).click();
    expect(await page.getByRole("menuitem", { name: "Delete…" }).count()).toBe(0);
    await page.getByRole("menuitem", { name: "Make a copy…" }).click();
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByRole("button", { name: "Edit", exact: true }).waitFor();
    expect(beyond401(complaints)).toEqual([]);
    await context.close();
    await admin(`/henge/v1/dashboards/${id}`, "DELETE");
  });
});
