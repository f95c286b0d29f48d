import { expect, test } from "vitest";
import { covers, may, mayAny, mayAudit, maySeeSegments, type Who } from "./session";

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

test("tables of the system are permitted one by one, the audit log by its name only", () => {
  const with_ = (name: string, type = "SYSTEM_TABLE"): Who => ({ ...ann, permissions: [{ resource: { type, name }, action: "READ" }] });
  expect([maySeeSegments(with_("segments")), mayAudit(with_("segments"))]).toEqual([true, false]);
  expect([maySeeSegments(with_("audit")), mayAudit(with_("audit"))]).toEqual([false, true]);
  expect([maySeeSegments(with_(".*")), mayAudit(with_(".*"))]).toEqual([true, false]);
  expect(mayAudit(with_("SECURITY", "SECURITY"))).toBe(false);
  expect(mayAudit({ ...ann, mayAdminister: true })).toBe(true);
});
