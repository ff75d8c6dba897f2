// Processes are killed in the middle of an upgrade, while clients write to each other and others sleep.
// At Prosody: ejabberd 23.01 may lose messages that arrive while it resumes a session, without an edge, too.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { askControl } from "../../src/cli/control-client.ts";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { startProsody } from "../support/cores/index.ts";
import { Crowd, when } from "../support/crowd.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { event, heir, heirOf, LAUNCHER, linesOf, script } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const CLIENTS = 12;
const ASLEEP = 4;
const WORKERS = 2;
const PATIENCE_MS = 120_000;
const THROUGH = "the process before this one ended before it was through";

interface Scene {
  readonly edge: SpawnedEdge;
  readonly crowd: Crowd;
}

/** `strike` begins an upgrade and kills somebody; it resolves to how the survivor is stopped. */
async function survives(
  t: TestContext,
  workers: number,
  strike: (scene: Scene) => Promise<() => Promise<void>>,
): Promise<void> {
  const core = await startProsody();
  t.after(() => core.stop());
  const names = Array.from({ length: CLIENTS + ASLEEP }, (_, i) => `user${i}`);
  await core.registerAll(names.map((user) => ({ user, password: "pw" })));
  const secret = 'stream_management: { resume_secret: "what all workers know and nobody else" }';
  const config = `workers: ${workers}\ndrain: { rate: 1 }\n${secret}`;
  const edge = await spawnEdge({ core, config, opsConfig: "control: control.sock" });
  t.after(() => void edge.process.kill("SIGKILL"));
  await event(edge, "breakwater started");
  const account = (i: number): LoginOptions => {
    const port = edge.plaintext;
    return { port, domain: core.domain, user: names[i]!, password: "pw", resource: "phone", patienceMs: 60_000 };
  };
  const asleep: StreamManagement[] = [];
  for (let i = CLIENTS; i < names.length; i++) {
    const client = await RawClient.login(account(i));
    await client.enable({ resume: true });
    asleep.push(client.sm!);
    client.hangUp();
  }
  const crowd = await Crowd.login({ clients: CLIENTS, options: account });
  t.after(() => crowd.leave());
  const dormant = async () => await edge.metric("breakwater_sessions", { phase: "dormant" });
  await until(async () => (await dormant()) === ASLEEP, "they sleep");
  const sessions = (await core.sessions()).sort();
  crowd.write(20);

  const stop = await strike({ edge, crowd });
  await until(() => crowd.online === CLIENTS || crowd.ended.length > 0, "all are back", PATIENCE_MS);
  await crowd.settle();
  assert.deepEqual(crowd.ended, []);
  const { sent, ...rest } = crowd.counts();
  assert.deepEqual({ ...rest, reordered: crowd.reordered }, { delivered: sent, lost: 0, doubled: 0, reordered: 0 });
  for (const [i, sm] of asleep.entries()) {
    const back = await RawClient.authenticated(account(CLIENTS + i));
    const answer = await back.resume(sm);
    assert.equal(answer.name, "resumed", answer.xml);
    await back.fence();
    back.drop();
  }
  assert.deepEqual((await core.sessions()).sort(), sessions, "the core has the sessions that it had");
  await stop();
}

const VICTIMS = ["the new supervisor", "the old supervisor", "a new worker", "an old worker"] as const;

describe("a process is killed while clients go over", { concurrency: 2 }, () => {
  for (const victim of VICTIMS) {
    test(`${victim} is killed: nobody logs in anew, and nothing is lost`, async (t) => {
      await survives(t, WORKERS, async ({ edge, crowd }) => {
        edge.process.kill("SIGUSR2");
        const next = await heirOf(edge);
        await when(() => crowd.returns.length > 0, PATIENCE_MS);
        const workers = linesOf(edge).filter((line) => line["event"] === "worker started");
        const pid = (isNew: boolean) => workers.find((line) => "in_place_of" in line === isNew)!["pid"] as number;
        const pids = [next.pid, edge.pid, pid(true), pid(false)];
        process.kill(pids[VICTIMS.indexOf(victim)]!, "SIGKILL");

        if (victim === "the new supervisor") await event(edge, "upgrade failed, this process goes on");
        else if (victim === "the old supervisor") await event(edge, THROUGH);
        else await event(edge, "took the place of the process before");
        await until(
          async () => (await edge.metric("breakwater_workers").catch(() => 0)) === WORKERS,
          "all workers serve",
          60_000,
        );
        return async () => {
          if (victim === "the new supervisor") assert.equal(await edge.stop(), 0);
          else await next.stop();
        };
      });
    });
  }
});

const MOMENTS = {
  meet: "as soon as they have met",
  hold: "while it hands over those who sleep",
  begin: "when all of these have come",
  open: "as its ports have moved",
};

describe("the old process is killed before that", { concurrency: 2 }, () => {
  for (const workers of [1, WORKERS]) {
    for (const [word, moment] of Object.entries(MOMENTS)) {
      // What workers say to each other goes by their supervisors, within words of these.
      if (workers > 1 && word !== "meet" && word !== "open") continue;
      test(`the old process of ${workers} is killed ${moment}: nobody logs in anew, and nothing is lost`, async (t) => {
        await survives(t, workers, async ({ edge }) => {
          const launcher = killsAt(edge, word);
          const control = join(edge.dir, "control.sock");
          const { status } = await askControl(control, "POST", `/upgrade?${new URLSearchParams({ launcher })}`);
          assert.equal(status, 202);
          const next = await heirOf(edge);
          await event(edge, THROUGH);
          const started = linesOf(edge).filter((line) => line["event"] === "worker started");
          const old = started.filter((line) => !("in_place_of" in line)).map((line) => heir(line["pid"] as number));
          await until(() => old.every((worker) => !worker.isAlive), "the old workers end", PATIENCE_MS);
          assert.ok(edge.log().includes(`struck at ${word}`));
          return () => next.stop();
        });
      });
    }
  }
});

/** A launcher whose process kills the one before it when that says `word` to it. */
function killsAt(edge: SpawnedEdge, word: string): string {
  const preload = script(
    edge,
    "strikes.mjs",
    `const old = process.ppid;
     process.on("message", ({ do: word }) => {
       if (word !== "${word}") return;
       process.kill(old, "SIGKILL");
       process.stderr.write("struck at ${word}\\n");
     });`,
  );
  const start = `NODE_OPTIONS="--import file://${preload}" exec "${LAUNCHER}" "$@"`;
  return script(edge, "strikes", `#!/bin/sh\n${start}\n`);
}
