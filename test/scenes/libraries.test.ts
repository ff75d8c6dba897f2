// Real client libraries through the edge to real cores: what their users do all day, and a lost link.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LIBRARIES, type LibraryClient, RawClient, Slixmpp, XmppJs } from "../support/clients/index.ts";
import { resumesAfterSilentCut } from "../support/clients/silent-cut.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { WeakLink } from "../support/weak-link.ts";

const DOMAIN = "chat.example";
const BURST = 500;

for (const kind of ALL_CORES) {
  describe(`libraries through the edge to ${kind}`, () => {
    let core: Core;
    let edge: SpawnedEdge;
    let relay: WeakLink;

    before(async () => {
      core = await startCore(kind, { domain: DOMAIN });
      await core.registerAll(["alice", "bob"].map((user) => ({ user, password: `pw-${user}` })));
      edge = await spawnEdge({ core: { ...core, kind } });
      relay = await WeakLink.listen({ to: { port: edge.tls } });
    });
    after(async () => {
      await relay.close();
      await edge.stop();
      await core.stop();
    });

    const options = (tls: "starttls" | "direct") => ({
      domain: DOMAIN,
      user: "alice",
      password: "pw-alice",
      tls,
      port: tls === "direct" ? relay.port : edge.starttls,
      mechanism: "PLAIN", // @xmpp/client derives SCRAM keys in JavaScript: above a second
      ca: edge.ca,
    });

    // The other end of the conversation, through the edge as well.
    const friend = async () => {
      const bob = {
        domain: DOMAIN,
        user: "bob",
        password: "pw-bob",
        port: edge.tls,
        tls: "direct",
        ca: edge.ca,
      } as const;
      const client = await RawClient.login(bob);
      client.presence();
      await client.fence();
      client.inbox.items.length = 0;
      return client;
    };

    for (const [library, login] of Object.entries(LIBRARIES)) {
      describe(library, () => {
        for (const tls of ["starttls", "direct"] as const) {
          test(`chats over ${tls} TLS: emoji, 60 KB, and ${BURST} in a burst both ways, in order and once`, async () => {
            const client = await login({ ...options(tls), resource: "real" });
            assert.equal(client.jid, `alice@${DOMAIN}/real`);
            await client.presence();
            const other = await friend();
            const texts = ["plain", "tab\tand \"quotes\" & <brackets> 'too'", "🦋".repeat(15_000)];
            texts.push(...Array.from({ length: BURST }, (_, i) => `number ${i}`));
            for (const text of texts) other.message(client.jid, text);
            assert.deepEqual(await client.bodies(texts.length), texts);
            for (const text of texts) await client.message(other.jid!, text);
            await client.fence();
            await other.expect(new RegExp(`number ${BURST - 1}<`)).then((last) => other.inbox.items.push(last));
            await other.fence();
            assert.deepEqual(other.takeBodies(), texts);
            await client.stop();
            await other.end();
          });
        }

        test("is refused with a wrong password", async () => {
          await assert.rejects(login({ ...options("direct"), password: "wrong" }));
        });

        test("resumes after a silent cut: what came meanwhile arrives once, and what it sent if it sends it again", async () => {
          const client = await login({ ...options("direct"), resource: "cut" });
          await client.presence();
          await client.fence();
          await smOn(client);
          const other = await friend();
          assert.equal(client.jid, `alice@${DOMAIN}/cut`);
          await resumesAfterSilentCut(client, other, relay);
        });
      });
    }

    test("slixmpp reads roster, disco, vCards and versions, talks in a room, and still does after a resume", async () => {
      const client = await Slixmpp.login(options("direct"));
      await client.presence();
      await smOn(client);
      await client.addToRoster(`bob@${DOMAIN}`, "Bob");
      assert.deepEqual(await client.roster(), { [`bob@${DOMAIN}`]: "none" });
      await client.join(`tea@conference.${DOMAIN}`, "alice");
      relay.cut("rst");
      assert.equal(await client.reconnect(), "resumed");
      assert.ok((await client.disco(DOMAIN)).features.includes("urn:xmpp:ping"));
      await client.setVcard("Alice A.");
      assert.equal(await client.vcard(`alice@${DOMAIN}`), "Alice A.");
      assert.match(await client.version(DOMAIN), /ejabberd|Prosody/);
      await client.message(`tea@conference.${DOMAIN}`, "anyone?", "groupchat");
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
