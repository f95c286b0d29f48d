import { expect, test } from "vitest";
import { ago, brief, bytes, count, duration, figure, instant, plural, short, zoneName } from "./format";

test("counts and figures", () => {
  expect([0, 1234567, -1234.4].map((value) => count(value))).toEqual(["0", "1,234,567", "-1,234"]);
  expect(count(null)).toBe("–");
  expect([0.1 + 0.2, 1234.56789, 1e-7, 123456789012345680000, 9007199254740993n].map(figure)).toEqual([
    "0.3",
    "1,234.568",
    "1.000e-7",
    "123456789012345680000",
    "9,007,199,254,740,993",
  ]);
});

test("short figures keep three digits and never round to 1000 of a unit", () => {
  expect([999, 9999, 12345, 999_960, 4_560_000, 0.1234, 12.345].map(short)).toEqual(["999", "9,999", "12.3k", "1M", "4.56M", "0.123", "12.3"]);
});

test("bytes and durations have units", () => {
  expect([0, 1023, 1024, 1_500_000, 92_123_136].map(bytes)).toEqual(["0 B", "1,023 B", "1.0 KiB", "1.4 MiB", "88 MiB"]);
  expect([0.2, 12, 1234, 61_000, 3_700_000, 200_000_000, -1].map(duration)).toEqual([
    "<1 ms",
    "12 ms",
    "1.2 s",
    "1 min 1 s",
    "1 h 1 min",
    "2 days",
    "–",
  ]);
  expect(ago(0, 5400)).toBe("5 s ago");
  expect(ago(0, 59_600)).toBe("1 min ago");
  expect(ago(0, 151_000)).toBe("2 min ago");
  expect(ago(0, 3 * 3_600_000 + 120_000)).toBe("3 h 2 min ago");
  expect(ago(60_000, 0)).toBe("in 1 min 0 s");
});

test("instants say their zone", () => {
  expect(instant("2026-11-23T02:17:47.195Z", "utc")).toBe("2026-11-23 02:17:47.195Z");
  expect(instant("2026-11-23T02:17:47.000Z", "utc")).toBe("2026-11-23 02:17:47Z");
  expect(instant(0, "local")).toMatch(/^19(69|70)-\d\d-\d\d \d\d:\d\d:00[+-]\d\d:\d\d$/);
  expect(instant("not a time", "utc")).toBe("not a time");
});

test("plurals", () => {
  expect([plural(1, "row"), plural(2000, "row"), plural(2, "entry", "entries")]).toEqual(["1 row", "2,000 rows", "2 entries"]);
});

test("in lists instants are to the second, and the zone has a name", () => {
  expect(brief("2026-11-23T02:17:47.995Z", "utc")).toBe("2026-11-23 02:17:47Z");
  expect(brief(-1, "utc")).toBe("1969-12-31 23:59:59Z");
  expect(brief("not a time", "utc")).toBe("not a time");
  expect(zoneName("utc", 0)).toBe("UTC");
  expect(zoneName("local", 0)).toMatch(/^UTC[+-]\d\d:\d\d$/);
});
