import assert from "node:assert/strict";
import { test } from "node:test";
import { meter } from "../../src/base/meter.ts";
import { measureLoopLag } from "../../src/ops/loop-lag.ts";
import { Metrics } from "../../src/ops/metrics.ts";
import { until } from "../support/wire.ts";

const linesOf = (text: string, name: string) => text.split("\n").filter((line) => line.startsWith(name));

test("a counter shows what was counted until the scrape, each label by itself", async () => {
  const hits = meter.counter("test_hits_total", "Hits, by result", ["result"]);
  hits.inc("good");
  hits.cell("good").value++;
  hits.inc('bad"\n');
  const text = await new Metrics({ nodeMetrics: false }).text();
  assert.match(text, /# HELP test_hits_total Hits, by result\n# TYPE test_hits_total counter\n/);
  assert.deepEqual(linesOf(text, "test_hits_total{"), [
    'test_hits_total{result="good"} 2',
    'test_hits_total{result="bad\\"\\n"} 1',
  ]);
});

test("a gauge may compute itself when it is read", async () => {
  const size = meter.gauge("test_size", "Size");
  size.collect = () => size.set(7);
  assert.deepEqual(linesOf(await new Metrics({ nodeMetrics: false }).text(), "test_size "), ["test_size 7"]);
});

test("a distribution shows cumulative buckets, the sum and the count", async () => {
  const times = meter.histogram("test_seconds", "Times", [0.1, 1]);
  for (const time of [0.05, 0.1, 0.5, 3]) times.observe(time);
  assert.deepEqual(linesOf(await new Metrics({ nodeMetrics: false }).text(), "test_seconds"), [
    'test_seconds_bucket{le="0.1"} 2',
    'test_seconds_bucket{le="1"} 3',
    'test_seconds_bucket{le="+Inf"} 4',
    "test_seconds_sum 3.65",
    "test_seconds_count 4",
  ]);
});

test("a metric that is declared after the first scrape is in the next", async () => {
  const metrics = new Metrics({ nodeMetrics: false });
  await metrics.text();
  meter.gauge("test_late", "Late");
  assert.deepEqual(linesOf(await metrics.text(), "test_late "), ["test_late 0"]);
});

test("what Node tells about the process is there under its usual names", async () => {
  const text = await new Metrics().text();
  assert.match(text, /^process_cpu_seconds_total /m);
  assert.match(text, /^nodejs_heap_size_used_bytes /m);
});

test("a scrape does not walk through all open sockets", async () => {
  assert.doesNotMatch(await new Metrics().text(), /process_open_fds|nodejs_active_/);
});

test("a blocked event loop shows as lag in the next scrape, and only in that", async () => {
  const metrics = new Metrics({ nodeMetrics: false });
  const stop = measureLoopLag();
  const lag = async () => Number(/quantile="1"\} (\S+)/.exec(await metrics.text())?.[1]);
  const turn = () => new Promise((resolve) => setTimeout(resolve, 60));
  await turn();
  await lag();
  await turn(); // the first timer after a scrape only sets the mark
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await turn();
  const blocked = await lag();
  assert.ok(blocked > 0.2, `${blocked}`);
  // The machine may have stood still meanwhile, but not each time.
  await until(async () => (await lag()) < blocked, "a scrape shows less");
  stop();
});
