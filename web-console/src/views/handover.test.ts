import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { asCurl, asCurlOf, asPython } from "./handover";

const HOSTILE = `SELECT 'it''s $(touch /tmp/no) \`x\` "q" \\' || '😀\u202e'\nFROM "a b"`;

test("a shell reads the statement as it was written, and runs nothing of it", () => {
  const command = asCurl("http://127.0.0.1:1", HOSTILE, false, false).replace(/^curl/, "printf '%s\\0'");
  const words = execFileSync("sh", ["-c", command]).toString().split("\0");
  expect(JSON.parse(words[words.indexOf("--data-binary") + 1] ?? "")).toEqual({ query: HOSTILE });
});

test("credentials are named, not put in", () => {
  expect(asCurl("http://x", "SELECT 1", false, true)).toContain('-u "$HENGE_USER:$HENGE_PASSWORD"');
  expect(asPython("http://x", "SELECT 1", false, true)).toContain('os.environ["HENGE_PASSWORD"]');
});

test("the text of a program holds the statement in ASCII", () => {
  const program = asPython("http://x", HOSTILE, false, false);
  expect(program).toMatch(/^[\x00-\x7f]*$/);
  expect(program).toContain("\\U0001f600");
  expect(program).toContain("\\u202e");
});

test("a request of any kind is one command, whatever its body holds", () => {
  expect(asCurlOf("http://h:1", "GET", "/status", null, false)).toBe("curl 'http://h:1/status'");
  expect(asCurlOf("http://h:1", "PUT", "/a/{name}", '{"it\'s": 1}', true)).toBe(
    `curl -u "$HENGE_USER:$HENGE_PASSWORD" -X PUT 'http://h:1/a/{name}' \\\n  -H 'Content-Type: application/json' \\\n  --data-binary '{"it'\\''s": 1}'`,
  );
});
