// The API's own page: what the server describes of itself, found, read and copied.

import { expect, test } from "vitest";
import { axe, HENGE, onTablet, shot, walking } from "./browser";

const walk = walking();


for (const theme of ["light", "dark"] as const) {
  test(`every operation of the document is listed, found and copied, in ${theme}`, async () => {
    const { context, page, complaints } = await walk.visit(theme);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const document = (await (await fetch(`${HENGE}/henge/v1/openapi.json`)).json()) as { paths: Record<string, Record<string, unknown>> };
    const methods = Object.values(document.paths).flatMap((one) => Object.keys(one).filter((key) => /^(get|post|put|delete|patch|head)$/.test(key)));
    await page.goto(`${walk.url}/api`);
    await page.getByRole("heading", { name: `${methods.length.toLocaleString("en-US")} operations` }).waitFor();
    expect(await page.getByRole("navigation", { name: "Operations" }).getByRole("link").count()).toBe(methods.length);
    await page.getByLabel("Find a path or a word").fill("users name");
    await page.getByRole("link", { name: /^PUT \/henge\/v1\/security\/users\/\{name\}$/ }).click();
    await page.getByRole("region", { name: "Operation", exact: true }).getByText("Rights").waitFor();
    expect(page.url()).toContain("op=PUT");
    await shot(page, `api-${theme}`);
    expect(await axe(page)).toEqual([]);
    await onTablet(page, `api-tablet-${theme}`);
    await page.getByRole("button", { name: "Copy as curl" }).click();
    await page.getByText("Copied").waitFor();
    const copied = (await page.evaluate("navigator.clipboard.readText()")) as string;
    expect(copied).toMatch(/^curl -X PUT 'http.*\/henge\/v1\/security\/users\/\{name\}' \\\n {2}-H 'Content-Type: application\/json' \\\n {2}--data-binary '\{/);
    // A link to an operation is one.
    await page.reload();
    await page.getByRole("region", { name: "Operation", exact: true }).getByText("/henge/v1/security/users/{name}").first().waitFor();
    await page.getByLabel("Find a path or a word").fill("there is nothing like this");
    await page.getByText("None like that").waitFor();
    expect(complaints).toEqual([]);
    await context.close();
  });
}
