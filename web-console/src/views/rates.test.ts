import { expect, test } from "vitest";
import { ratesOf, type MetricRow } from "./rates";

const row = (step: number, name: string, value: number, labels = "", node = "a:1"): MetricRow => ({ time: step * 30_000, node, name, labels, value });

test("counters of all nodes become rates, a node that begins anew falls to nothing and not below", () => {
  const ok = '{"kind":"sql","outcome":"answered"}';
  const bad = '{"kind":"sql","outcome":"failed"}';
  const rates = ratesOf(
    [
      ...[0, 30, 90].map((value, step) => row(step, "henge_server_queries_total", value, ok)),
      ...[100, 160, 30].map((value, step) => row(step, "henge_server_queries_total", value, ok, "b:1")),
      ...[0, 0, 3].map((value, step) => row(step, "henge_server_queries_total", value, bad)),
      ...[0, 3, 3].map((value, step) => row(step, "henge_server_query_seconds_sum", value)),
      ...[0, 30, 30].map((value, step) => row(step, "henge_server_query_seconds_count", value)),
      ...[5, 7, 9].map((value, step) => row(step, "henge_ingest_lag", value, '{"supervisor":"x"}')),
      row(3, "henge_server_queries_total", 10_000, ok),
    ],
    100_000,
  );
  expect(rates.times).toEqual([30_000, 60_000]);
  expect(rates.queries).toEqual([1 + 2, 2 + 1 + 0.1]);
  expect(rates.failed).toEqual([0, 0.1]);
  expect(rates.latency).toEqual([100, null]);
  expect(rates.lag).toEqual([7, 9]);
  expect(rates.rows).toEqual([0, 0]);
});

test("without any metrics there are no rates", () => {
  expect(ratesOf([], 0).times).toEqual([]);
  expect(ratesOf([row(0, "henge_ingest_lag", 1, "not JSON")], 1e9).times).toEqual([]);
});
