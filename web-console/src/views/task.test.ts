import { expect, test } from "vitest";
import { stageOf } from "./arrival";
import { reportOf } from "./task";

test("a report is read whichever way its figures stand in it", () => {
  const figures = { processed: 3, processedBytes: 40, processedWithError: 1, thrownAway: 2, unparseable: 5 };
  for (const rowStats of [{ buildSegments: figures }, { totals: { buildSegments: figures }, buildSegments: {} }]) {
    const told = reportOf({ ingestionStatsAndErrors: { payload: { ingestionState: "BUILD_SEGMENTS", rowStats, unparseableEvents: { buildSegments: [{ input: "x" }, "y", null] }, segmentsPublished: 2, ignored: ["a.b"] } } });
    expect([told.stage, told.processed, told.thrownAway, told.unparseable, told.segments, told.ignored]).toEqual(["build segments", 3, 2, 5, 2, ["a.b"]]);
    expect(told.events).toEqual(['{\n  "input": "x"\n}', "y"]);
  }
  expect(reportOf(null)).toMatchObject({ stage: null, processed: 0, segments: null, events: [] });
  expect(reportOf({ ingestionStatsAndErrors: { payload: { unparseableEvents: { buildSegments: null } } } }).events).toEqual([]);
});

test("a load is there when its rows can be asked for, not when its task has ended", () => {
  const task = { statusCode: "RUNNING", runnerStatusCode: "PENDING" } as Parameters<typeof stageOf>[0]["task"];
  expect(stageOf({ task, served: false })).toBe("waits");
  expect(stageOf({ task: { ...task, runnerStatusCode: "RUNNING" }, served: false })).toBe("reads");
  expect(stageOf({ task: { ...task, statusCode: "SUCCESS" }, served: false })).toBe("loads");
  expect(stageOf({ task: { ...task, statusCode: "SUCCESS" }, served: true })).toBe("there");
  expect(stageOf({ task: { ...task, statusCode: "FAILED" }, served: false })).toBe("failed");
});
