// Dashboards, kept queries and how a query goes, against a server that needs no credentials and has the live data of
// `henge quickstart`. A server that is older than them is said to be so, and not walked.

import { readFileSync } from "node:fs";
import type { Locator, Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { axe, HENGE, onTablet, shot, walking } from "./browser";

const served = (await fetch(`${HENGE}/henge/v1/dashboards`)).status !== 404;
const told = (await (await fetch(`${HENGE}/henge/v1/queries/none`)).text()).includes("there is no GET") === false;
if (!served || !told) console.warn(`NOT WALKED: the server has no ${served ? "progress of queries" : "dashboards"}`);

const W = "WHERE __time >= :from AND __time < :to AND (:channel = '*' OR channel = :channel)";
const panel = (id: string, title: string, kind: string, query: string, x: number, y: number, w: number, h: number, unit: string | null = null): object => ({ id, title, kind, query, unit, x, y, w, h });
const CONTENT = {
  range: "PT15M",
  refreshSeconds: 10,
  variables: [{ name: "channel", label: "Channel", values: null, query: "SELECT '*' UNION ALL (SELECT channel FROM wikipedia GROUP BY 1 ORDER BY 1)", default: "*" }],
  panels: [
    panel("p1", "Edits", "number", `SELECT TIME_FLOOR(__time, :grain) t, COUNT(*) FROM wikipedia ${W} GROUP BY 1 ORDER BY 1`, 0, 0, 3, 2, "edits"),
    panel("p2", "Added", "number", `SELECT SUM(added) FROM wikipedia ${W}`, 3, 0, 3, 2, "bytes"),
    panel("p3", "Share of robots", "number", `SELECT 100.0 * COUNT(*) FILTER (WHERE isRobot = 'true') / COUNT(*) FROM wikipedia ${W}`, 6, 0, 3, 2, "percent"),
    panel("p4", "Largest change", "number", `SELECT MAX(added) FROM wikipedia ${W}`, 9, 0, 3, 2, "bytes"),
    panel("p5", "Edits by channel", "line", `SELECT TIME_FLOOR(__time, :grain) AS "time", channel, COUNT(*) AS edits FROM wikipedia ${W} GROUP BY 1, 2`, 0, 2, 8, 5),
    panel("p6", "Namespaces", "pie", `SELECT namespace, COUNT(*) n FROM wikipedia ${W} GROUP BY 1`, 8, 2, 4, 5),
    panel("p7", "Channels", "bar", `SELECT channel, SUM(added) a FROM wikipedia ${W} GROUP BY 1`, 0, 7, 4, 5, "bytes"),
    panel("p8", "When and where", "heat", `SELECT TIME_FLOOR(__time, 'PT1M') t, channel, COUNT(*) n FROM wikipedia ${W} GROUP BY 1, 2`, 4, 7, 8, 5),
    panel("p9", "The last edits, under a title so long that there is no room for all of it in the one line that a panel has for its title", "table", `SELECT __time, channel, page, "user", added FROM wikipedia ${W} ORDER BY __time DESC LIMIT 50`, 0, 12, 8, 5),
    panel("p10", "Broken", "line", "SELECT nothing FROM wikipedia", 8, 12, 4, 5),
  ],
};

/** Names that would be markup or turn what stands beside them around, if they were anything but text. */
const HOSTILE = '<img src=x onerror="window.hurt = 1"> \u202Eesrever';

/** The browser itself reports the status of a statement that is refused. */
const beyond = (complaints: string[], ...statuses: number[]): string[] => complaints.filter((one) => !statuses.some((status) => one.includes(`status of ${status}`)));

describe.skipIf(!served)("dashboards and kept queries", () => {
  const walk = walking(HENGE, 2);
  const made: [string, string][] = [];

  const send = async (path: string, method: string, body?: unknown): Promise<Record<string, unknown>> => {
    const answer = await fetch(HENGE + path, { method, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
  };
  const keep = async (where: string, name: string, content: unknown): Promise<string> => {
    const { id } = await send(`/henge/v1/${where}`, "POST", { name, description: "for the team on duty", sharedWith: [], content });
    made.push([where, String(id)]);
    return String(id);
  };
  /** Changed by somebody else meanwhile. */
  const overtake = async (where: string, id: string, change: Record<string, unknown>): Promise<void> => {
    const { name, description, sharedWith, content, version } = await send(`/henge/v1/${where}/${id}`, "GET");
    await send(`/henge/v1/${where}/${id}`, "PUT", { name, description, sharedWith, content, version, ...change });
  };
  const boxOf = async (section: Locator): Promise<string> => (await section.getAttribute("style")) ?? "";
  const write = async (page: Page, text: string): Promise<void> => {
    await page.locator(".cm-content").last().click();
    await page.keyboard.press("Control+a");
    await page.keyboard.insertText(text);
  };

  afterAll(async () => {
    for (const [where, id] of made) await send(`/henge/v1/${where}/${id}`, "DELETE").catch(() => undefined);
  });

  describe.each(["light", "dark"] as const)("in %s", (theme) => {
    test("the list, a dashboard of every kind of panel, and changing it", async () => {
      const id = await keep("dashboards", `Edits at a glance, ${theme}`, CONTENT);
      const { context, page, complaints } = await walk.visit(theme, { width: 1440, height: 1500 });
      await page.goto(`${walk.url}/dashboards`);
      await page.getByRole("gridcell", { name: `Edits at a glance, ${theme}`, exact: true }).waitFor();
      await shot(page, `dashboards-${theme}`);
      expect(await axe(page)).toEqual([]);
      await onTablet(page, `dashboards-tablet-${theme}`);
      expect(complaints).toEqual([]);
      await page.getByRole("gridcell", { name: `Edits at a glance, ${theme}`, exact: true }).click();
      await page.getByRole("region", { name: "Edits by channel" }).locator("canvas").waitFor();
      await page.getByRole("region", { name: "Namespaces" }).getByRole("img", { name: "Shares of the whole" }).waitFor();
      await page.getByRole("region", { name: "Channels" }).getByText("#en.wikipedia").waitFor();
      await page.getByRole("region", { name: "When and where" }).getByRole("img", { name: "Heat map" }).waitFor();
      await page.getByRole("region", { name: /The last edits/ }).getByRole("grid").waitFor();
      await page.getByRole("region", { name: "Edits", exact: true }).getByText(/[\d,]+ edits/).waitFor();
      // What is wrong with one panel is told in it, and the others stand.
      await page.getByRole("region", { name: "Broken" }).getByRole("alert").waitFor();
      expect(await page.getByRole("alert").count()).toBe(1);
      await page.waitForTimeout(500);
      await shot(page, `dashboard-${theme}`);
      expect(await axe(page)).toEqual([]);
      await onTablet(page, `dashboard-tablet-${theme}`);
      await page.getByRole("button", { name: "Edit", exact: true }).click();
      await page.getByRole("button", { name: "Move Namespaces", exact: true }).waitFor();
      await shot(page, `dashboard-edit-${theme}`);
      expect(await axe(page)).toEqual([]);
      await page.getByRole("button", { name: "Change Edits by channel" }).click();
      await page.getByRole("dialog").locator("canvas").waitFor();
      await shot(page, `panel-${theme}`);
      expect(await axe(page)).toEqual([]);
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Variables" }).click();
      await shot(page, `variables-${theme}`);
      expect(await axe(page)).toEqual([]);
      expect(beyond(complaints, 400)).toEqual([]);
      await context.close();
      expect(id).not.toBe("");
    });
  });

  test("one is made by hand, its panels moved by the keyboard and by dragging, and it is so for whoever opens it next", async () => {
    const { context, page, complaints } = await walk.visit("light");
    await page.goto(`${walk.url}/dashboards`);
    await page.getByRole("button", { name: "New dashboard" }).click();
    await shot(page, "dashboard-new");
    expect(await axe(page)).toEqual([]);
    const name = `By hand ${Date.now()}`;
    await page.getByLabel("Name").fill(name);
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByRole("button", { name: "Add the first" }).waitFor();
    made.push(["dashboards", new URL(page.url()).searchParams.get("id") ?? ""]);
    await shot(page, "dashboard-empty");
    const add = async (title: string, kind: string, statement: string): Promise<void> => {
      await page.getByRole("button", { name: "Panel", exact: true }).click();
      await page.getByLabel("Title").fill(title);
      await page.getByLabel("Shown as").selectOption(kind);
      await write(page, statement);
      await page.getByRole("button", { name: "Add it" }).click();
      await page.getByRole("region", { name: title }).waitFor();
    };
    await add("Over time", "line", 'SELECT TIME_FLOOR(__time, :grain) AS "time", COUNT(*) AS n FROM wikipedia WHERE __time >= :from AND __time < :to GROUP BY 1');
    await add("By channel", "bar", "SELECT channel, COUNT(*) AS n FROM wikipedia WHERE __time >= :from AND __time < :to GROUP BY 1");
    const [line, bar] = [page.getByRole("region", { name: "Over time" }), page.getByRole("region", { name: "By channel" })];
    expect([await boxOf(line), await boxOf(bar)]).toEqual(["--x: 1; --y: 1; --w: 8; --h: 5;", "--x: 9; --y: 1; --w: 4; --h: 5;"]);
    // By the keyboard: narrower, then below the other.
    await page.getByRole("button", { name: "Move Over time", exact: true }).focus();
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Shift+ArrowLeft");
    expect(await boxOf(line)).toBe("--x: 1; --y: 1; --w: 6; --h: 5;");
    await page.getByRole("button", { name: "Size of By channel" }).focus();
    for (let at = 0; at < 2; at += 1) await page.keyboard.press("ArrowUp");
    await page.getByRole("button", { name: "Move By channel", exact: true }).focus();
    for (let at = 0; at < 2; at += 1) await page.keyboard.press("ArrowLeft");
    expect(await boxOf(bar)).toBe("--x: 7; --y: 1; --w: 4; --h: 3;");
    await page.getByText("By channel: column 7, row 1, 4 wide, 3 high").waitFor({ state: "attached" });
    // The keyboard stays with what it moves.
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label')")).toBe("Move By channel");
    // By dragging: onto the place of the other, which gives way.
    const from = await page.getByRole("button", { name: "Move By channel", exact: true }).boundingBox();
    const to = await line.boundingBox();
    if (from === null || to === null) throw new Error("no panels");
    await page.mouse.move(from.x + 10, from.y + 10);
    await page.mouse.down();
    await page.mouse.move(to.x + 20, to.y + 12, { steps: 6 });
    await page.mouse.up();
    expect([await boxOf(bar), await boxOf(line)]).toEqual(["--x: 1; --y: 1; --w: 4; --h: 3;", "--x: 1; --y: 4; --w: 6; --h: 5;"]);
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("button", { name: "Edit", exact: true }).waitFor();
    await shot(page, "dashboard-by-hand");
    await page.reload();
    await bar.waitFor();
    expect([await boxOf(bar), await boxOf(line)]).toEqual(["--x: 1; --y: 1; --w: 4; --h: 3;", "--x: 1; --y: 4; --w: 6; --h: 5;"]);
    // Close at hand, it is at home too.
    await page.getByRole("button", { name: `Keep ${name} close at hand` }).click();
    await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Home" }).click();
    await page.getByRole("navigation", { name: "Dashboards close at hand" }).getByRole("link", { name }).click();
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("menuitem", { name: "Delete…" }).click();
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByRole("heading", { name: "Dashboards" }).waitFor();
    expect(await page.getByRole("gridcell", { name, exact: true }).count()).toBe(0);
    expect(complaints).toEqual([]);
    await context.close();
  });

  test("variables and time are in the address; panels follow live data, and rest while nobody looks", async () => {
    const id = await keep("dashboards", "Variables", { ...CONTENT, refreshSeconds: 1, panels: CONTENT.panels.slice(0, 1) });
    const { context, page, complaints } = await walk.visit("light");
    const asked: string[] = [];
    page.on("request", (request) => {
      const body = request.postData() ?? "";
      if (request.url().endsWith("/druid/v2/sql") && body.includes("sqlOuterLimit") && body.includes("TIME_FLOOR")) asked.push(body);
    });
    await page.goto(`${walk.url}/dashboards?id=${id}`);
    await page.getByText(/[\d,]+ edits/).waitFor();
    await page.getByLabel("Channel").selectOption("#de.wikipedia");
    await page.waitForURL(/var-channel=%23de.wikipedia/);
    await page.getByLabel("Time").selectOption("P1D");
    await page.waitForURL(/last=P1D/);
    await expect.poll(() => asked.at(-1)?.includes("channel = '#de.wikipedia'") === true && asked.at(-1)?.includes("PT15M") === true).toBe(true);
    await page.reload();
    await page.getByText(/[\d,]+ edits/).waitFor();
    expect(await page.getByLabel("Channel").inputValue()).toBe("#de.wikipedia");
    const before = asked.length;
    await expect.poll(() => asked.length, { timeout: 10_000 }).toBeGreaterThan(before + 1);
    await page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away === true, configurable: true }); window.away = true; document.dispatchEvent(new Event('visibilitychange'))");
    await page.waitForTimeout(1500);
    const resting = asked.length;
    await page.waitForTimeout(3000);
    expect(asked.length).toBe(resting);
    await page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))");
    await expect.poll(() => asked.length).toBeGreaterThan(resting);
    // Two instants, typed.
    await page.getByLabel("Time").selectOption("own");
    await page.getByRole("textbox", { name: "From" }).fill("2026-01-01 00:00:00");
    await page.getByRole("button", { name: "Show" }).click();
    await page.waitForURL(/from=2026-01-01T00%3A00%3A00.000Z/);
    await shot(page, "dashboard-fixed");
    expect(await axe(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await context.close();
  });

  test("who is overtaken chooses; a dashboard goes out as a file and comes back", async () => {
    const id = await keep("dashboards", "Overtaken", { ...CONTENT, panels: CONTENT.panels.slice(0, 2) });
    const { context, page, complaints } = await walk.visit("dark");
    await page.goto(`${walk.url}/dashboards?id=${id}`);
    await page.getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByRole("button", { name: "Remove Added" }).click();
    await overtake("dashboards", id, { name: "Overtaken, by somebody" });
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("heading", { name: "Somebody else has changed this dashboard" }).waitFor();
    await shot(page, "dashboard-clash");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Put mine over it" }).click();
    await page.getByRole("heading", { name: "Overtaken", exact: true }).waitFor();
    await page.getByRole("region", { name: "Edits" }).waitFor();
    expect(await page.getByRole("region", { name: "Added" }).count()).toBe(0);
    await page.getByRole("button", { name: "More" }).click();
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "Export as JSON" }).click()]);
    expect(file.suggestedFilename()).toBe("Overtaken.json");
    const exported = JSON.parse(readFileSync(await file.path(), "utf8")) as { content: { panels: unknown[] } };
    expect(exported.content.panels).toHaveLength(1);
    await page.goto(`${walk.url}/dashboards`);
    const chooser = page.waitForEvent("filechooser");
    await page.getByRole("button", { name: "Import" }).click();
    await (await chooser).setFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify({ ...exported, name: HOSTILE, content: { ...exported.content, panels: [{ ...(exported.content.panels[0] as object), title: `${HOSTILE} ${"long ".repeat(20)}` }] } })) });
    await expect.poll(() => page.locator("h1").textContent()).toBe(HOSTILE);
    await page.getByText(/[\d,]+ edits/).waitFor();
    await shot(page, "dashboard-hostile");
    expect(await page.evaluate("window.hurt")).toBeUndefined();
    expect(await page.locator("main img").count()).toBe(0);
    made.push(["dashboards", new URL(page.url()).searchParams.get("id") ?? ""]);
    await page.goto(`${walk.url}/dashboards`);
    const second = page.waitForEvent("filechooser");
    await page.getByRole("button", { name: "Import" }).click();
    await (await second).setFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from('{"panel": "<script>window.hurt = 1</script>"}') });
    await page.getByText("it has no list of panels").waitFor();
    expect(beyond(complaints, 409)).toEqual([]);
    await context.close();
  });

  test("a query is saved, shared, opened, overtaken, and put on a dashboard", async () => {
    const { context, page, complaints } = await walk.visit("light");
    const name = `Edits by channel ${Date.now()}`;
    await page.goto(`${walk.url}/query?q=${encodeURIComponent("SELECT channel, COUNT(*) AS n FROM wikipedia GROUP BY 1")}`);
    await page.locator(".cm-content").getByText("COUNT").first().waitFor();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Description").fill("How many edits each channel has");
    await page.getByLabel("admin").check();
    await shot(page, "query-save");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Save it" }).click();
    await page.getByRole("group", { name: "Sheets" }).getByText(name).waitFor();
    await page.getByRole("button", { name: "Saved", exact: true }).click();
    await page.getByRole("dialog").getByText("shared with admin").waitFor();
    await shot(page, "query-saved");
    expect(await axe(page)).toEqual([]);
    const all = (await send("/henge/v1/saved-queries", "GET")) as unknown as { id: string; name: string }[];
    const id = all.find((one) => one.name === name)?.id ?? "";
    made.push(["saved-queries", id]);
    await page.getByRole("button", { name: `Rename and share ${name}` }).click();
    await page.getByRole("textbox", { name: "Name" }).last().fill(`${name}, renamed`);
    await page.getByRole("dialog").getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: `${name}, renamed`, exact: true }).click();
    await page.getByRole("group", { name: "Sheets" }).getByText(`${name}, renamed`).waitFor();
    // Overtaken by somebody: theirs is taken.
    await overtake("saved-queries", id, { content: { language: "sql", text: "SELECT 'theirs' AS whose" } });
    await page.locator(".cm-content").click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" LIMIT 3");
    await page.getByRole("img", { name: "not saved" }).waitFor();
    await page.keyboard.press("Control+s");
    await page.getByRole("heading", { name: "Somebody else has changed this query" }).waitFor();
    await shot(page, "query-clash");
    await page.getByRole("button", { name: "Take theirs" }).click();
    await page.locator(".cm-content").getByText("'theirs'").waitFor();
    expect(await page.getByRole("img", { name: "not saved" }).count()).toBe(0);
    // It is there for a browser that has never seen it, by its link.
    const other = await walk.visit("dark");
    await other.page.goto(`${walk.url}/query?saved=${id}`);
    await other.page.locator(".cm-content").getByText("'theirs'").waitFor();
    await other.context.close();
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByRole("gridcell", { name: "theirs" }).waitFor();
    await page.getByRole("button", { name: "Add to a dashboard" }).click();
    await page.getByRole("combobox", { name: "Dashboard", exact: true }).selectOption("new");
    const board = `From a query ${Date.now()}`;
    await page.getByLabel("Name of the dashboard").fill(board);
    await page.getByLabel("Title of the panel").fill("Whose");
    await shot(page, "query-to-dashboard");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Add it" }).click();
    await page.getByRole("heading", { name: board }).waitFor();
    made.push(["dashboards", new URL(page.url()).searchParams.get("id") ?? ""]);
    await page.getByRole("region", { name: "Whose" }).getByRole("gridcell", { name: "theirs" }).waitFor();
    expect(beyond(complaints, 409)).toEqual([]);
    await context.close();
  });

  test.skipIf(!told)("a query tells how far it is, and afterwards where its time went", async () => {
    const { context, page, complaints } = await walk.visit("light");
    const run = async (text: string): Promise<void> => {
      await page.goto(`${walk.url}/query?q=${encodeURIComponent(text)}`);
      await page.getByRole("button", { name: "Run" }).click();
    };
    // Hours of work, whose segments are read at once.
    await run("SELECT COUNT(*) AS n FROM wikipedia a JOIN wikipedia b ON a.namespace = b.namespace JOIN wikipedia c ON b.namespace = c.namespace JOIN wikipedia d ON c.namespace = d.namespace JOIN wikipedia e ON d.namespace = e.namespace");
    await page.getByText(/rows read|of [\d,]+ segments?/).first().waitFor();
    await shot(page, "progress");
    expect(await axe(page)).toEqual([]);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("The server was told to stop.").waitFor();
    for (const theme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme: theme });
      await run(`SELECT channel, COUNT(*) AS n FROM wikipedia GROUP BY 1 ORDER BY 2 DESC LIMIT ${theme.length}`);
      await page.getByRole("button", { name: "Course" }).click();
      await page.getByText("The last run took").waitFor();
      await page.getByText("grouped by").or(page.getByText("aggregates")).first().waitFor();
      await shot(page, `course-${theme}`);
      expect(await axe(page)).toEqual([]);
      // Over the plan, too.
      await page.getByRole("button", { name: "Explain" }).click();
      await page.getByText("Reads wikipedia").waitFor();
      await page.getByText("The last run took").waitFor();
    }
    await run('{"queryType": "timeseries", "dataSource": "wikipedia", "granularity": "hour", "intervals": ["2020/2100"], "aggregations": [{"type": "count", "name": "n"}]}');
    await page.getByRole("button", { name: "Course" }).click();
    await page.getByText("The last run took").waitFor();
    // The one that was cancelled ends in Druid's answer to that.
    expect(beyond(complaints, 500)).toEqual([]);
    await context.close();
  });

  test("on a tablet panels stand one below the other, figures two by two", async () => {
    const id = await keep("dashboards", "On a tablet", CONTENT);
    const { context, page } = await walk.visit("light", { width: 700, height: 1112 });
    await page.goto(`${walk.url}/dashboards?id=${id}`);
    await page.getByRole("region", { name: "Edits", exact: true }).getByText(/[\d,]+ edits/).waitFor();
    const at = async (name: string): Promise<{ x: number; y: number }> => (await page.getByRole("region", { name, exact: true }).boundingBox()) ?? { x: -1, y: -1 };
    const [edits, added, lines, shares] = [await at("Edits"), await at("Added"), await at("Edits by channel"), await at("Namespaces")];
    expect([added.y === edits.y, added.x > edits.x, lines.x === edits.x, shares.x === lines.x, shares.y > lines.y]).toEqual([true, true, true, true, true]);
    await shot(page, "dashboard-tablet");
    expect(await axe(page)).toEqual([]);
    await context.close();
  });
});
