import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { loginStanza } from "../support/clients/browser-library.ts";
import { type LoginOptions, RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { startEdge, type TestEdge } from "../support/edge.ts";

for (const kind of ALL_CORES) {
  describe(`BOSH clients at ${kind} through the edge`, () => {
    let core: Core;
    let edge: TestEdge;

    before(async () => {
      core = await startCore(kind, { tls: true });
      for (const user of ["alice", "bob", "carol", "dave"]) await core.register(user, "pw");
      edge = await startEdge({ core });
    });
    after(async () => {
      await edge.stop();
      await core.stop();
    });

    const by = (transport: "tcp" | "websocket" | "bosh", user: string): LoginOptions => {
      const { all: port, ca } = edge;
      const account = { user, password: "pw", resource: "moving", domain: core.domain, ca };
      if (transport === "tcp") return { ...account, port, tls: "direct" };
      if (transport === "websocket") return { ...account, webSocket: `wss://${core.domain}:${port}/ws` };
      return { ...account, bosh: { port, ca, domain: core.domain } };
    };
    const bob = async (transport: "tcp" | "bosh" = "tcp"): Promise<RawClient> => {
      const client = await RawClient.login({ ...by(transport, "bob"), resource: transport });
      client.presence();
      await client.fence();
      return client;
    };

    test("stanza logs in over BOSH and chats both ways with a client on TCP", async () => {
      const url = `https://${core.domain}:${edge.all}/http-bind`;
      const account = { domain: core.domain, user: "alice", password: "pw", resource: "tab", ca: edge.ca };
      const client = await loginStanza({ url, ...account });
      const other = await bob();
      for (const text of ["from the web", "🦋 <&> 'too'", "x".repeat(50_000)]) {
        await client.message(other.jid!, text);
        assert.ok((await other.expect(/<body>/)).text("body") === text, `${text.slice(0, 20)} arrives`);
        other.message(client.jid, text);
        assert.ok((await client.bodies.next(1, "a message"))[0] === text, `${text.slice(0, 20)} comes back`);
      }
      await client.stop();
      await other.end();
    });

    test("500 messages in a burst arrive once and in order, both ways", async () => {
      // Accounts of their own: what a client did not acknowledge before its end is delivered to the next one.
      const client = await RawClient.login(by("bosh", "dave"));
      client.presence();
      await client.fence();
      const other = await bob("bosh");
      const texts = Array.from({ length: 500 }, (_, i) => `number ${i}`);
      for (const text of texts) other.message(client.jid!, text);
      for (const text of texts) client.message(other.jid!, text);
      await other.expect(/number 499</).then((last) => other.inbox.items.push(last));
      await client.expect(/number 499</).then((last) => client.inbox.items.push(last));
      assert.deepEqual(other.takeBodies(), texts);
      assert.deepEqual(client.takeBodies(), texts);
      await client.end();
      await other.end();
    });

    test("a session that was lost on one transport is resumed on any other, and every message arrives once", async () => {
      let client = await RawClient.login(by("bosh", "carol"));
      await client.enable({ resume: true });
      client.presence();
      await client.fence();
      const { jid } = client;
      const other = await bob();
      for (const transport of ["websocket", "bosh", "tcp", "bosh", "websocket", "tcp"] as const) {
        const sm = client.sm!;
        client.drop();
        for (const letter of ["a", "b", "c"]) other.message(jid!, `${transport} ${letter}`);
        await other.fence();
        client = await RawClient.authenticated(by(transport, "carol"));
        assert.equal((await client.resume(sm)).name, "resumed");
        // The answer to a ping may overtake what is replayed.
        client.inbox.items.push(await client.expect(/ c<\/body>/));
        await client.fence();
        assert.deepEqual(
          client.takeBodies(),
          ["a", "b", "c"].map((letter) => `${transport} ${letter}`),
        );
        client.message(other.jid!, `by ${transport}`);
        assert.equal((await other.expect(/<body>by/)).text("body"), `by ${transport}`);
      }
      await client.end();
      await other.end();
    });
  });
}
