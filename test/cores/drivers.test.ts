// The drivers against real servers, without the edge: a driver's bug shows here and not as a riddle elsewhere.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LIBRARIES, type LibraryClient, RawClient, Slixmpp, XmppJs } from "../support/clients/index.ts";
import { resumesAfterSilentCut } from "../support/clients/silent-cut.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { WeakLink } from "../support/weak-link.ts";

for (const kind of ALL_CORES) {
  describe(`the drivers against ${kind}`, () => {
    let core: Core;
    before(async () => {
      core = await startCore(kind, { domain: "chat.example", tls: true });
      await core.registerAll([
        { user: "alice", password: "pw-alice" },
        { user: "bob", password: "pw-bob" },
      ]);
    });
    after(() => core.stop());

    const alice = () => ({ domain: core.domain, user: "alice", password: "pw-alice" });
    const bob = () => ({ domain: core.domain, user: "bob", password: "pw-bob", port: core.port });

    describe("raw client", () => {
      for (const [tls, port] of [
        ["none", "port"],
        ["starttls", "starttlsPort"],
        ["direct", "tlsPort"],
      ] as const) {
        test(`logs in and sends and receives a message (TLS: ${tls})`, async () => {
          const from = await RawClient.login({ ...alice(), port: core[port]!, tls, ca: core.ca! });
          const to = await RawClient.login(bob());
          to.presence();
          await to.fence();
          from.message(to.jid!, "a & b <🦋>");
          await from.fence();
          await to.expect(/🦋/).then((message) => assert.equal(message.text("body"), "a & b <🦋>"));
          assert.equal(await from.end(), "stream-end");
          assert.equal(await to.end(), "stream-end");
        });
      }

      for (const mechanism of ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"] as const) {
        for (const gs2 of mechanism === "PLAIN" ? (["n"] as const) : (["n", "y"] as const)) {
          test(`authenticates with ${mechanism}, gs2 "${gs2}", and a wrong password is not-authorized`, async () => {
            const client = await RawClient.login({ ...alice(), port: core.port, mechanism, gs2 });
            assert.match(client.jid!, /^alice@chat\.example\//);
            await client.end();
            const wrong = { ...alice(), port: core.port, password: "wrong", mechanism, gs2 };
            await assert.rejects(RawClient.login(wrong), /not-authorized/);
          });
        }
      }

      test("resumes after a reset and gets what it missed, once and in order", async () => {
        const first = await RawClient.login({ ...alice(), port: core.port });
        first.presence();
        await first.enable();
        const { jid, sm } = first;
        first.autoAck = false;
        const sender = await RawClient.login(bob());
        for (const body of ["1", "2", "3"]) sender.message(jid!, body);
        await sender.fence();
        await first.expect(/<body>3/);
        sm!.handled -= 2; // as if 2 and 3 had been lost on the way
        first.drop();
        assert.equal(await first.closed, "dropped");
        first.message(sender.jid!, "written while away");
        const second = await RawClient.authenticated({ ...alice(), port: core.port });
        assert.equal((await second.resume(sm!)).name, "resumed");
        await second.fence();
        assert.deepEqual(second.takeBodies(), ["2", "3"]);
        await sender.expect(/written while away/);
        await second.allAcked();
        await second.end();
        await sender.end();
      });

      test("a session is seen by the server until it ends", async () => {
        const client = await RawClient.login({ ...alice(), port: core.port, resource: "seen" });
        assert.deepEqual(await core.sessions(), ["alice@chat.example/seen"]);
        await client.end();
        assert.deepEqual(await core.sessions(), []);
      });
    });

    for (const [library, login] of Object.entries(LIBRARIES)) {
      describe(library, () => {
        const options = (tls: "starttls" | "direct") => ({
          ...alice(),
          tls,
          port: tls === "direct" ? core.tlsPort! : core.starttlsPort!,
          mechanism: "PLAIN", // @xmpp/client derives SCRAM keys in JavaScript: above a second
          ca: core.ca!,
        });

        for (const tls of ["starttls", "direct"] as const) {
          test(`logs in over ${tls}, sends and receives messages in order, large ones and emoji too`, async () => {
            const client = await login({ ...options(tls), resource: "real" });
            assert.equal(client.jid, "alice@chat.example/real");
            await client.presence();
            const other = await RawClient.login(bob());
            other.presence();
            await other.fence();
            const texts = ["plain", "tab\tand \"quotes\" & <brackets> 'too'", "🦋".repeat(15_000), "last\nline"];
            for (const text of texts) other.message(client.jid, text);
            assert.deepEqual(await client.bodies(4), texts);
            for (const text of texts) await client.message(other.jid!, text);
            await client.fence();
            await other.expect(/last\nline/);
            await other.fence();
            other.inbox.items.length = 0;
            await client.stop();
            await other.end();
          });
        }

        test("a wrong password, and an authority that it does not know, are refused", async () => {
          await assert.rejects(login({ ...options("direct"), password: "wrong" }));
          await assert.rejects(login({ ...options("direct"), domain: "other.example" }));
        });

        test("logs in with the mechanism of its own choice", async () => {
          const { mechanism: _, ...own } = options("starttls");
          await (await login(own)).stop();
        });

        test("resumes after a silent cut: what came meanwhile arrives, what was sent meanwhile if the library can", async (t) => {
          const relay = await WeakLink.listen({ to: { port: core.tlsPort! } });
          t.after(() => relay.close());
          const client = await login({ ...options("direct"), resource: "cut", port: relay.port });
          await client.presence();
          await client.fence();
          await smOn(client);
          const other = await RawClient.login(bob());
          other.presence();
          await other.fence();
          assert.equal(client.jid, "alice@chat.example/cut");
          await resumesAfterSilentCut(client, other, relay);
        });
      });
    }

    test("slixmpp reads the roster, disco, vCards and versions, and talks in a room", async () => {
      const client = await Slixmpp.login({ ...alice(), port: core.tlsPort!, tls: "direct", ca: core.ca! });
      await client.presence();
      await client.addToRoster("bob@chat.example", "Bob");
      assert.deepEqual(await client.roster(), { "bob@chat.example": "none" });
      assert.ok((await client.disco("chat.example")).features.includes("urn:xmpp:ping"));
      await client.setVcard("Alice A.");
      assert.equal(await client.vcard("alice@chat.example"), "Alice A.");
      assert.match(await client.version("chat.example"), /ejabberd|Prosody/);
      await client.join("tea@conference.chat.example", "alice");
      await client.message("tea@conference.chat.example", "anyone?", "groupchat");
      assert.deepEqual(await client.bodies(1), ["anyone?"]);
      await client.stop();
    });
  });
}

/** Waits until XEP-0198 is on, with the libraries that turn it on behind the login. */
async function smOn(client: LibraryClient): Promise<void> {
  if (client instanceof XmppJs) await client.smEnabled();
  if (client instanceof Slixmpp) await client.events.take((report) => report.event === "sm-enabled", "sm-enabled");
}
