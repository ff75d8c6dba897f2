import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../src/base/clock.ts";
import type { Store } from "../../src/session/stanza-store.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis.ts";
import { Claimant, type Fault, STEPS, World } from "./claimant.ts";
import { granted, named, openReady, optionsWith, redisOptionsOf, stanzas } from "./support.ts";

const FAULTS: readonly Fault[] = [
  null,
  ...Array.from({ length: STEPS }, (_, at) => ({ kind: "crash", at }) as const),
  ...Array.from({ length: STEPS }, (_, at) => ({ kind: "lost answer", at }) as const),
];

function stepsOf(fault: Fault): number {
  return fault === null ? STEPS : fault.kind === "crash" ? fault.at : STEPS + 1;
}

/** All orders of so many steps of two: true is a step of the first. */
function* interleavings(first: number, second: number): Generator<readonly boolean[]> {
  const length = first + second;
  for (let bits = 0; bits < 2 ** length; bits++) {
    const order = Array.from({ length }, (_, i) => ((bits >> i) & 1) === 1);
    if (order.filter(Boolean).length === first) yield order;
  }
}

/** Plays one schedule; then a third one takes the session over and looks at what is there. Answers what went wrong. */
async function play(
  id: string,
  stores: readonly [Store, Store],
  faults: readonly [Fault, Fault],
  order: readonly boolean[],
) {
  const world = new World(id);
  const claimants = faults.map((fault, i) => new Claimant(`edge-${i}`, world, stores[i as 0 | 1], fault));
  for (const first of order) {
    const claimant = claimants[first ? 0 : 1]!;
    if (!claimant.done) await claimant.step();
  }
  await inspect(world, stores[0]);
  return world.wrong;
}

/** Every stanza that somebody was told is stored is there once and in order, but those that a client has had. */
async function inspect(world: World, store: Store): Promise<void> {
  const { epoch, record } = granted(await store.claim(named(world.id), "inspector", 60));
  if (epoch <= world.highestEpoch) world.wrong.push("the inspector got the epoch of an earlier claim");
  const { stanzas: left } = granted(await store.load(named(world.id), epoch, 1, 1e6));
  const last = (record?.stanzas?.next ?? 1) - 1;
  const expected = stanzas(world.trimmedThrough + 1, last).map(String);
  if (last < world.storedThrough) world.wrong.push(`stored through ${world.storedThrough}, there through ${last}`);
  if (left.map(String).join() !== expected.join()) world.wrong.push(`there: ${left.map(String)}, due: ${expected}`);
  await store.release(named(world.id), epoch);
}

test("two edges that claim one session: in every order of their steps, with each crash and each lost answer, one owns it", async (t) => {
  const store = new MemoryStore(optionsWith(), { clock: systemClock });
  t.after(() => store.close());
  let schedules = 0;
  for (const [i, first] of FAULTS.entries()) {
    // what happens to the one may as well happen to the other: half of the pairs are all of them
    for (const second of FAULTS.slice(i)) {
      for (const order of interleavings(stepsOf(first), stepsOf(second))) {
        const wrong = await play(`${schedules++}`, [store, store], [first, second], order);
        if (wrong.length > 0) assert.fail(JSON.stringify({ first, second, order, wrong }));
      }
    }
  }
  assert.ok(schedules > 15_000, `${schedules}`);
});

test("a sample of these schedules ends the same in Redis", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const options = redisOptionsOf(server, { timeout: 10 });
  const stores = [(await openReady(t, options)).store, (await openReady(t, options)).store] as const;
  const random = new Random(20261122);
  for (let i = 0; i < 150; i++) {
    const faults = [random.pick(FAULTS), random.pick(FAULTS)] as const;
    const order = shuffled(random, stepsOf(faults[0]), stepsOf(faults[1]));
    const wrong = await play(`${i}`, stores, faults, order);
    if (wrong.length > 0) assert.fail(JSON.stringify({ faults, order, wrong }));
  }
  assert.equal(await server.cli("keys", "*{*"), "", "what is released is gone");
});

test("edges that claim and write at the same moment over their own connections lose and double nothing", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const options = redisOptionsOf(server, { timeout: 10 });
  const stores = await Promise.all([1, 2, 3].map(async () => (await openReady(t, options)).store));
  const random = new Random(7);
  for (let i = 0; i < 60; i++) {
    const world = new World(`${i}`);
    world.judge = () => {}; // who is first is Redis' secret
    const claimants = stores.map((store, n) => new Claimant(`edge-${n}`, world, store, random.pick(FAULTS)));
    await Promise.all(claimants.map(run));
    world.highestEpoch = 0;
    world.trimmedThrough = 0;
    const { epoch, record } = granted(await stores[0]!.claim(named(world.id), "inspector", 60));
    const { stanzas: left } = granted(await stores[0]!.load(named(world.id), epoch, 1, 1e6));
    const range = record?.stanzas ?? { first: 1, next: 1 };
    assert.ok(range.next - 1 >= world.storedThrough, `${i}: ${range.next} ${world.storedThrough}`);
    assert.deepEqual(left.map(String), stanzas(range.first, range.next - 1).map(String));
  }
});

async function run(claimant: Claimant): Promise<void> {
  while (!claimant.done) await claimant.step();
}

function shuffled(random: Random, first: number, second: number): boolean[] {
  const order: boolean[] = [];
  let [a, b] = [first, second];
  while (a + b > 0) {
    const turn = random.chance(a / (a + b));
    order.push(turn);
    if (turn) a--;
    else b--;
  }
  return order;
}
