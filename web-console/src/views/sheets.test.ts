import { expect, test } from "vitest";
import { add, close, languageOf, load, openKept, remember, save, unsaved, type Past } from "./sheets";

const store = (): Pick<Storage, "getItem" | "setItem"> & { kept: Map<string, string> } => {
  const kept = new Map<string, string>();
  return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
};

test("what is kept comes back to who wrote it and to nobody else", () => {
  const storage = store();
  const desk = add(load("ann", storage), "SELECT 1");
  save("ann", desk, storage);
  expect(load("ann", storage)).toEqual(desk);
  expect(load("bob", storage).sheets.map((one) => one.text)).toEqual([""]);
});

test("what cannot be read is begun anew", () => {
  const storage = store();
  for (const text of ["{", "null", '{"sheets":[{"id":1}]}', '{"sheets":"x"}']) {
    storage.kept.set("henge.desk.ann", text);
    expect(load("ann", storage).sheets).toHaveLength(1);
  }
});

test("there is always one sheet, and the neighbour opens", () => {
  let desk = add(load("ann", store()), "b");
  desk = add(desk, "c");
  const [first, second, third] = desk.sheets.map((one) => one.id);
  desk = close(desk, third ?? "");
  expect(desk.open).toBe(second);
  desk = close(close(desk, first ?? ""), second ?? "");
  expect(desk.sheets).toHaveLength(1);
  expect(desk.open).toBe(desk.sheets[0]?.id);
});

test("what is run again moves up, and no more than a hundred are kept", () => {
  let past: Past[] = [];
  for (let at = 0; at < 150; at += 1) past = remember(past, { text: `SELECT ${at % 120}`, at, tookMs: 1, rows: 1 });
  expect(past).toHaveLength(100);
  expect(past[0]?.text).toBe("SELECT 29");
  expect(remember(past, { text: "x".repeat(30_000), at: 0, tookMs: 1, rows: 1 })).toBe(past);
});

test("a JSON object is a native query", () => {
  expect([languageOf("  {"), languageOf("SELECT '{'"), languageOf("")]).toEqual(["json", "sql", "sql"]);
});

test("a kept query opens once, is known when the page is opened again, and a changed one is not lost", () => {
  const storage = store();
  const kept = { id: "q", version: 3, text: "SELECT 1", mayEdit: true };
  let desk = openKept(load("ann", storage), "Ones", kept);
  expect(desk.sheets.map((one) => [one.title, one.kept?.version])).toEqual([["Query 1", undefined], ["Ones", 3]]);
  save("ann", desk, storage);
  desk = openKept(load("ann", storage), "Ones, renamed", { ...kept, version: 4 });
  expect(desk.sheets.map((one) => [one.title, one.kept?.version])).toEqual([["Query 1", undefined], ["Ones, renamed", 4]]);
  const changed = { ...desk, sheets: desk.sheets.map((one) => (one.id === desk.open ? { ...one, text: "SELECT 2" } : one)) };
  expect(changed.sheets.map(unsaved)).toEqual([false, true]);
  expect(openKept(changed, "Ones", kept).sheets.map((one) => one.text)).toEqual(["", "SELECT 2", "SELECT 1"]);
  // What is no mark of a kept query is taken for none.
  storage.setItem("henge.desk.bob", JSON.stringify({ sheets: [{ id: "a", title: "A", text: "x", kept: { id: 7 } }], open: "a" }));
  expect(load("bob", storage).sheets[0]?.kept).toBeUndefined();
});
