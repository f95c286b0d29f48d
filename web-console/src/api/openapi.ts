// The server's own description of its API, as operations that can be listed and read.

import { askJson } from "./client";

export type Schema = { [key: string]: unknown };

export interface Parameter {
  name: string;
  in: string;
  required: boolean;
  description: string;
  schema: Schema;
}

export interface Body {
  type: string;
  schema: Schema | null;
}

export interface Answer {
  status: string;
  description: string;
  bodies: Body[];
}

export interface Operation {
  /** `GET /path`. */
  id: string;
  method: string;
  path: string;
  tag: string;
  summary: string;
  description: string;
  /** The rights that it takes, in words; `null` where the server does not tell them apart. */
  needs: string | null;
  /** Nobody has to sign in for it. */
  open: boolean;
  parameters: Parameter[];
  bodies: Body[];
  bodyRequired: boolean;
  answers: Answer[];
}

export interface Api {
  title: string;
  version: string;
  operations: Operation[];
  /** What `$ref` leads to. */
  resolve: (value: unknown) => Schema;
}

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

const object = (value: unknown): Schema => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Schema) : {});
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const list = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

/** A name for what a path is about, where the document gives none: its first noun, with the role that it is asked of. */
export function tagOfPath(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && !part.startsWith("{"));
  if (parts[0] === "henge") return parts[2] ?? "henge";
  if (parts[0] === "druid" && parts[1] === "v2") return "queries";
  if (parts[0] === "druid" && parts[2] === "v1") return `${parts[1] ?? ""}: ${(parts[3] ?? "").replace(/^(tasks?|taskStatus|\w+Tasks)$/, "tasks")}`;
  return parts.length > 0 && parts[0] !== "druid" ? "node" : "druid";
}

