// All workers of an edge are replaced, by a new version or by themselves: sleeping clients keep their sessions.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { event, type HeirProcess, heirOf } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const WORKERS = 2;
const ASLEEP = ["alice", "carol", "dora", "emil", "fred", "gina"];

for (const kind of ALL_CORES) {
  describe(`workers in front of ${kind}`, () => {
    let core: Core;
    /** Of a client whose edge is left alone. */
    let other: SpawnedEdge;
    let bob: RawClient;
    const account = (edge: SpawnedEdge, user: string): LoginOptions => {
      return { port: edge.plaintext, domain: core.domain, user, password: "pw", resource: "phone", patienceMs: 60_000 };
    };

    before(async () => {
      core = await startCore(kind);
      for (const user of [...ASLEEP, "bob"]) await core.register(user, "pw");
      other = await spawnEdge({ core: { ...core, kind } });
      bob = await RawClient.login(account(other, "bob"));
      bob.presence();
      await bob.fence();
    });
    after(async () => {
      bob.drop();
      await other.stop();
      await core.stop();
    });

    /** Sleeping clients of an edge; `replaces` runs while messages come for them. */
    const sleepThrough = async (edge: SpawnedEdge, replaces: () => Promise<void>): Promise<void> => {
      const asleep: { jid: string; sm: StreamManagement; user: string }[] = [];
      for (const user of ASLEEP) {
        const client = await RawClient.login(account(edge, user));
        await client.enable({ resume: true });
        client.presence();
        await client.fence();
        asleep.push({ jid: client.jid!, sm: client.sm!, user });
        client.hangUp();
      }
      const dormant = async () => await edge.metric("breakwater_sessions", { phase: "dormant" });
      await until(async () => (await dormant()) === ASLEEP.length, "all sleep");
      const sessions = (await core.sessions()).sort();

      let said = 0;
      let done = false;
      const talking = (async () => {
        while (!done || said < 20) {
          for (const { jid } of asleep) bob.message(jid, `${said}`);
          said++;
          await bob.fence();
          await new Promise((resolve) => setTimeout(resolve, 100)); // a core keeps some hundreds
        }
      })();
      await replaces();
      done = true;
      await talking;
      assert.deepEqual((await core.sessions()).sort(), sessions, "the core has the sessions that it had");
      assert.equal(await dormant(), ASLEEP.length);
      assert.equal(await edge.metric("breakwater_inherited_sessions_total", { result: "taken" }), ASLEEP.length);

      for (const { jid, sm, user } of asleep) {
        const back = await RawClient.authenticated(account(edge, user));
        assert.equal((await back.resume(sm)).name, "resumed");
        back.inbox.items.push(await back.expect(new RegExp(`>${said - 1}<`)));
        assert.deepEqual(
          back.takeBodies(),
          Array.from({ length: said }, (_, i) => `${i}`),
        );
        back.message(bob.jid!, `${user} is back`);
        assert.equal((await bob.expect(/<body>/)).text("body"), `${user} is back`);
        await back.allAcked();
        bob.message(jid, "good to see you");
        await back.expect(/good to see you/);
        await back.end();
      }
    };

    const spawned = async (config = ""): Promise<SpawnedEdge> => {
      const secret = 'stream_management: { resume_secret: "what all workers know and nobody else" }';
      const edge = await spawnEdge({ core: { ...core, kind }, config: `workers: ${WORKERS}\n${secret}\n${config}` });
      await event(edge, "breakwater started");
      return edge;
    };

    test("SIGUSR1: sleeping clients keep their sessions through a restart of the workers", async () => {
      const edge = await spawned();
      await sleepThrough(edge, async () => {
        process.kill(edge.pid, "SIGUSR1");
        await event(edge, "all workers are new");
      });
      assert.equal(await edge.stop(), 0);
    });

    test("SIGUSR2: and through an upgrade, each worker's to the new worker with its number", async () => {
      const edge = await spawned();
      let next: HeirProcess | null = null;
      const ended = once(edge.process, "exit");
      await sleepThrough(edge, async () => {
        edge.process.kill("SIGUSR2");
        next = await heirOf(edge);
        assert.deepEqual(await ended, [0, null]);
      });
      const over = await event(edge, "took the place of the process before");
      assert.deepEqual([over["handedOver"], over["dormant"]], [ASLEEP.length, ASLEEP.length]);
      await next!.stop();
    });
  });
}
