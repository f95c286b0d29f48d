// What a person writes on the query page, kept by this browser for this person: open sheets and what was run before. Texts of
// statements only: neither results nor anything that lets somebody in.

export interface Sheet {
  id: string;
  title: string;
  text: string;
  /** Of a query that the server keeps: which, and its text as it was when it was opened or saved last. */
  kept?: KeptAs;
}

export interface KeptAs {
  id: string;
  version: number;
  text: string;
  mayEdit: boolean;
}

export interface Past {
  text: string;
  at: number;
  /** Milliseconds; `null` where it failed. */
  tookMs: number | null;
  rows: number | null;
}

export interface Desk {
  sheets: Sheet[];
  open: string;
  past: Past[];
}

const PAST_MAX = 100;
const TEXT_MAX = 20_000;
const SHEETS_MAX = 30;

export const newSheet = (text: string, number: number): Sheet => ({ id: crypto.randomUUID?.() ?? String(Math.random()), title: `Query ${number}`, text });

/** What this browser keeps things in; one that keeps nothing has an empty one. */
export function kept(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return window.localStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined };
  }
}

const keyOf = (username: string): string => `henge.desk.${username}`;

const isKeptAs = (said: Partial<KeptAs> | undefined): said is KeptAs => typeof said?.id === "string" && typeof said.version === "number" && typeof said.text === "string" && typeof said.mayEdit === "boolean";

export function load(username: string, storage: Pick<Storage, "getItem">): Desk {
  try {
    const said = JSON.parse(storage.getItem(keyOf(username)) ?? "null") as Partial<Desk> | null;
    const sheets = (said?.sheets ?? []).filter((one) => typeof one.id === "string" && typeof one.text === "string").slice(0, SHEETS_MAX);
    const first = sheets[0];
    if (first !== undefined) {
      return {
        sheets: sheets.map(({ kept: as, ...one }, at) => ({ ...one, ...(isKeptAs(as) ? { kept: as } : {}), title: typeof one.title === "string" ? one.title : `Query ${at + 1}` })),
        open: sheets.some((one) => one.id === said?.open) ? (said?.open ?? first.id) : first.id,
        past: (said?.past ?? []).filter((one) => typeof one.text === "string").slice(0, PAST_MAX),
      };
    }
  } catch {
    // What cannot be read is begun anew.
  }
  const sheet = newSheet("", 1);
  return { sheets: [sheet], open: sheet.id, past: [] };
}

export function save(username: string, desk: Desk, storage: Pick<Storage, "setItem">): void {
  const kept: Desk = { ...desk, sheets: desk.sheets.map((one) => ({ ...one, text: one.text.slice(0, TEXT_MAX), ...(one.kept === undefined ? {} : { kept: { ...one.kept, text: one.kept.text.slice(0, TEXT_MAX) } }) })) };
  try {
    storage.setItem(keyOf(username), JSON.stringify(kept));
  } catch {
    // Full, or not allowed: it lasts as long as the page.
  }
}

/** The newest first; what is run again moves up. Texts too long to be wanted back are not kept. */
export function remember(past: Past[], one: Past): Past[] {
  if (one.text.length > TEXT_MAX) return past;
  return [one, ...past.filter((before) => before.text !== one.text)].slice(0, PAST_MAX);
}

export function add(desk: Desk, text: string): Desk {
  const number = 1 + Math.max(0, ...desk.sheets.map((one) => Number(/^Query (\d+)$/.exec(one.title)?.[1] ?? 0)));
  const sheet = newSheet(text, number);
  return { ...desk, sheets: [...desk.sheets, sheet].slice(-SHEETS_MAX), open: sheet.id };
}

/** There is always one sheet; the neighbour of the open one opens when that is closed. */
export function close(desk: Desk, id: string): Desk {
  const at = desk.sheets.findIndex((one) => one.id === id);
  const sheets = desk.sheets.filter((one) => one.id !== id);
  if (sheets.length === 0) return add({ ...desk, sheets: [] }, "");
  const next = sheets[Math.min(at, sheets.length - 1)];
  return { ...desk, sheets, open: desk.open === id ? (next?.id ?? desk.open) : desk.open };
}

/** A text that begins a JSON object is a native query. */
export const languageOf = (text: string): "sql" | "json" => (/^\s*\{/.test(text) ? "json" : "sql");

/** Whether a sheet says something else than what is kept of it. */
export const unsaved = (sheet: Sheet): boolean => sheet.kept !== undefined && sheet.kept.text !== sheet.text;

/** With a kept query: in the sheet where it is open already, if that has not been changed, or else in a new one. */
export function openKept(desk: Desk, name: string, kept: KeptAs): Desk {
  const same = desk.sheets.find((one) => one.kept?.id === kept.id && !unsaved(one));
  if (same !== undefined) return { ...desk, open: same.id, sheets: desk.sheets.map((one) => (one.id === same.id ? { ...one, title: name, text: kept.text, kept } : one)) };
  const next = add(desk, kept.text);
  return { ...next, sheets: next.sheets.map((one) => (one.id === next.open ? { ...one, title: name, kept } : one)) };
}
