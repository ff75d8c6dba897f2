// Processes are killed in the middle of an upgrade of several workers, while clients write to each other and others sleep.
// At Prosody: ejabberd 23.01 may lose messages that arrive while it resumes a session, without an edge, too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { startProsody } from "../support/cores/index.ts";
import { Crowd, when } from "../support/crowd.ts";
import { spawnEdge } from "../support/edge.ts";
import { event, heirOf, linesOf } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const CLIENTS = 12;
const ASLEEP = 4;
const WORKERS = 2;
const PATIENCE_MS = 120_000;

const VICTIMS = ["the new supervisor", "the old supervisor", "a new worker", "an old worker"] as const;

for (const victim of VICTIMS) {
  test(`${victim} is killed while clients go over: nobody logs in anew, and nothing is lost`, async (t) => {
    const core = await startProsody();
    t.after(() => core.stop());
    const names = Array.from({ length: CLIENTS + ASLEEP }, (_, i) => `user${i}`);
    await core.registerAll(names.map((user) => ({ user, password: "pw" })));
    const secret = 'stream_management: { resume_secret: "what all workers know and nobody else" }';
    const edge = await spawnEdge({ core, config: `workers: ${WORKERS}\ndrain: { rate: 1 }\n${secret}` });
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

    edge.process.kill("SIGUSR2");
    const next = await heirOf(edge);
    await when(() => crowd.returns.length > 0, PATIENCE_MS);
    const workers = linesOf(edge).filter((line) => line["event"] === "worker started");
    const pid = (isNew: boolean) => workers.find((line) => "in_place_of" in line === isNew)!["pid"] as number;
    const pids = [next.pid, edge.pid, pid(true), pid(false)];
    process.kill(pids[VICTIMS.indexOf(victim)]!, "SIGKILL");

    if (victim === "the new supervisor") await event(edge, "upgrade failed, this process goes on");
    else if (victim === "the old supervisor")
      await event(edge, "the process before this one ended before it was through");
    else await event(edge, "took the place of the process before");
    await until(
      async () => (await edge.metric("breakwater_workers").catch(() => 0)) === WORKERS,
      "all workers serve",
      60_000,
    );
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
    if (victim === "the new supervisor") assert.equal(await edge.stop(), 0);
    else await next.stop();
  });
}
