// Who is asking: signing in and out, and what the person may do.

import { askJson, ask, holdToken } from "./client";
import { ApiError } from "./error";

export interface Permission {
  resource: { type: string; name: string };
  action: "READ" | "WRITE";
}

export interface Who {
  username: string;
  roles: string[];
  groups: string[];
  attributes: Record<string, string[]>;
  authenticated: boolean;
  how: "anonymous" | "password" | "token" | "session" | "jwt";
  mayAdminister: boolean;
  csrfToken?: string;
  /** All that the roles permit, those that they include too. Servers that do not tell it leave only administrators in. */
  permissions?: Permission[];
}

/** `null`: nobody is signed in, and the server wants somebody. */
export async function whoAmI(signal?: AbortSignal): Promise<Who | null> {
  try {
    const who = await askJson<Who>("/henge/v1/security/whoami", { stranger: true, signal });
    holdToken(who.csrfToken ?? null, who.username);
    return who;
  } catch (thrown) {
    if (thrown instanceof ApiError && thrown.kind === "signed-out") return null;
    throw thrown;
  }
}

export async function signIn(username: string, password: string): Promise<Who> {
  const who = await askJson<Who>("/henge/v1/security/login", { json: { username, password }, stranger: true });
  holdToken(who.csrfToken ?? null, who.username);
  return who;
}

export async function signOut(): Promise<void> {
  await ask("/henge/v1/security/logout", { method: "POST", stranger: true });
  holdToken(null);
}

/** Whether a permission's name, a regular expression over whole names, covers `name`. */
export function covers(pattern: string, name: string): boolean {
  if (pattern === ".*" || pattern === name) return true;
  try {
    return new RegExp(`^(?:${pattern})$`, "u").test(name);
  } catch {
    // Written for another engine: what this page cannot read it does not show.
    return false;
  }
}

/** What the page shows is decided by this; what is allowed is decided by the server, again, at each request. */
export function may(who: Who, type: string, name: string, action: "READ" | "WRITE"): boolean {
  if (who.mayAdminister) return true;
  return (who.permissions ?? []).some((one) => one.resource.type === type && one.action === action && covers(one.resource.name, name));
}

/** Whether there is any name of the type for which the action is permitted. */
export function mayAny(who: Who, type: string, action: "READ" | "WRITE"): boolean {
  return who.mayAdminister || (who.permissions ?? []).some((one) => one.resource.type === type && one.action === action);
}

/** Sizes, times and copies of what is stored are told by the table of segments. */
export const maySeeSegments = (who: Who): boolean => may(who, "SYSTEM_TABLE", "segments", "READ");

/** The audit log is for administrators and for whom a permission names it: a pattern that happens to cover it does not. */
export function mayAudit(who: Who): boolean {
  return who.mayAdminister || (who.permissions ?? []).some((one) => one.resource.type === "SYSTEM_TABLE" && one.resource.name === "audit" && one.action === "READ");
}

/** Who sees the state of the cluster sees alerts; who changes its configuration changes them. */
export const mayAlert = (who: Who, action: "READ" | "WRITE"): boolean => (action === "READ" ? mayAny(who, "STATE", "READ") : mayAny(who, "CONFIG", "WRITE"));
