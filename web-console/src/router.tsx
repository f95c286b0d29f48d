// Where the page is: paths below /console/ and their parameters, kept in the address bar so that every view is a link.

import { useMemo, useSyncExternalStore, type AnchorHTMLAttributes, type ReactNode } from "react";

const BASE = "/console";
const moved = new EventTarget();

function subscribe(listener: () => void): () => void {
  moved.addEventListener("move", listener);
  window.addEventListener("popstate", listener);
  return () => {
    moved.removeEventListener("move", listener);
    window.removeEventListener("popstate", listener);
  };
}

const here = (): string => window.location.pathname + window.location.search + window.location.hash;

/** These stand behind the hash, which is not sent: a statement may be longer than a server takes of an address, and is no business of logs on the way. */
const UNSENT = new Set(["q"]);

/** Characters of a link that programs that pass links on can be trusted with. */
export const LONGEST_LINK = 32_000;

/** Of an address, those before the hash and behind it. */
export function parametersOf(url: URL): URLSearchParams {
  const all = new URLSearchParams(url.search);
  if (url.hash.includes("=")) for (const [name, value] of new URLSearchParams(url.hash.slice(1))) if (UNSENT.has(name)) all.set(name, value);
  return all;
}

export interface Place {
  /** Below /console, with a slash at its beginning and none at its end. */
  path: string;
  parameters: URLSearchParams;
}

export function usePlace(): Place {
  const at = useSyncExternalStore(subscribe, here);
  return useMemo(() => {
    const url = new URL(at, window.location.origin);
    const path = url.pathname.startsWith(BASE) ? url.pathname.slice(BASE.length) : url.pathname;
    return { path: `/${path.replace(/^\/+|\/+$/g, "")}`, parameters: parametersOf(url) };
  }, [at]);
}

export type Parameters = Record<string, string | null | undefined>;

export function addressOf(path: string, parameters: Parameters = {}): string {
  const [sent, unsent] = [new URLSearchParams(), new URLSearchParams()];
  for (const [name, value] of Object.entries(parameters)) if (value !== null && value !== undefined && value !== "") (UNSENT.has(name) ? unsent : sent).set(name, value);
  return `${BASE}${path === "/" ? "/" : path}${sent.size === 0 ? "" : `?${sent}`}${unsent.size === 0 ? "" : `#${unsent}`}`;
}

export function go(path: string, parameters: Parameters = {}, how: "push" | "replace" = "push"): void {
  const address = addressOf(path, parameters);
  if (address === here()) return;
  if (how === "push") window.history.pushState(null, "", address);
  else window.history.replaceState(null, "", address);
  moved.dispatchEvent(new Event("move"));
}

/** Changes some parameters and leaves the others. */
export function adjust(change: Parameters, how: "push" | "replace" = "push"): void {
  const url = new URL(window.location.href);
  const all: Parameters = { ...Object.fromEntries(parametersOf(url)), ...change };
  go(url.pathname.slice(BASE.length).replace(/\/+$/, "") || "/", all, how);
}

interface LinkProps extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href"> {
  to: string;
  with?: Parameters;
  children: ReactNode;
}

/** An ordinary link: it opens in a new tab, is copied and read aloud as one. */
export function Link({ to, with: parameters, children, ...rest }: LinkProps): ReactNode {
  return (
    <a
      {...rest}
      href={addressOf(to, parameters)}
      onClick={(event) => {
        rest.onClick?.(event);
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to, parameters);
      }}
    >
      {children}
    </a>
  );
}
