// A session goes to another edge, or to the same one after a restart: its core resumes it there (XEP-0198).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { loginStanza, trustEverywhere } from "../support/clients/browser-library.ts";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { trust, XmppJs } from "../support/clients/xmpp-js.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { WeakLink } from "../support/weak-link.ts";
import { until } from "../support/wire.ts";

const SECRET = "what all edges know and nobody else";

for (const kind of ALL_CORES) {
  describe(`takeover between two edges in front of ${kind}`, () => {
    let core: Core;
    let here: SpawnedEdge;
    let there: SpawnedEdge;
    let relay: WeakLink;
    let bob: RawClient;

    const start = (): Promise<SpawnedEdge> =>
      spawnEdge({ core: { ...core, kind }, config: `stream_management: { resume_secret: "${SECRET}" }` });
    const account = (edge: SpawnedEdge, port = edge.tls, user = "alice"): LoginOptions => {
      return { port, tls: "direct", ca: edge.ca, domain: core.domain, user, password: "pw", resource: "phone" };
    };

    before(async () => {
      core = await startCore(kind);
      for (const user of ["alice", "bob", "carol", "mallory"]) await core.register(user, "pw");
      there = await start();
      bob = await RawClient.login(account(there, there.tls, "bob"));
      bob.presence();
      await bob.fence();
    });
    after(async () => {
      bob.drop();
      await there.stop();
      await core.stop();
    });

    /** alice on `here`, through a relay that can cut her off without a word. */
    const login = async (): Promise<{ jid: string; sm: StreamManagement; client: RawClient }> => {
      here = await start();
      relay = await WeakLink.listen({ to: { port: here.tls } });
      const client = await RawClient.login(account(here, relay.port));
      await client.enable({ resume: true });
      client.presence();
      await client.fence();
      return { jid: client.jid!, sm: client.sm!, client };
    };
    const write = async (jid: string, ...texts: string[]): Promise<void> => {
      for (const text of texts) bob.message(jid, text);
      await bob.fence();
    };
    /** alice returns: what she gets has to be `texts`, and what she says has to arrive. */
    const returns = async (edge: SpawnedEdge, sm: StreamManagement, texts: string[]): Promise<RawClient> => {
      const client = await RawClient.authenticated(account(edge));
      const answer = await client.resume(sm);
      assert.equal(answer.name, "resumed", answer.xml);
      client.inbox.items.push(await client.expect(new RegExp(`>${texts.at(-1)}<`)));
      client.message(bob.jid!, `after ${texts.at(-1)}`);
      assert.equal((await bob.expect(/<body>/)).text("body"), `after ${texts.at(-1)}`);
      await client.fence();
      assert.deepEqual(client.takeBodies(), texts);
      return client;
    };

    for (const [what, fate] of [
      ["was killed", () => here.process.kill("SIGKILL")],
      ["is frozen", () => here.process.kill("SIGSTOP")],
      ["believes her to be there", () => {}],
      ["sees her dormant", () => relay.cut("fin")],
    ] as const) {
      test(`she returns to another edge while hers ${what}: everything comes once and in order`, async () => {
        const { jid, sm, client } = await login();
        relay.cut("silent");
        fate();
        await write(jid, "one", "two", "three");
        const back = await returns(there, sm, ["one", "two", "three"]);
        here.process.kill("SIGCONT");
        await back.end();
        client.drop();
        await relay.close();
        if (what === "was killed") return;
        // It lets go without a word to the core.
        await until(async () => (await here.metric("breakwater_sessions")) === 0, "the old edge forgets her");
        assert.equal(await here.stop(), 0);
      });
    }

    for (const transport of ["tls", "https"] as const) {
      test(`with @xmpp/client, available before it enables XEP-0198 (${transport}), she returns to another edge after kill -9`, async () => {
        here = await start();
        const at = (edge: SpawnedEdge) =>
          transport === "tls" ? `xmpps://127.0.0.1:${edge.tls}` : `wss://${core.domain}:${edge.https}/ws`;
        trust(there.ca);
        const { domain } = core;
        const alice = { domain, user: "alice", password: "pw", port: here.tls, tls: "direct", ca: here.ca } as const;
        const client = await XmppJs.login({ ...alice, webSocket: at(here), presentOnline: true });
        await client.smEnabled();
        await write(client.jid, "one");
        assert.deepEqual(await client.bodies(1), ["one"]);
        here.process.kill("SIGKILL");
        await client.disconnected();
        await write(client.jid, "two", "three");
        assert.equal(await client.reconnect(at(there)), "resumed");
        assert.deepEqual(await client.bodies(2), ["two", "three"]);
        await client.message(bob.jid!, "after");
        assert.equal((await bob.expect(/<body>/)).text("body"), "after");
        // Each leg has its own count, and both go on: what the core has handled the client does not send once more.
        await client.cut();
        assert.equal(await client.reconnect(at(there)), "resumed");
        await write(client.jid, "four");
        assert.deepEqual(await client.bodies(1), ["four"]);
        await client.fence();
        await bob.fence();
        assert.deepEqual([client.messages.items, bob.takeBodies()], [[], []]);
        await client.stop();
      });
    }

    test("with stanza, as its README shows, she returns to another edge after kill -9 and has what was stored for her once", async () => {
      here = await start();
      const url = (edge: SpawnedEdge) => `wss://${core.domain}:${edge.https}/ws`;
      trustEverywhere(there.ca);
      await write(`carol@${core.domain}`, "stored", "and");
      const account = { domain: core.domain, user: "carol", password: "pw", resource: "tab", ca: here.ca };
      const client = await loginStanza({ url: url(here), ...account });
      assert.deepEqual(await client.bodies.next(2, "a message"), ["stored", "and"]);
      await write(client.jid, "one");
      assert.deepEqual(await client.bodies.next(1, "a message"), ["one"]);
      here.process.kill("SIGKILL");
      await client.disconnected();
      await write(client.jid, "two", "three");
      assert.equal(await client.reconnect(url(there)), "resumed");
      assert.deepEqual(await client.bodies.next(2, "a message"), ["two", "three"]);
      await client.message(bob.jid!, "after");
      assert.equal((await bob.expect(/<body>/)).text("body"), "after");
      await write(client.jid, "four");
      assert.deepEqual(await client.bodies.next(1, "a message"), ["four"]);
      await client.stop();
    });

    test("she returns to her own edge after it was stopped and started again, and once more after kill -9", async () => {
      const { jid, sm } = await login();
      for (const [i, end] of (["SIGTERM", "SIGKILL"] as const).entries()) {
        const gone = new Promise((resolve) => here.process.once("exit", resolve));
        here.process.kill(end);
        await gone;
        await write(jid, `${i} a`, `${i} b`);
        here = await start();
        const back = await returns(here, sm, [`${i} a`, `${i} b`]);
        assert.equal(await here.metric("breakwater_sm_resumes_total", { result: "taken-over" }), 1);
        back.drop();
      }
      await here.stop();
      await relay.close();
    });

    test("of two that claim one session at once exactly one has it, and nothing is lost or doubled", async () => {
      for (let round = 0; round < 4; round++) {
        const { jid, sm } = await login();
        relay.cut("silent");
        await write(jid, "one", "two");
        const claims = await Promise.all(
          [here, there].map(async (edge) => {
            const client = await RawClient.authenticated(account(edge));
            const own = structuredClone(sm);
            const answer = await client.resume(own).catch((error: Error) => error);
            return { client, own, answer };
          }),
        );
        // The earlier one may have been told <resumed/>, too; its stream is closed then.
        await until(() => claims.filter(({ client }) => !client.isClosed).length === 1, "one stream remains");
        const [winner] = claims.filter(({ client }) => !client.isClosed);
        assert.ok(winner !== undefined && !(winner.answer instanceof Error) && winner.answer.name === "resumed");
        winner.client.inbox.items.push(await winner.client.expect(/>two</));
        await write(jid, "three");
        winner.client.inbox.items.push(await winner.client.expect(/>three</));
        assert.deepEqual(winner.client.takeBodies().sort(), ["one", "three", "two"]);
        await winner.client.end();
        for (const { client } of claims) client.drop();
        await relay.close();
        await here.stop();
      }
    });

    test("an altered token, and another's, is item-not-found and no hint; a resource can be bound all the same", async () => {
      const { sm } = await login();
      const altered = { ...sm, id: `${sm.id!.slice(0, -1)}${sm.id!.endsWith("A") ? "B" : "A"}` };
      for (const [user, claimed] of [
        ["alice", altered],
        ["mallory", sm],
        ["alice", { ...sm, id: "x" }],
      ] as const) {
        const client = await RawClient.authenticated(account(there, there.tls, user));
        const answer = await client.resume({ ...claimed });
        assert.equal(answer.name, "failed");
        assert.ok(answer.child("item-not-found"), answer.xml);
        await client.bind("other");
        await client.end();
      }
      assert.equal(await there.metric("breakwater_sm_resumes_total", { result: "unknown" }), 3);
      const back = await RawClient.authenticated(account(there));
      assert.equal((await back.resume(sm)).name, "resumed", "the session was not touched");
      await back.end();
      await relay.close();
      await here.stop();
    });
  });
}
