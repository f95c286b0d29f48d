import { expect, test } from "vitest";
import { ApiError, asApiError, errorOf } from "./error";

test("a query error keeps its message and its place", () => {
  const error = errorOf(
    400,
    JSON.stringify({
      error: "druidException",
      errorCode: "invalidInput",
      persona: "USER",
      category: "INVALID_INPUT",
      errorMessage: "Column 'chanel' not found in any table (line [1], column [8]), did you mean 'channel'",
      context: { column: "8", endColumn: "13", endLine: "1", line: "1", sourceType: "sql", token: "chanel" },
    }),
  );
  expect(error.kind).toBe("invalid");
  expect(error.message).toContain("did you mean 'channel'");
  expect(error.place).toEqual({ line: 1, column: 8, endLine: 1, endColumn: 13 });
});

test("a place without its end is one character long, and half a place is none", () => {
  expect(errorOf(400, '{"errorMessage":"x","context":{"line":"2","column":"5"}}').place).toEqual({ line: 2, column: 5, endLine: 2, endColumn: 5 });
  expect(errorOf(400, '{"errorMessage":"x","context":{"line":"2"}}').place).toBeNull();
  expect(errorOf(400, '{"errorMessage":"x","context":{"line":"zwei","column":"0"}}').place).toBeNull();
});

test("refusals say what to ask for", () => {
  const told = errorOf(403, '{"Access-Check-Result":"you may not read sys.tasks; ask an administrator for SYSTEM_TABLE READ"}');
  expect(told).toMatchObject({ kind: "denied", message: "you may not read sys.tasks; ask an administrator for SYSTEM_TABLE READ" });
  expect(errorOf(403, '{"Access-Check-Result":"Unauthorized"}').message).toMatch(/administrator/);
});

test("statuses become what the reader can do", () => {
  const kinds = [400, 401, 403, 404, 429, 503, 504, 500].map((status) => errorOf(status, '{"error":"x"}').kind);
  expect(kinds).toEqual(["invalid", "signed-out", "denied", "missing", "busy", "busy", "busy", "failed"]);
});

test("a cancelled query is no failure", () => {
  expect(errorOf(500, '{"error":"Query cancelled","errorMessage":"gone"}').kind).toBe("cancelled");
});

test("pages of proxies and empty bodies are not shown", () => {
  expect(errorOf(502, "<html><h1>Bad gateway</h1></html>")).toMatchObject({ kind: "unreachable", message: "the server answered with status 502" });
  expect(errorOf(500, "").message).toBe("the server answered with status 500");
  expect(errorOf(400, "plain words").message).toBe("plain words");
  expect(errorOf(429, '{"error":"too many"}', "7").retryAfterSeconds).toBe(7);
});

test("what fetch throws is told in words", () => {
  expect(asApiError(new TypeError("Failed to fetch")).kind).toBe("unreachable");
  expect(asApiError(new DOMException("x", "AbortError")).kind).toBe("cancelled");
  const own = new ApiError("busy", "wait");
  expect(asApiError(own)).toBe(own);
});
