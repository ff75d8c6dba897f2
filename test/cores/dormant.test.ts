// A client is away for more stanzas than its core keeps: they go into Redis, and come to it wherever it returns.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, describe, test } from "node:test";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { heirOf } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const SECRET = "what all edges know and nobody else";
const CORE_KEEPS = 100;
const EDGE_LEAVES_THERE = 60;
const MESSAGES = 350;

/** In few words, where hundreds of numbers differ. */
function assertInOrder(got: readonly string[], sent: readonly string[]): void {
  const lost = sent.filter((text) => !got.includes(text));
  const doubled = got.filter((text, i) => got.indexOf(text) < i);
  const strange = got.filter((text) => !sent.includes(text));
  assert.deepEqual({ lost, doubled, strange }, { lost: [], doubled: [], strange: [] });
  assert.deepEqual(got, sent);
}

for (const kind of ALL_CORES) {
  describe(`dormant beyond the patience of ${kind}`, () => {
    let core: Core;
    let redis: RedisServer;
    let edges: SpawnedEdge[] = [];
    let bob: RawClient | null = null;
    let settled = 0;

    const start = async (more = ""): Promise<SpawnedEdge> => {
      const edge = await spawnEdge({
        core: { ...core, kind },
        coreConfig: `    max_unacked: ${EDGE_LEAVES_THERE}`,
        config: `
stream_management: { resume_secret: "${SECRET}", ${more} }
store: { driver: redis, redis: { nodes: ["${redis.address}"], probe_interval: 1 } }`,
      });
      edges.push(edge);
      await until(async () => (await edge.metric("breakwater_store_up")) === 1, "the edge has its store");
      return edge;
    };
    const account = (edge: SpawnedEdge, user: string): LoginOptions => {
      return { port: edge.tls, tls: "direct", ca: edge.ca, domain: core.domain, user, password: "pw", resource: user };
    };

    before(async () => {
      core = await startCore(kind, { maxUnacked: CORE_KEEPS });
      redis = await startRedis();
      for (const user of ["alice", "bob"]) await core.register(user, "pw");
    });
    afterEach(async () => {
      bob?.drop();
      await Promise.all(edges.map((edge) => edge.stop()));
      edges = [];
    });
    after(async () => {
      await redis.stop();
      await core.stop();
    });

    /** alice has gone without a word, and bob writes to her: up to the limit of each leg and far beyond. */
    const sleeper = async (edge: SpawnedEdge): Promise<{ jid: string; sm: StreamManagement; texts: string[] }> => {
      bob = await RawClient.login(account(edge, "bob"));
      bob!.presence();
      const alice = await RawClient.login(account(edge, "alice"));
      await alice.enable({ resume: true });
      alice.presence();
      await alice.fence();
      const jid = alice.jid!;
      alice.drop();
      await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "she is dormant");
      return { jid, sm: alice.sm!, texts: await write(edge, jid, MESSAGES) };
    };
    const write = async (edge: SpawnedEdge, jid: string, count: number): Promise<string[]> => {
      const texts: string[] = [];
      for (let i = 0; i < count; i++) {
        texts.push(`${++settled}`);
        bob!.message(jid, texts.at(-1)!);
        // No faster than the store takes it: these limits are a tenth of what cores have.
        if (i % 20 === 19) {
          await bob!.fence();
          const stored = () => edge.metric("breakwater_sm_stored_stanzas_total");
          await until(
            async () => (await stored()) > i - EDGE_LEAVES_THERE / 2,
            "the store has what the core need not keep",
          );
        }
      }
      await bob!.fence();
      return texts;
    };
    const bodies = async (client: RawClient, last: string): Promise<string[]> => {
      client.inbox.items.push(await client.expect(new RegExp(`<body>${last}<`)));
      await client.fence();
      return client.takeBodies();
    };
    const keys = async (): Promise<string[]> =>
      (await redis.cli("keys", "breakwater:*")).split("\n").filter((key) => key.includes("{"));

    test("she returns to the same edge: each message once and in order, and the store forgets her", async () => {
      const edge = await start();
      const { sm, texts } = await sleeper(edge);
      const alice = await RawClient.authenticated(account(edge, "alice"));
      assert.equal((await alice.resume(sm)).name, "resumed");
      assertInOrder(await bodies(alice, texts.at(-1)!), texts);
      alice.ack();
      await until(async () => (await keys()).length === 0, "the store has forgotten her");
      await alice.end();
    });

    test("she returns to another edge after kill -9 of hers, twice: each message once and in order", async () => {
      const here = await start();
      const there = await start();
      const { jid, sm, texts } = await sleeper(here);
      here.process.kill("SIGKILL");
      bob = await RawClient.login(account(there, "bob"));
      bob!.presence();
      const alice = await RawClient.authenticated(account(there, "alice"));
      const answer = await alice.resume(sm);
      assert.equal(answer.name, "resumed", answer.xml);
      // She reads a part of it only, and the second edge is killed, too.
      await alice.expect(new RegExp(`<body>${texts[100]}<`));
      alice.ack();
      await alice.fence();
      alice.drop();
      const read = alice.takeBodies().length + 1;
      texts.splice(0, read);
      texts.push(...(await write(there, jid, 100)));
      there.process.kill("SIGKILL");
      const last = await start();
      const again = await RawClient.authenticated(account(last, "alice"));
      assert.equal((await again.resume(sm)).name, "resumed");
      assertInOrder(await bodies(again, texts.at(-1)!), texts);
      again.ack();
      await until(async () => (await keys()).length === 0, "the store has forgotten her");
      await again.end();
    });

    test("a new process takes the place of hers: what is stored stays acknowledged, and each message comes once", async () => {
      const edge = await start();
      const { jid, sm, texts } = await sleeper(edge);
      const ended = once(edge.process, "exit");
      edge.process.kill("SIGUSR2");
      const heir = await heirOf(edge);
      try {
        assert.deepEqual(await ended, [0, null]);
        bob = await RawClient.login(account(edge, "bob"));
        texts.push(...(await write(edge, jid, 2 * EDGE_LEAVES_THERE)));
        const alice = await RawClient.authenticated(account(edge, "alice"));
        assert.equal((await alice.resume(sm)).name, "resumed");
        assertInOrder(await bodies(alice, texts.at(-1)!), texts);
        assert.equal(await edge.metric("breakwater_sm_resumes_total", { result: "resumed" }), 1);
        alice.ack();
        await until(async () => (await keys()).length === 0, "the store has forgotten her");
        await alice.end();
      } finally {
        await heir.stop();
      }
    });

    test("her time is over: after the new login she has each message once", async () => {
      const edge = await start("hold_time: 10");
      const { jid, sm, texts } = await sleeper(edge);
      const ended = () => edge.metric("breakwater_sessions_closed_total", { reason: "hold-expired" });
      await until(async () => (await ended()) === 1, "her session has ended");
      // At the core, too: what was not stored is among her offline messages.
      const ping = () => bob!.request(`<iq type='get' id='ping' to='${jid}'><ping xmlns='urn:xmpp:ping'/></iq>`);
      await until(async () => /service-unavailable/.test((await ping()).xml), "the core knows of no such session");
      const alice = await RawClient.authenticated(account(edge, "alice"));
      assert.equal((await alice.resume(sm)).name, "failed");
      await alice.bind("alice");
      await alice.enable({ resume: true });
      alice.presence();
      assertInOrder(await bodies(alice, texts.at(-1)!), texts);
      alice.ack();
      await alice.end();
    });

    /** Her app has been restarted: nothing but her name and password. */
    const anew = async (edge: SpawnedEdge): Promise<RawClient> => {
      const alice = await RawClient.login(account(edge, "alice"));
      await alice.enable({ resume: true });
      return alice;
    };
    /** Those that are in Redis, when all are that need not be at the core: it has been told so. */
    const storedOf = async (edge: SpawnedEdge, texts: readonly string[]): Promise<string[]> => {
      const count = () => edge.metric("breakwater_sm_stored_stanzas_total");
      await until(
        async () => (await count()) > texts.length - EDGE_LEAVES_THERE / 4,
        "what need not be there is stored",
      );
      const list = (await keys()).find((key) => key.endsWith("q"))!;
      return Array.from((await redis.cli("lrange", list, "0", "-1")).matchAll(/<body>(\d+)</g), ([, text]) => text!);
    };

    test("kill -9 of her edge, and she has forgotten her session: a login gets each message once and in order", async () => {
      const here = await start();
      const there = await start();
      const { texts } = await sleeper(here);
      const stored = await storedOf(here, texts);
      here.process.kill("SIGKILL");
      const first = await anew(there);
      const early = first.takeBodies();
      assertInOrder(early.slice(0, stored.length), stored);
      // It dies, too, before she has acknowledged anything.
      there.process.kill("SIGKILL");
      await first.closed;
      const last = await start();
      const alice = await anew(last);
      assertInOrder(alice.takeBodies().slice(0, stored.length), stored);
      alice.presence();
      await alice.fence();
      // The few that were not stored are the core's: it may have given them to her first login already.
      const rest = [...early, ...alice.takeBodies()];
      assert.deepEqual(
        texts.filter((text) => !stored.includes(text) && !rest.includes(text)),
        [],
      );
      alice.ack();
      await until(async () => (await keys()).length === 0, "the store has forgotten her");
      await alice.end();
      const after = await anew(last);
      after.presence();
      await after.fence();
      assert.deepEqual(after.takeBodies(), []);
      await after.end();
    });

    test("Redis is away when her edge is killed and she logs in anew: each message once, when it is back", async () => {
      const here = await start();
      const there = await start();
      const { texts } = await sleeper(here);
      const stored = await storedOf(here, texts);
      redis.freeze();
      try {
        here.process.kill("SIGKILL");
        const early = await anew(there);
        early.presence();
        await early.fence();
        early.ack();
        await early.fence();
        const had = early.takeBodies();
        assert.ok(had.length <= texts.length - stored.length, "what the core had");
        redis.thaw();
        assert.match((await early.expect(/stream:error/)).xml, /<reset /);
        await early.closed;
        const alice = await anew(there);
        alice.presence();
        await alice.fence();
        const now = alice.takeBodies();
        assertInOrder([...now.slice(0, stored.length), ...had, ...now.slice(stored.length)], texts);
        alice.ack();
        await until(async () => (await keys()).length === 0, "the store has forgotten her");
        await alice.end();
      } finally {
        redis.thaw();
      }
    });
  });
}
