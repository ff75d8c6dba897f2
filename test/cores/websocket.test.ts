import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type BrowserClient, loginStanza, loginStrophe } from "../support/clients/browser-library.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { XmppJs } from "../support/clients/xmpp-js.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { startEdge, type TestEdge } from "../support/edge.ts";

for (const kind of ALL_CORES) {
  describe(`browsers' clients at ${kind} through the edge`, () => {
    let core: Core;
    let edge: TestEdge;

    before(async () => {
      core = await startCore(kind, { tls: true });
      for (const user of ["alice", "bob", "carol"]) await core.register(user, "pw");
      edge = await startEdge({ core });
    });
    after(async () => {
      await edge.stop();
      await core.stop();
    });

    const bob = async (): Promise<RawClient> => {
      const options = { port: edge.tls, tls: "direct", ca: edge.ca, domain: core.domain } as const;
      const client = await RawClient.login({ ...options, user: "bob", password: "pw", resource: "tcp" });
      client.presence();
      await client.fence();
      return client;
    };
    const options = () => ({
      url: `wss://${core.domain}:${edge.all}/ws`,
      domain: core.domain,
      user: "alice",
      password: "pw",
      resource: "tab",
      ca: edge.ca,
    });

    for (const [library, login] of [
      ["strophe.js", loginStrophe],
      ["stanza", loginStanza],
    ] as const) {
      test(`${library} logs in over wss and chats both ways with a client on TCP`, async () => {
        const client: BrowserClient = await login(options());
        const other = await bob();
        await client.message(other.jid!, "from the web");
        assert.equal((await other.expect(/<body>/)).text("body"), "from the web");
        other.message(client.jid, "to the web <&>");
        assert.deepEqual(await client.bodies.next(1, "a message"), ["to the web <&>"]);
        await client.stop();
        await other.end();
      });
    }

    test("stanza resumes, and gets what it missed once and in order", async () => {
      // An account of its own: what a client did not acknowledge before its end is delivered to the next one.
      const client = await loginStanza({ ...options(), user: "carol" });
      const other = await bob();
      for (let round = 0; round < 3; round++) {
        other.message(client.jid, `${round}a`);
        assert.deepEqual(await client.bodies.next(1, "a message"), [`${round}a`]);
        await client.cut();
        for (const letter of ["b", "c", "d"]) other.message(client.jid, `${round}${letter}`);
        await other.fence();
        assert.equal(await client.reconnect(), "resumed");
        assert.deepEqual(await client.bodies.next(3, "a message"), [`${round}b`, `${round}c`, `${round}d`]);
      }
      assert.deepEqual(client.bodies.items, []);
      await client.stop();
      await other.end();
    });

    test("@xmpp/client goes from wss to TCP and back, and every message arrives once", async () => {
      const tcp = { port: edge.tls, tls: "direct", domain: core.domain, user: "alice", password: "pw" } as const;
      const client = await XmppJs.login({ ...tcp, resource: "moving", ca: edge.ca, webSocket: options().url });
      await client.smEnabled();
      const other = await bob();
      for (let round = 0; round < 3; round++) {
        await client.cut();
        for (const letter of ["a", "b"]) other.message(client.jid, `${round}${letter}`);
        await other.fence();
        const to = round % 2 === 0 ? `xmpps://127.0.0.1:${edge.tls}` : options().url;
        assert.equal(await client.reconnect(to), "resumed");
        assert.deepEqual(await client.bodies(2), [`${round}a`, `${round}b`]);
      }
      await client.stop();
      await other.end();
    });
  });
}
