import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { startEdge, type TestEdge } from "../support/edge.ts";

const MECHANISMS = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"] as const;
const LEGS = ["starttls", "direct"] as const;

for (const kind of ALL_CORES) {
  describe(`logins at ${kind} through the edge`, () => {
    let core: Core;
    let edge: TestEdge;

    before(async () => {
      // TLS at the core, so that Prosody offers <starttls/> on its plaintext port before and after login.
      core = await startCore(kind, { tls: true });
      await core.register("alice", "pw");
      edge = await startEdge({ core });
    });
    after(async () => {
      await edge.stop();
      await core.stop();
    });

    const options = (tls: (typeof LEGS)[number]) => ({
      port: tls === "direct" ? edge.tls : edge.starttls,
      tls,
      ca: edge.ca,
      domain: core.domain,
      user: "alice",
      password: "pw",
    });

    for (const tls of LEGS) {
      for (const mechanism of MECHANISMS) {
        for (const gs2 of mechanism === "PLAIN" ? (["n"] as const) : (["n", "y"] as const)) {
          test(`${mechanism}${mechanism === "PLAIN" ? "" : ` with gs2 flag "${gs2}"`} works by ${tls} TLS, and resumes`, async () => {
            const client = await RawClient.login({ ...options(tls), mechanism, gs2 });
            await client.enable();
            await client.fence();
            client.drop();
            await client.closed;
            const again = await RawClient.authenticated({ ...options(tls), mechanism, gs2 });
            assert.equal((await again.resume(client.sm!)).name, "resumed");
            await again.end();
          });
        }
      }

      test(`what the core and the client settle with the edge alone is never on offer (${tls} TLS)`, async () => {
        const client = await RawClient.connect(options(tls));
        await client.open();
        if (tls === "starttls") await client.startTls();
        const before = client.features!.xml;
        const direct = await RawClient.connect({ port: core.port, domain: core.domain });
        await direct.open();
        assert.deepEqual(client.mechanisms(), direct.mechanisms(), "the core's list of mechanisms passes unedited");
        direct.drop();
        await client.authenticate({ user: "alice", password: "pw" });
        await client.open();
        const later = client.features!.xml;
        for (const features of [before, later]) assert.doesNotMatch(features, /starttls|compress|-PLUS|sasl-cb/);
        assert.equal(later.match(/urn:xmpp:sm:3/g)?.length, 1);
        assert.equal(later.match(/urn:xmpp:sm:2/g)?.length, 1);
        client.drop();
      });
    }

    test("a wrong password gets the core's own failure, and the next try on the same stream works", async () => {
      const client = await RawClient.connect(options("direct"));
      await client.open();
      await assert.rejects(client.authenticate({ user: "alice", password: "wrong" }), /not-authorized/);
      await client.authenticate({ user: "alice", password: "pw", mechanism: "SCRAM-SHA-1" });
      await client.open();
      await client.bind();
      await client.fence();
      await client.end();
    });

    test("a client may abort its SASL exchange and begin another", async () => {
      const client = await RawClient.connect(options("direct"));
      await client.open();
      client.write(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1hbGljZSxyPWFiY2RlZmdoaWo=</auth>",
      );
      assert.equal((await client.next()).name, "challenge");
      client.write("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
      assert.match((await client.next()).xml, /<failure[^>]*><aborted/);
      await client.authenticate({ user: "alice", password: "pw" });
      await client.open();
      await client.bind();
      await client.end();
    });
  });
}
