import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/cli/backoff.ts";

test("a worker that dies again and again is replaced after ever longer times, up to half a minute", () => {
  const backoff = new Backoff(() => 1);
  assert.deepEqual(
    Array.from({ length: 8 }, () => backoff.next(100)),
    [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
  );
});

test("after a minute of life it counts as a first time", () => {
  const backoff = new Backoff(() => 1);
  for (let i = 0; i < 5; i++) backoff.next(100);
  assert.equal(backoff.next(59_999), 16_000);
  assert.equal(backoff.next(60_000), 500);
  assert.equal(backoff.next(0), 1000);
});

test("chance takes up to half of it away, so that several do not return together", () => {
  assert.equal(new Backoff(() => 0).next(0), 250);
  assert.equal(new Backoff(() => 0.5).next(0), 375);
});
