import { expect, test } from "vitest";
import { covers, may, mayAny, type Who } from "./session";

const ann: Who = {
  username: "ann",
  roles: ["analyst"],
  groups: [],
  attributes: {},
  authenticated: true,
  how: "session",
  mayAdminister: false,
  permissions: [{ resource: { type: "DATASOURCE", name: "wiki.*" }, action: "READ" }],
};

test("names of permissions match whole names", () => {
  expect(covers("wiki", "wikipedia")).toBe(false);
  expect(covers("wiki.*", "wikipedia")).toBe(true);
  expect(covers("a|b", "ab")).toBe(false);
  expect(covers("(?i)broken", "broken")).toBe(false);
});

test("what no permission says is not shown", () => {
  expect(may(ann, "DATASOURCE", "wikipedia", "READ")).toBe(true);
  expect(may(ann, "DATASOURCE", "wikipedia", "WRITE")).toBe(false);
  expect(may(ann, "STATE", "STATE", "READ")).toBe(false);
  expect(mayAny(ann, "DATASOURCE", "WRITE")).toBe(false);
  expect(may({ ...ann, permissions: undefined }, "DATASOURCE", "wikipedia", "READ")).toBe(false);
  expect(may({ ...ann, mayAdminister: true }, "SECURITY", "SECURITY", "WRITE")).toBe(true);
});
