// Who may shake hands, and when.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Janitor } from "../../src/base/janitor.ts";
import { silentLog } from "../../src/base/log.ts";
import { type AtTheTurnstile, type Place, Turnstile } from "../../src/edge/turnstile.ts";
import { TurnedClock } from "../support/clock.ts";
import { StandingLoop } from "../support/standing-loop.ts";

function setUp() {
  const clock = new TurnedClock();
  const loop = new StandingLoop();
  const core = { crowded: false };
  const inside: string[] = [];
  const away: string[] = [];
  const janitor = new Janitor(clock);
  const turnstile = new Turnstile({
    ...{ clock, loop, janitor, log: silentLog },
    longestWaitMs: () => 30_000,
    crowded: () => core.crowded,
  });
  const client = (name: string, logsIn: boolean): AtTheTurnstile => ({
    logsIn,
    goIn: () => void inside.push(name),
    turnAway: () => void away.push(name),
  });
  const wait = (name: string, logsIn = true): Place => turnstile.wait(client(name, logsIn), false);
  const silent = (name: string): Place => turnstile.wait(client(name, true), true);
  return { clock, loop, core, inside, away, turnstile, wait, silent };
}

test("the first one goes right in, those behind it one in each calm turn of the loop, in their order", () => {
  const { loop, inside, turnstile, wait } = setUp();
  assert.ok(turnstile.passes(true));
  assert.ok(!turnstile.passes(true));
  for (const name of ["a", "b", "c"]) wait(name);
  assert.deepEqual(inside, []);
  loop.turn();
  assert.deepEqual(inside, ["a"]);
  loop.turn();
  assert.deepEqual(inside, ["a", "b"]);
  assert.ok(!turnstile.passes(true), "nobody overtakes those who wait");
  loop.turn(2);
  assert.deepEqual(inside, ["a", "b", "c"]);
  assert.ok(!loop.watched, "a loop that has nothing to do is left alone");
  assert.ok(turnstile.passes(true));
});

test("what is half in comes first, and what the kernel may still have: then a handshake for each 20 ms of CPU", () => {
  const { loop, inside, turnstile, wait } = setUp();
  turnstile.passes(true);
  for (let i = 0; i < 10; i++) wait(`${i}`);
  loop.turn(9, 2);
  assert.equal(inside.length, 0);
  loop.turn(1, 2);
  assert.equal(inside.length, 1);
  loop.turn(29, 2);
  assert.equal(inside.length, 3);
  for (let i = 0; i < 40; i++) {
    turnstile.arrived();
    loop.turn(1, 0.5);
  }
  assert.equal(inside.length, 4);
  loop.turn(3, 0.5);
  assert.equal(inside.length, 7);
});

test("once somebody has waited for two seconds the last one goes first", () => {
  const { clock, loop, inside, turnstile, wait } = setUp();
  turnstile.passes(true);
  for (const name of ["old", "older than it looks"]) wait(name);
  clock.advance({ ms: 1900 });
  loop.turn();
  assert.deepEqual(inside, ["old"]);
  wait("new");
  clock.advance({ ms: 200 });
  wait("newest");
  loop.turn(3);
  assert.deepEqual(inside, ["old", "newest", "new", "older than it looks"]);
});

test("who has left has no turn, nor who has not said anything, and nobody waits for ever", () => {
  const { clock, loop, inside, away, turnstile, wait, silent } = setUp();
  turnstile.passes(true);
  const gone = wait("gone");
  const slow = silent("slow");
  silent("silent");
  wait("here");
  turnstile.leave(gone);
  loop.turn(3);
  assert.deepEqual(inside, ["here"]);
  clock.advance({ seconds: 20 });
  turnstile.ready(slow);
  for (let i = 0; i < 15; i++) clock.advance({ seconds: 1 });
  assert.deepEqual(away, ["silent"], "a wait begins with the first byte");
  for (let i = 0; i < 20; i++) clock.advance({ seconds: 1 });
  assert.deepEqual(away, ["silent", "slow"]);
  loop.turn(3);
  assert.deepEqual(inside, ["here"]);
});

test("while no core takes more logins those who come to log in wait at the turnstile; the others do not", () => {
  const { clock, loop, core, inside, turnstile, wait } = setUp();
  core.crowded = true;
  assert.ok(!turnstile.passes(true));
  wait("phone");
  wait("browser", false);
  wait("tablet");
  loop.turn(5);
  assert.deepEqual(inside, ["browser"]);
  assert.ok(!loop.watched, "a loop with nothing to do is not kept busy by those who may not go in");
  wait("another browser", false);
  clock.advance({ ms: 100 });
  loop.turn(5);
  assert.deepEqual(inside, ["browser", "another browser"]);
  core.crowded = false;
  clock.advance({ ms: 100 });
  loop.turn(5);
  assert.deepEqual(inside, ["browser", "another browser", "phone", "tablet"]);
});
