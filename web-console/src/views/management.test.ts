// Logic of the management pages that stands beside their markup.
import { expect, test } from "vitest";
import { attributesOf } from "./access";
import { statementOf } from "./audit";
import { ruleText } from "./rules";
import { nodes } from "./services";
import { asTabs, cellText } from "./results";

test("a process of several roles is one node, with its tasks", () => {
  const line = { server: "a:1", tier: null, curr_size: 0, max_size: 0, is_leader: null, start_time: "t", version: "1", available_processors: 2, total_memory: 3 };
  const found = nodes(
    [
      { ...line, server_type: "coordinator", is_leader: 1 },
      { ...line, server_type: "historical", tier: "hot", curr_size: 5, max_size: 9 },
      { ...line, server: "b:1", server_type: "broker" },
    ],
    [{ worker: { host: "a:1", capacity: 4, version: "0", category: "" }, currCapacityUsed: 3, runningTasks: [] }],
  );
  expect(found).toHaveLength(2);
  expect(found[0]).toMatchObject({ roles: ["coordinator", "historical"], leads: ["coordinator"], tier: "hot", size: 5, room: 9, tasks: 3, capacity: 4 });
  expect(found[1]).toMatchObject({ tasks: null, capacity: null });
});

test("what is chosen in the audit log is text in its statement", () => {
  const wanted = { kind: "query", user: "O'Neill", outcome: "", hours: 24, find: " it's " };
  const sql = statementOf(wanted);
  expect(sql).toContain(`"user" = 'O''Neill'`);
  expect(sql).toContain("INTERVAL '24' HOUR");
  expect(sql).toContain("ICONTAINS_STRING(statement, 'it''s')");
  expect(sql).not.toContain("outcome");
  expect(sql).toMatch(/ORDER BY __time DESC\nLIMIT 5000$/);
  expect(statementOf(wanted, { key: "took", down: true }, 2)).toMatch(/ORDER BY duration_ms DESC, __time DESC\nLIMIT 200 OFFSET 400$/);
  expect(statementOf(wanted, { key: "time", down: false }, 0)).toMatch(/ORDER BY __time ASC\nLIMIT 200 OFFSET 0$/);
  expect(statementOf(wanted, { key: "1; DROP", down: true })).toContain("ORDER BY __time DESC");
});

test("attributes are lines of names and values", () => {
  expect(attributesOf("tenant: A, B\n\nno colon\nregion:eu\n: x")).toEqual({ tenant: ["A", "B"], region: ["eu"] });
});

test("rules are read aloud", () => {
  expect(ruleText({ type: "loadByPeriod", period: "P30D", tieredReplicants: { hot: 2 } })).toBe("keep the last P30D (2 copies in hot)");
  expect(ruleText({ type: "dropForever" })).toBe("drop for ever");
  expect(ruleText({ type: "dropBeforeByPeriod", period: "P1Y" })).toBe("drop older than P1Y");
});

test("rows for a spreadsheet hold no formula and no cell of two lines", () => {
  const result = { columns: [{ name: "=cmd", type: "VARCHAR" }, { name: "n", type: "BIGINT" }], rows: [["@SUM(1)\n\tx", -5], [null, 12345], ["-2+3", 1]], cut: false, bytes: 0, elapsedMs: 0, uncovered: [], queryId: "" };
  expect(asTabs(result, "utc")).toBe("'=cmd\tn\n'@SUM(1) x\t-5\n\t12345\n'-2+3\t1");
});

test("cells say what they are", () => {
  expect(cellText(null, "VARCHAR", "utc")).toBeNull();
  expect(cellText("2026-01-01T00:00:00.000Z", "TIMESTAMP", "utc")).toBe("2026-01-01 00:00:00Z");
  expect(cellText({ a: [1, 2n] }, "OTHER", "utc")).toBe('{"a":[1,"2"]}');
  expect(cellText(1234567, "BIGINT", "utc")).toBe("1,234,567");
});
