import { expect, test } from "vitest";
import { Elements } from "./elements";

function read(text: string, size: number): { found: unknown[]; rest: string | null } {
  const elements = new Elements();
  const found: unknown[] = [];
  for (let at = 0; at < text.length; at += size) found.push(...elements.take(text.slice(at, at + size)).map((one) => JSON.parse(one) as unknown));
  return { found, rest: elements.end() };
}

test("elements are whole however the text is cut", () => {
  const values = [{ a: '],"\\', b: [1, [2, { c: "}" }]] }, "x,y\\\"]", 7, null, [], {}, "", -1.5e3, { "k\u2028": "\n" }];
  for (const text of [JSON.stringify(values), JSON.stringify(values, null, 2), ` \n${JSON.stringify(values)}\n`]) {
    for (let size = 1; size <= text.length; size += 1) expect(read(text, size).found).toEqual(values);
  }
  expect(read("[]", 1)).toEqual({ found: [], rest: null });
});

test("what is no array is one element, and what breaks off is no answer", () => {
  expect(read(' {"a": [1]}', 2)).toEqual({ found: [], rest: expect.stringMatching(/^ *{"a": \[1\]}$/) });
  for (const text of ['[{"a": 1}, {"b"', "[1", '["a', "[", ""]) {
    for (const size of [1, 100]) expect(() => read(text, size)).toThrow("broke off");
  }
});
