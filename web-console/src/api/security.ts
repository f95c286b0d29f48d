// Users, roles with their policies, rules of tables, what a user would see, and who did what.

import { ask, askJson, segment } from "./client";
import type { Permission } from "./session";

export interface User {
  username: string;
  kind: "person" | "service";
  email?: string;
  profile: Record<string, unknown>;
  settings: Record<string, unknown>;
  disabled: boolean;
  roles: string[];
  groups: string[];
  attributes: Record<string, string[]>;
  hasPassword: boolean;
  version: number;
  changed: string;
  changedBy: string;
}

export interface PutUser {
  password?: string;
  kind: "person" | "service";
  email?: string;
  profile?: Record<string, unknown>;
  settings?: Record<string, unknown>;
  disabled: boolean;
  roles: string[];
  groups: string[];
  attributes: Record<string, string[]>;
}

export interface RowPolicy {
  name: string;
  datasource: string;
  kind: "permissive" | "restrictive";
  sql?: string;
  filter?: unknown;
}

export interface ColumnRule {
  datasource: string;
  column: string;
  rule: { type: string; n?: number } & Record<string, unknown>;
}

export interface RoleDocument {
  includes?: string[];
  permissions?: Permission[];
  policies?: RowPolicy[];
  columns?: ColumnRule[];
  quota?: Record<string, unknown>;
}

export interface Role {
  name: string;
  document: RoleDocument;
  version: number;
  changed: string;
  changedBy: string;
}

const base = "/henge/v1/security";

/** Whoever changed it meanwhile is not overwritten. */
const ifVersion = (version: number | null): Record<string, string> =>
  version === null ? { "If-None-Match": "*" } : { "If-Match": `"${version}"` };

export const users = (signal?: AbortSignal): Promise<User[]> => askJson<User[]>(`${base}/users`, { signal });

export const putUser = (name: string, user: PutUser, version: number | null): Promise<unknown> =>
  askJson(`${base}/users/${segment(name)}`, { method: "PUT", json: user, headers: ifVersion(version) });

export async function deleteUser(name: string, version: number): Promise<void> {
  await ask(`${base}/users/${segment(name)}`, { method: "DELETE", headers: ifVersion(version) });
}

export const endSessions = (name: string): Promise<{ ended: number }> => askJson(`${base}/users/${segment(name)}/sessions`, { method: "DELETE" });

export const roles = (signal?: AbortSignal): Promise<Role[]> => askJson<Role[]>(`${base}/roles`, { signal });

export const putRole = (name: string, document: RoleDocument, version: number | null): Promise<unknown> =>
  askJson(`${base}/roles/${segment(name)}`, { method: "PUT", json: document, headers: ifVersion(version) });

export async function deleteRole(name: string, version: number): Promise<void> {
  await ask(`${base}/roles/${segment(name)}`, { method: "DELETE", headers: ifVersion(version) });
}

export interface TableRule {
  name: string;
  document: { requirePolicy?: boolean; publicColumns?: string[] };
  version: number;
}

export const tableRules = (signal?: AbortSignal): Promise<TableRule[]> => askJson<TableRule[]>(`${base}/datasources`, { signal });

export const putTableRule = (name: string, document: TableRule["document"]): Promise<unknown> =>
  askJson(`${base}/datasources/${segment(name)}`, { method: "PUT", json: document });

export interface Explained {
  user: string;
  roles: string[];
  datasource: string;
  rulesVersion: number;
  /** `denied`, `restricted` or `unrestricted`. */
  access: string;
  filter?: unknown;
  columns?: { column: string; rule: { type: string; n?: number } }[];
  rows?: number;
  reason?: string;
}

/** What a user sees of a datasource, by the rules in force or with a role that is not posted yet. */
export const explainAccess = (
  user: string,
  datasource: string,
  draft: { name: string; role: RoleDocument } | null,
  signal?: AbortSignal,
): Promise<Explained> => askJson<Explained>(`${base}/explain`, { json: { user, datasource, ...(draft === null ? {} : { draft }) }, signal });

export interface Token {
  id: string;
  label: string;
  roles: string[] | null;
  created: string;
  expires: string | null;
}

export const ownTokens = (signal?: AbortSignal): Promise<Token[]> => askJson<Token[]>(`${base}/tokens`, { signal });

export const makeToken = (label: string, expires: string | null): Promise<Token & { token: string }> =>
  askJson(`${base}/tokens`, { json: { label, ...(expires === null ? {} : { expires }) } });

export async function revokeToken(id: string): Promise<void> {
  await ask(`${base}/tokens/${segment(id)}`, { method: "DELETE" });
}

export async function changePassword(current: string, password: string): Promise<void> {
  await ask(`${base}/password`, { method: "PUT", json: { current, password }, stranger: true });
}
