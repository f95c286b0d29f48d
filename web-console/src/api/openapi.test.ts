import { expect, test } from "vitest";
import { exampleOf, fieldsOf, readApi, tagOfPath, typeOf } from "./openapi";

const api = readApi({
  info: { title: "Henge", version: "1" },
  security: [{ basic: [] }],
  paths: {
    "/henge/v1/things/{name}": {
      parameters: [{ name: "name", in: "path", required: true, schema: { type: "string" } }],
      put: {
        summary: "Changes a thing",
        tags: ["things"],
        "x-henge-needs": "CONFIG WRITE",
        parameters: [{ $ref: "#/components/parameters/Count" }],
        requestBody: { required: true, content: { "application/json": { schema: { $ref: "#/components/schemas/Thing" } } } },
        responses: { 200: { description: "It" }, 409: { $ref: "#/components/responses/Conflict" } },
      },
      get: { security: [], responses: {} },
    },
    "/druid/indexer/v1/tasks": { get: {} },
  },
  components: {
    parameters: { Count: { name: "count", in: "query", schema: { type: "integer" } } },
    responses: { Conflict: { description: "Another was faster", content: { "application/json": { schema: { type: "object" } } } } },
    schemas: {
      Thing: { type: "object", required: ["kind", "inner"], properties: { kind: { enum: ["a", "b"] }, note: { type: ["string", "null"], description: "Words" }, inner: { type: "array", items: { $ref: "#/components/schemas/Thing" } }, sizes: { type: "object", additionalProperties: { type: "number" } } } },
    },
  },
});

test("operations are read with what they refer to", () => {
  expect(api.operations.map((one) => [one.id, one.tag, one.needs, one.open])).toEqual([
    ["GET /henge/v1/things/{name}", "things", null, true],
    ["PUT /henge/v1/things/{name}", "things", "CONFIG WRITE", false],
    ["GET /druid/indexer/v1/tasks", "indexer: tasks", null, false],
  ]);
  const put = api.operations[1];
  expect(put?.parameters.map((one) => [one.name, one.in, one.required])).toEqual([["name", "path", true], ["count", "query", false]]);
  expect(put?.answers.map((one) => [one.status, one.description, one.bodies.length])).toEqual([["200", "It", 0], ["409", "Another was faster", 1]]);
  expect(readApi(null).operations).toEqual([]);
  expect(readApi({ paths: { "/a": { get: null, post: [] } } }).operations).toHaveLength(2);
});

test("a schema is told by its fields, and one that contains itself ends", () => {
  const thing = { $ref: "#/components/schemas/Thing" };
  expect(typeOf(thing, api.resolve)).toBe("Thing");
  expect(typeOf({ type: ["string", "null"] }, api.resolve)).toBe("string | null");
  expect(typeOf({ oneOf: [thing, { type: "integer" }] }, api.resolve)).toBe("Thing | integer");
  expect(fieldsOf(thing, api.resolve).map((one) => [one.depth, one.name, one.type, one.required])).toEqual([
    [0, "kind", '"a" | "b"', true],
    [0, "note", "string | null", false],
    [0, "inner", "list of Thing", true],
    [0, "sizes", "object", false],
    [1, "<any name>", "number", false],
  ]);
  expect(exampleOf(thing, api.resolve)).toEqual({ kind: "a", inner: [{}] });
  expect(exampleOf({ $ref: "#/nowhere" }, api.resolve)).toEqual({});
});

test("paths without a tag have one by what they are about", () => {
  expect(["/henge/v1/security/users/{name}", "/druid/v2/sql", "/druid/coordinator/v1/rules/{name}", "/druid/indexer/v1/runningTasks", "/status/health", "/druid/v2"].map(tagOfPath)).toEqual(["security", "queries", "coordinator: rules", "indexer: tasks", "node", "queries"]);
});
