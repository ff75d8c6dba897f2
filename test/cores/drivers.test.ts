// The drivers against real servers, without the edge: a driver's bug shows here and not as a riddle elsewhere.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";

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
  });
}
