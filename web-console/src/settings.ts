// What a person set for the page: theme, time zone, dashboards that are close at hand. Kept by this browser, and by the server for
// whom it knows, so that it is the same in another browser. Nothing of it is a secret.

import { useSyncExternalStore } from "react";
import { ownSettings, putOwnSettings } from "./api/profile";

export interface Settings {
  theme: "system" | "light" | "dark";
  zone: "utc" | "local";
  /** Identifiers of dashboards, as they were marked. */
  starred: string[];
}

const KEY = "henge.settings";
const STARRED_MAX = 100;
const DEFAULTS: Settings = { theme: "system", zone: "utc", starred: [] };
const listeners = new Set<() => void>();

export function readSettings(said: Partial<Record<keyof Settings, unknown>>): Settings {
  return {
    theme: said.theme === "light" || said.theme === "dark" ? said.theme : "system",
    zone: said.zone === "local" ? "local" : "utc",
    starred: Array.isArray(said.starred) ? (said.starred as unknown[]).filter((one): one is string => typeof one === "string").slice(0, STARRED_MAX) : [],
  };
}

function kept(): Settings {
  try {
    return readSettings(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>);
  } catch {
    return DEFAULTS;
  }
}

let current = kept();
let remote = false;
let due: number | undefined;

function take(next: Settings): void {
  current = next;
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
  if (current.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = current.theme;
  for (const listener of listeners) listener();
}

export function set(change: Partial<Settings>): void {
  take({ ...current, ...change });
  if (!remote) return;
  // A row of clicks is one change.
  window.clearTimeout(due);
  due = window.setTimeout(() => void putOwnSettings(current).catch(() => undefined), 600);
}

/**
 * Takes what the server keeps for who has signed in; what is set from now on is kept there too. Without a person, this browser's own
 * holds. Called at each change of who is signed in.
 */
export async function follow(person: boolean): Promise<void> {
  remote = false;
  window.clearTimeout(due);
  if (!person) return;
  const said = await ownSettings().catch(() => null);
  if (said === null) return;
  remote = true;
  // Who has set nothing yet keeps how the page looks here; stars are a person's own.
  take(Object.keys(said).length === 0 ? { ...current, starred: [] } : readSettings(said));
}

export function useSettings(): Settings {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
