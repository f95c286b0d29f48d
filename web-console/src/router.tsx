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

const here = (): string => window.location.pathname + window.location.search;

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
    return { path: `/${path.replace(/^\/+|\/+$/g, "")}`, parameters: url.searchParams };
  }, [at]);
}

export type Parameters = Record<string, string | null | undefined>;

export function addressOf(path: string, parameters: Parameters = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== null && value !== undefined && value !== "") search.set(name, value);
  const text = search.toString();
  return `${BASE}${path === "/" ? "/" : path}${text === "" ? "" : `?${text}`}`;
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
  const all: Parameters = { ...Object.fromEntries(url.searchParams), ...change };
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
