// Documents that people keep on the server and share with roles: saved queries and dashboards. A change names the version that it
// changes; the server refuses one (409) that would overwrite what somebody else has changed meanwhile.

import { ask, askJson, segment } from "./client";
import { asApiError, type ApiError } from "./error";

export interface Entry {
  id: string;
  name: string;
  description: string | null;
  /** `null` if the user is no more. */
  owner: string | null;
  /** Names of roles; who has one of them may open it. */
  sharedWith: string[];
  version: number;
  updated: string;
  updatedBy: string;
  mayEdit: boolean;
}

export interface Kept<C> extends Entry {
  content: C;
}

/** What a person says of a document; the rest is the server's. */
export interface Draft<C> {
  name: string;
  description: string | null;
  sharedWith: string[];
  content: C;
}

export interface Shelf<C> {
  /** Own documents, and those shared with a role of the caller; `null` of a server that keeps none. */
  list: (signal?: AbortSignal) => Promise<Entry[] | null>;
  get: (id: string, signal?: AbortSignal) => Promise<Kept<C>>;
  make: (draft: Draft<C>) => Promise<Kept<C>>;
  /** 409 if `version` is not the newest, or if there is no room for more. */
  put: (id: string, version: number, draft: Draft<C>) => Promise<Kept<C>>;
  remove: (id: string, version: number) => Promise<void>;
}

/** Whether a 404 says that the server has no such endpoint, and not that there is no such document. */
export const unserved = (error: ApiError): boolean => error.status === 404 && error.message.startsWith("there is no GET ");

/** `null` where the server is older than what is asked. */
export async function ifServed<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (thrown) {
    const error = asApiError(thrown);
    if (unserved(error)) return null;
    throw error;
  }
}

function shelf<C>(base: string): Shelf<C> {
  const at = (id: string): string => `${base}/${segment(id)}`;
  const body = ({ name, description, sharedWith, content }: Draft<C>): object => ({ name, ...(description === null || description === "" ? {} : { description }), sharedWith, content });
  return {
    list: (signal) => ifServed(askJson<Entry[]>(base, { signal })),
    get: (id, signal) => askJson<Kept<C>>(at(id), { signal }),
    make: (draft) => askJson<Kept<C>>(base, { json: body(draft) }),
    put: (id, version, draft) => askJson<Kept<C>>(at(id), { method: "PUT", json: { version, ...body(draft) } }),
    remove: async (id, version) => {
      await ask(`${at(id)}?version=${version}`, { method: "DELETE" });
    },
  };
}

export interface SavedQuery {
  language: "sql" | "native";
  text: string;
  context?: Record<string, unknown>;
}

export const savedQueries = shelf<SavedQuery>("/henge/v1/saved-queries");

/** As a dashboard's document holds it; `views/board.ts` reads it with care, as it may have been written by hand. */
export const dashboards = shelf<unknown>("/henge/v1/dashboards");
