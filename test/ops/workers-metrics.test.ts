import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reading } from "../../src/ops/metrics.ts";
import { WorkersMetrics } from "../../src/ops/workers-metrics.ts";

function reading(name: string, type: string, ...values: Reading["values"]): Reading {
  return { name, type, help: name, values, aggregator: "sum" };
}

const counter = (value: number, labels = {}) => reading("breakwater_x_total", "counter", { labels, value });
const gauge = (name: string, value: number) => reading(name, "gauge", { labels: {}, value });
const times = (low: number, all: number, sum: number): Reading =>
  reading(
    "breakwater_wait_seconds",
    "histogram",
    { metricName: "breakwater_wait_seconds_bucket", labels: { le: "1" }, value: low },
    { metricName: "breakwater_wait_seconds_bucket", labels: { le: "+Inf" }, value: all },
    { metricName: "breakwater_wait_seconds_sum", labels: {}, value: sum },
    { metricName: "breakwater_wait_seconds_count", labels: {}, value: all },
  );

async function lines(page: WorkersMetrics): Promise<string[]> {
  return (await page.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

test("counters, gauges of things that are counted, and histograms are added up", async () => {
  const page = new WorkersMetrics();
  page.told("1", [counter(2, { kind: "a" }), gauge("breakwater_links", 3), times(1, 2, 5)]);
  page.told("2", [counter(5, { kind: "a" }), counter(1, { kind: "b" }), gauge("breakwater_links", 4), times(3, 3, 1)]);
  assert.deepEqual(await lines(page), [
    'breakwater_x_total{kind="a"} 7',
    'breakwater_x_total{kind="b"} 1',
    "breakwater_links 7",
    'breakwater_wait_seconds_bucket{le="1"} 4',
    'breakwater_wait_seconds_bucket{le="+Inf"} 5',
    "breakwater_wait_seconds_sum 6",
    "breakwater_wait_seconds_count 5",
  ]);
});

test("moments, delays, states and what Node tells about a process stand for each worker", async () => {
  const page = new WorkersMetrics();
  for (const worker of ["1", "2"])
    page.told(worker, [
      gauge("breakwater_start_time_seconds", Number(worker)),
      gauge("breakwater_core_up", 1),
      reading("process_cpu_seconds_total", "counter", { labels: {}, value: 9 }),
    ]);
  assert.deepEqual(await lines(page), [
    'breakwater_start_time_seconds{worker="1"} 1',
    'breakwater_start_time_seconds{worker="2"} 2',
    'breakwater_core_up{worker="1"} 1',
    'breakwater_core_up{worker="2"} 1',
    'process_cpu_seconds_total{worker="1"} 9',
    'process_cpu_seconds_total{worker="2"} 9',
  ]);
});

test("when a worker is gone its counts stay, its gauges go, and its successor adds to them", async () => {
  const page = new WorkersMetrics();
  page.told("1", [counter(10), gauge("breakwater_links", 3), gauge("breakwater_core_up", 1), times(1, 2, 5)]);
  page.told("2", [counter(1), gauge("breakwater_links", 1), times(0, 1, 9)]);
  page.left("1");
  const buckets = ['breakwater_wait_seconds_bucket{le="1"} 1', 'breakwater_wait_seconds_bucket{le="+Inf"} 3'];
  const wait = [...buckets, "breakwater_wait_seconds_sum 14", "breakwater_wait_seconds_count 3"];
  assert.deepEqual((await lines(page)).sort(), ["breakwater_links 1", "breakwater_x_total 11", ...wait].sort());
  page.told("1", [counter(2)]);
  page.left("1");
  page.left("1");
  assert.ok((await lines(page)).includes("breakwater_x_total 13"));
});
