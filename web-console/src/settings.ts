// What a person set for this browser: theme, time zone, width of the navigation. Nothing of it is a secret.

import { useSyncExternalStore } from "react";

export interface Settings {
  theme: "system" | "light" | "dark";
  zone: "utc" | "local";
}

const KEY = "henge.settings";
const DEFAULTS: Settings = { theme: "system", zone: "utc" };
const listeners = new Set<() => void>();

function read(): Settings {
  try {
    const said = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>;
    return {
      theme: said.theme === "light" || said.theme === "dark" ? said.theme : "system",
      zone: said.zone === "local" ? "local" : "utc",
    };
  } catch {
    return DEFAULTS;
  }
}

let current = read();

export function set(change: Partial<Settings>): void {
  current = { ...current, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
  if (current.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = current.theme;
  for (const listener of listeners) listener();
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
