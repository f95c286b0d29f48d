import { expect, test } from "vitest";
import { addressOf, LONGEST_LINK, parametersOf } from "./router";

test("a statement stands behind the hash, where no server and no log sees it, and is read from there and from before it", () => {
  const statement = "SELECT '#?&=%+ ü\n' AS \"a b\"";
  const address = addressOf("/query", { q: statement, tab: "x" });
  const [sent, kept] = address.split("#");
  expect(sent).toBe("/console/query?tab=x");
  expect(kept).not.toContain(" ");
  const read = (text: string): Record<string, string> => Object.fromEntries(parametersOf(new URL(text, "http://h")));
  expect(read(address)).toEqual({ q: statement, tab: "x" });
  expect(read(`/console/query?q=${encodeURIComponent(statement)}`)).toEqual({ q: statement });
  // The way to the main part of the page is no parameter.
  expect(read("/console/query?tab=x#main")).toEqual({ tab: "x" });
  expect(addressOf("/", {})).toBe("/console/");
  expect(addressOf("/query", { q: "", tab: null })).toBe("/console/query");
});

test("however long a statement is, what is asked of the server is short", () => {
  const address = addressOf("/query", { q: "x".repeat(500_000) });
  expect(address.split("#")[0]).toBe("/console/query");
  expect(address.length).toBeGreaterThan(LONGEST_LINK);
});
