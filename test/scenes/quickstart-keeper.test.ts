import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Keeper, type Kept } from "../../scripts/quickstart/keeper.ts";

/** A keeper of one edge that is dead, in a time that stands still. */
function keep(t: TestContext, restart: (edge: { running: boolean; pid: number }) => Promise<void>) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let starts = 0;
  const told: string[] = [];
  const edge = {
    name: "Edge 1",
    pid: 100,
    running: false,
    logFile: "output.log",
    restart(): Promise<void> {
      starts++;
      return restart(edge);
    },
  } satisfies Kept;
  let back = 0;
  const keeper = new Keeper([edge], { tell: (line) => told.push(line), back: () => back++ });
  const pass = async (ms: number): Promise<number> => {
    t.mock.timers.tick(ms);
    await turn();
    return starts;
  };
  return { keeper, edge, told, pass, back: () => back };
}

test("an edge that cannot be started is tried again later each time, with the reason, and not after the end", async (t) => {
  const { keeper, told, pass, back } = keep(t, () => Promise.reject(new Error("its port is taken")));
  let starts = 0;
  for (const seconds of [2, 4, 8, 16, 30, 30]) {
    assert.equal(await pass(seconds * 1000 - 1), starts);
    assert.equal(await pass(1), ++starts);
  }
  assert.deepEqual(told.slice(0, 3), [
    "Edge 1 (process 100) has ended; it is started again in 2 s. Log: output.log",
    "Edge 1 does not come back: its port is taken",
    "Edge 1 (process 100) has ended; it is started again in 4 s. Log: output.log",
  ]);
  assert.equal(back(), 0);
  keeper.stop();
  assert.equal(await pass(60_000), starts);
});

test("an edge that came back is told with its new process, and is watched again", async (t) => {
  const { edge, told, pass, back } = keep(t, async (it) => {
    it.running = true;
    it.pid++;
  });
  await pass(2000);
  assert.equal(told.at(-1), "Edge 1 is back: process 101");
  assert.equal(back(), 1);
  edge.running = false;
  await pass(250);
  assert.equal(told.at(-1), "Edge 1 (process 101) has ended; it is started again in 4 s. Log: output.log");
});
