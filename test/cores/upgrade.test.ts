// A new process takes the place of a running one: sleeping clients keep their sessions, and their core notices nothing.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { event, heirOf } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const SECRET = 'stream_management: { resume_secret: "what all edges know and nobody else" }';

for (const kind of ALL_CORES) {
  describe(`an upgrade in front of ${kind}`, () => {
    let core: Core;
    /** Of a client whose edge is not upgraded. */
    let other: SpawnedEdge;
    let bob: RawClient;
    const account = (edge: SpawnedEdge, user: string): LoginOptions => {
      return { port: edge.plaintext, domain: core.domain, user, password: "pw", resource: "phone" };
    };

    before(async () => {
      core = await startCore(kind);
      for (const user of ["alice", "bob", "carol"]) await core.register(user, "pw");
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

    for (const [what, config] of [
      ["that any edge could resume", SECRET],
      ["that only this process can resume", ""],
    ] as const) {
      test(`sleeping clients ${what}: what comes meanwhile is there once and in order, in the same session`, async () => {
        const edge = await spawnEdge({ core: { ...core, kind }, config });
        const asleep: { jid: string; sm: StreamManagement; user: string }[] = [];
        for (const user of ["alice", "carol"]) {
          const client = await RawClient.login(account(edge, user));
          await client.enable({ resume: true });
          client.presence();
          await client.fence();
          asleep.push({ jid: client.jid!, sm: client.sm!, user });
          client.hangUp();
        }
        await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 2, "both sleep");
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
        const ended = once(edge.process, "exit");
        edge.process.kill("SIGUSR2");
        const heir = await heirOf(edge);
        assert.deepEqual(await ended, [0, null]);
        done = true;
        await talking;
        assert.deepEqual((await core.sessions()).sort(), sessions, "the core has the sessions that it had");

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
        assert.equal(await edge.metric("breakwater_sm_resumes_total", { result: "resumed" }), 2);
        assert.equal(await edge.metric("breakwater_sm_resumes_total", { result: "taken-over" }), 0);
        assert.equal(await edge.metric("breakwater_inherited_sessions_total", { result: "taken" }), 2);
        const over = await event(edge, "took the place of the process before");
        assert.equal(over["handedOver"], 2);
        await heir.stop();
      });
    }
  });
}
