import assert from "node:assert/strict";
import { test } from "node:test";
import { CATCH_UP_MS, JITTER, Pacer } from "../../src/base/pacer.ts";
import { TurnedClock } from "../support/clock.ts";

const ITEMS = Array.from({ length: 200 }, (_, i) => i);

function scene(random: () => number, options: { rate?: number; free?: (item: number) => boolean } = {}) {
  const clock = new TurnedClock();
  const began = clock.now();
  const gone: { item: number; at: number }[] = [];
  let ends = 0;
  const pacer = new Pacer({
    clock,
    rate: options.rate ?? 50,
    items: ITEMS,
    letGo: (item) => {
      gone.push({ item, at: clock.now() - began });
      return !options.free?.(item);
    },
    onEnd: () => ends++,
    random,
  });
  return { clock, pacer, gone, ends: () => ends };
}

test("without chance one goes at once and one every 1/rate, in order, and the end is told once", () => {
  const { clock, pacer, gone, ends } = scene(() => 0);
  pacer.begin();
  assert.deepEqual(gone, [{ item: 0, at: 0 }]);
  clock.advance({ seconds: 10 });
  const exactly = ITEMS.map((item) => ({ item, at: item * 20 }));
  assert.deepEqual(gone, exactly);
  assert.equal(ends(), 1);
});

test("chance makes a gap longer by a fifth at most, never shorter: no second has more than the rate", () => {
  const { clock, pacer, gone } = scene(Math.random);
  pacer.begin();
  clock.advance({ seconds: 10 });
  assert.equal(gone.length, ITEMS.length);
  const gaps = gone.slice(1).map(({ at }, i) => at - gone[i]!.at);
  assert.ok(Math.min(...gaps) >= 20 - 1e-6, `${Math.min(...gaps)}`);
  assert.ok(Math.max(...gaps) <= 20 * (1 + JITTER) + 1e-6, `${Math.max(...gaps)}`);
  assert.ok(new Set(gaps.map(Math.round)).size > 2, "they differ");
  for (const { at: from } of gone) {
    assert.ok(gone.filter(({ at }) => at >= from && at < from + 1000 - 1e-6).length <= 50);
  }
});

test("what costs nothing takes no turn", () => {
  const { clock, pacer, gone } = scene(() => 0, { free: (item) => item % 2 === 1 });
  pacer.begin();
  clock.advance({ ms: 40 });
  assert.deepEqual(
    gone.map(({ item, at }) => [item, at]),
    [
      [0, 0],
      [1, 20],
      [2, 20],
      [3, 40],
      [4, 40],
    ],
  );
});

test("after an abort nobody goes any more, also when it comes from a turn", () => {
  const { clock, pacer, gone, ends } = scene(() => 0);
  pacer.begin();
  clock.advance({ ms: 100 });
  pacer.abort();
  clock.advance({ seconds: 60 });
  assert.deepEqual([gone.length, pacer.left, ends()], [6, 194, 0]);
  const other = scene(() => 0, {
    free: (item) => {
      if (item === 3) other.pacer.abort();
      return true;
    },
  });
  other.pacer.begin();
  assert.deepEqual([other.gone.length, other.ends()], [4, 0]);
});

test("in a hurry all that are left go at once, in order, and the end is told once", () => {
  const { clock, pacer, gone, ends } = scene(() => 0);
  pacer.begin();
  clock.advance({ ms: 100 });
  pacer.hurry();
  pacer.hurry();
  clock.advance({ seconds: 60 });
  assert.deepEqual(
    gone.map(({ item }) => item),
    ITEMS,
  );
  assert.deepEqual([pacer.left, ends()], [0, 1]);
});

test("after a standstill only a moment is made up for", () => {
  const { clock, pacer, gone } = scene(() => 0);
  const after = clock.after.bind(clock);
  // The process stood still: the timer runs 3 s late.
  clock.after = (ms, run) => after(ms + 3000, run);
  pacer.begin();
  clock.advance({ ms: 3020 });
  assert.equal(gone.length - 1, CATCH_UP_MS / 20 + 1);
});

test("another rate holds from the next turn on", () => {
  const { clock, pacer, gone } = scene(() => 0, { rate: 1 });
  pacer.begin();
  pacer.rate = 100;
  clock.advance({ ms: 1030 });
  assert.deepEqual(
    gone.map(({ at }) => at),
    [0, 1000, 1010, 1020, 1030],
  );
});

test("nobody to let go is an end at once", () => {
  let ended = 0;
  new Pacer({ clock: new TurnedClock(), rate: 1, items: [], letGo: () => true, onEnd: () => ended++ }).begin();
  assert.equal(ended, 1);
});