export function readApi(document: unknown): Api {
  const whole = object(document);
  const resolve = (value: unknown): Schema => {
    let found = object(value);
    for (let steps = 0; typeof found.$ref === "string" && steps < 8; steps += 1) {
      const path = found.$ref.replace(/^#\//, "").split("/").map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
      found = object(path.reduce<unknown>((here, part) => object(here)[part], whole));
    }
    return found;
  };
  const bodiesOf = (content: unknown): Body[] => Object.entries(object(content)).map(([type, one]) => ({ type, schema: object(one).schema === undefined ? null : object(object(one).schema) }));
  const operations: Operation[] = [];
  for (const [path, item] of Object.entries(object(whole.paths))) {
    const shared = list(object(item).parameters);
    for (const method of METHODS) {
      if (object(item)[method] === undefined) continue;
      const said = object(object(item)[method]);
      const body = resolve(said.requestBody);
      const security = said.security ?? whole.security;
      operations.push({
        id: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        tag: text(list(said.tags)[0]) || tagOfPath(path),
        summary: text(said.summary),
        description: text(said.description),
        needs: text(said["x-henge-needs"]) || null,
        open: Array.isArray(security) && security.length === 0,
        parameters: [...shared, ...list(said.parameters)].map(resolve).map((one) => ({ name: text(one.name), in: text(one.in), required: one.required === true, description: text(one.description), schema: object(one.schema) })),
        bodies: bodiesOf(body.content),
        bodyRequired: body.required === true,
        answers: Object.entries(object(said.responses)).map(([status, one]) => ({ status, description: text(resolve(one).description), bodies: bodiesOf(resolve(one).content) })),
      });
    }
  }
  const info = object(whole.info);
  return { title: text(info.title) || "API", version: text(info.version), operations, resolve };
}

export async function api(signal?: AbortSignal): Promise<Api> {
  return readApi(await askJson<unknown>("/henge/v1/openapi.json", { signal }));
}

/** A short word for what a schema takes. */
export function typeOf(schema: Schema, resolve: Api["resolve"]): string {
  if (typeof schema.$ref === "string") {
    const name = schema.$ref.split("/").pop() ?? "";
    return name !== "" ? name : typeOf(resolve(schema), resolve);
  }
  if (Array.isArray(schema.enum)) return (schema.enum as unknown[]).map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  for (const key of ["oneOf", "anyOf", "allOf"]) {
    if (Array.isArray(schema[key])) return [...new Set((schema[key] as unknown[]).map((one) => typeOf(object(one), resolve)))].join(key === "allOf" ? " & " : " | ");
  }
  const type = Array.isArray(schema.type) ? (schema.type as unknown[]).map(String).join(" | ") : text(schema.type);
  if (type === "array") return `list of ${typeOf(object(schema.items), resolve)}`;
  return type === "" ? "anything" : text(schema.format) === "" ? type : `${type} (${text(schema.format)})`;
}

export interface Line {
  depth: number;
  name: string;
  type: string;
  required: boolean;
  description: string;
}

/** The fields of a schema, those of inner objects below them. What contains itself is named and not opened again. */
export function fieldsOf(schema: Schema, resolve: Api["resolve"], depth = 0, within: string[] = []): Line[] {
  if (depth > 5) return [];
  const name = typeof schema.$ref === "string" ? schema.$ref : null;
  if (name !== null && within.includes(name)) return [];
  const path = name === null ? within : [...within, name];
  const real = resolve(schema);
  const parts = ["oneOf", "anyOf", "allOf"].flatMap((key) => list(real[key]).map(object));
  const lines = parts.flatMap((part) => fieldsOf(part, resolve, depth, path));
  const required = list(real.required);
  for (const [key, one] of Object.entries(object(real.properties))) {
    const inner = object(one);
    lines.push({ depth, name: key, type: typeOf(inner, resolve), required: required.includes(key), description: text(resolve(inner).description) || text(inner.description) });
    lines.push(...fieldsOf(inner, resolve, depth + 1, path));
  }
  if (real.items !== undefined) lines.push(...fieldsOf(object(real.items), resolve, depth, path));
  if (typeof real.additionalProperties === "object" && real.additionalProperties !== null) {
    const inner = object(real.additionalProperties);
    lines.push({ depth, name: "<any name>", type: typeOf(inner, resolve), required: false, description: "" }, ...fieldsOf(inner, resolve, depth + 1, path));
  }
  return lines;
}

/** Something that the schema takes, to begin with. */
export function exampleOf(schema: Schema, resolve: Api["resolve"], depth = 0, within: string[] = []): unknown {
  const name = typeof schema.$ref === "string" ? schema.$ref : null;
  if (depth > 6 || (name !== null && within.includes(name))) return {};
  const path = name === null ? within : [...within, name];
  const real = resolve(schema);
  if (real.example !== undefined) return real.example;
  if (real.default !== undefined) return real.default;
  if (real.const !== undefined) return real.const;
  if (Array.isArray(real.enum)) return (real.enum as unknown[])[0];
  for (const key of ["oneOf", "anyOf"]) if (Array.isArray(real[key])) return exampleOf(object((real[key] as unknown[])[0]), resolve, depth + 1, path);
  if (Array.isArray(real.allOf)) return Object.assign({}, ...(real.allOf as unknown[]).map((one) => exampleOf(object(one), resolve, depth + 1, path)));
  const type = Array.isArray(real.type) ? (real.type as unknown[])[0] : real.type;
  if (type === "object" || real.properties !== undefined) {
    const required = list(real.required);
    const all = Object.entries(object(real.properties));
    // What is required, or all where nothing is.
    const chosen = required.length === 0 ? all : all.filter(([key]) => required.includes(key));
    return Object.fromEntries(chosen.map(([key, one]) => [key, exampleOf(object(one), resolve, depth + 1, path)]));
  }
  switch (type) {
    case "array":
      return [exampleOf(object(real.items), resolve, depth + 1, path)];
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return true;
    case "null":
      return null;
    case "string":
      return real.format === "date-time" ? "2026-01-01T00:00:00Z" : "…";
    default:
      return {};
  }
}
