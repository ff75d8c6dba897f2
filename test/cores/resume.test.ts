// Whole sessions against real servers, over links that break in every way.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { type CutKind, linkProfile, PROFILES, WeakLink } from "../support/weak-link.ts";
import { until } from "../support/wire.ts";

const CUTS: readonly CutKind[] = ["fin", "rst", "silent", "client-rst", "server-rst"];
// "gprs" without its losses, which would make a short test a matter of luck.
const SLOW = linkProfile(
  { delayMs: 650, jitterMs: 100, queueBytes: 16 * 1024 },
  { up: { bitsPerSecond: 18_000 }, down: { bitsPerSecond: 20_000 } },
);
/** What it brings in 2.5 s, less a round trip: on a busy machine that takes longer, but is no less. */
const IN_TIME_BYTES = (20_000 / 8) * (2.5 - 1.3);

for (const kind of ALL_CORES) {
  describe(`sessions through the edge at ${kind}`, { concurrency: false }, () => {
    let core: Core;
    let edge: SpawnedEdge;
    let relay: WeakLink;
    let users = 0;

    before(async () => {
      core = await startCore(kind, { domain: "chat.example", resumeTimeout: 120 });
      // All at once: what is registered just before a kill -9 may not be on disk yet.
      await core.registerAll(Array.from({ length: 40 }, (_, i) => ({ user: `user${i + 1}`, password: "pw" })));
      edge = await spawnEdge({ core });
      relay = await WeakLink.listen({ to: { host: edge.host, port: edge.tls } });
    });
    after(async () => {
      await relay?.close();
      assert.equal(await edge?.stop(), 0, "the edge ends in order");
      await core?.stop();
    });

    const user = () => `user${++users}`;
    const options = (name: string, more: Partial<LoginOptions> = {}): LoginOptions => ({
      ...{ port: relay.port, tls: "direct", ca: edge.ca, domain: core.domain, user: name, password: "pw" },
      ...more,
    });
    const login = async (name: string, more: Partial<LoginOptions> = {}) => {
      const client = await RawClient.login(options(name, { resource: "phone", ...more }));
      await client.enable();
      client.presence();
      await client.fence();
      return client;
    };
    // `ready`: what comes may come in one piece with <resumed/>.
    const resume = async (name: string, sm: StreamManagement, ready: (client: RawClient) => void = () => {}) => {
      const client = await RawClient.authenticated(options(name));
      ready(client);
      assert.equal((await client.resume(sm)).name, "resumed");
      return client;
    };

    test("roster, disco, vCard, ping, a room, and 500 messages in order and once, emoji and 60 KB among them", async () => {
      const [alice, bob] = [await login(user()), await login(user())];
      const get = (query: string, to = "") => alice.request(`<iq type='get' id='q${Math.random()}'${to}>${query}</iq>`);
      assert.ok((await get("<query xmlns='jabber:iq:roster'/>")).child("query", "jabber:iq:roster"));
      const disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
      assert.match((await get(disco, " to='chat.example'")).xml, /urn:xmpp:ping/);
      await alice.request("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>A 🦋</FN></vCard></iq>");
      assert.equal((await get("<vCard xmlns='vcard-temp'/>")).child("vCard")?.text("FN"), "A 🦋");
      assert.equal((await get("<ping xmlns='urn:xmpp:ping'/>", " to='chat.example'")).attrs["type"], "result");

      const room = `tea${users}@conference.chat.example`;
      const join = "<x xmlns='http://jabber.org/protocol/muc'/>";
      alice.send(`<presence to='${room}/alice'>${join}</presence>`);
      await alice.expect(/status code=['"]110/);
      await alice.request(
        `<iq type='set' id='own' to='${room}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>`,
      );
      bob.send(`<presence to='${room}/bob'>${join}</presence>`);
      await bob.expect(/status code=['"]110/);
      bob.send(`<message type='groupchat' to='${room}'><body>anyone?</body></message>`);
      for (const each of [alice, bob]) await each.expect(/anyone\?/);

      bob.inbox.items.length = 0;
      const texts = Array.from({ length: 500 }, (_, i) => `${i} 🦋 ${i === 250 ? "x".repeat(60_000) : ""}`);
      for (const text of texts) alice.message(bob.jid!, text);
      await alice.allAcked();
      await bob.expect(/>499 /).then((last) => bob.inbox.items.push(last));
      await bob.fence();
      assert.deepEqual(bob.takeBodies(), texts);
      assert.equal(await alice.end(), "stream-end");
      assert.equal(await bob.end(), "stream-end");
    });

    test("a wrong password is the core's not-authorized, and the right one works on the same stream", async () => {
      const name = user();
      const client = await RawClient.connect(options(name));
      await client.open();
      const wrong = { user: name, password: "wrong" };
      await assert.rejects(client.authenticate(wrong), /not-authorized/);
      await client.authenticate({ user: name, password: "pw", mechanism: "SCRAM-SHA-1" });
      await client.open();
      await client.bind();
      await client.end();
    });

    for (const cut of CUTS) {
      test(`messages that flow both ways while the link is cut (${cut}) arrive once and in order`, async () => {
        const [alice, bob] = [user(), user()];
        let phone = await login(alice);
        const friend = await login(bob);
        const jid = phone.jid!;
        const sm = phone.sm!;
        const got: string[] = [];
        const take = (client: RawClient) => {
          client.onStanza = (stanza) => {
            const body = stanza.text("body");
            if (stanza.name === "message" && body !== null) got.push(body);
          };
        };
        take(phone);
        let up = 0;
        let down = 0;
        for (let round = 0; round < 3; round++) {
          const link = [...relay.links].find((each) => each.client.remotePort === phone.socket.localPort);
          for (let i = 0; i < 40; i++) {
            friend.message(jid, `${++down}`);
            phone.message(friend.jid!, `${++up}`);
            if (i === 20) link?.cut(cut);
            if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
          }
          phone.drop();
          phone = await resume(alice, sm, take);
        }
        await phone.allAcked();
        await until(() => got.length >= down, "all have come");
        await phone.fence();
        await friend.expect(new RegExp(`>${up}<`)).then((last) => friend.inbox.items.push(last));
        await friend.fence();
        const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}`);
        assert.deepEqual(got, numbers(down));
        assert.deepEqual(friend.takeBodies(), numbers(up));
        assert.equal(await phone.end(), "stream-end");
        await friend.end();
      });
    }

    test("a core that pings a dormant client hears an answer, and the counters stay exact", async () => {
      const name = user();
      const phone = await login(name);
      const friend = await login(user());
      const { jid } = phone;
      const sm = phone.sm!;
      phone.drop();
      await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) > 0, "it is dormant");
      friend.message(jid!, "before");
      // An IQ of somebody else waits, and so does its answer; the friend's presence subscription stirs the core as well.
      friend.send(`<iq type='get' id='ask' to='${jid}'><ping xmlns='urn:xmpp:ping'/></iq>`);
      await friend.allAcked();
      const again = await resume(name, sm);
      await again.expect(/before/);
      const ask = await again.expect(/urn:xmpp:ping/);
      again.send(`<iq type='result' id='${ask.attrs["id"]}' to='${ask.attrs["from"]}'/>`);
      await friend.expect(/id=['"]ask['"]/);
      await again.allAcked();
      await again.end();
      // Had the edge told the core a wrong h, the message would come again now, or an error would.
      const later = await login(name);
      assert.deepEqual(later.takeBodies(), []);
      await later.end();
      await friend.end();
    });

    test("a client on 2G that gives up after what 2.5 s bring gets further with each resume through a backlog of 200", async () => {
      const name = user();
      const phone = await login(name);
      const friend = await login(user());
      const { jid } = phone;
      const sm = phone.sm!;
      phone.drop();
      for (let i = 1; i <= 200; i++) friend.message(jid!, `${i} ${"backlog ".repeat(15)}`);
      await friend.allAcked();
      const got: string[] = [];
      const take = (client: RawClient) => {
        client.onStanza = (stanza) => {
          const body = stanza.text("body");
          if (body !== null) got.push(body);
        };
      };
      const slow = await WeakLink.listen({ to: { host: edge.host, port: edge.plaintext } });
      for (let attempt = 1; attempt <= 3; attempt++) {
        slow.setProfile("perfect");
        const client = await RawClient.authenticated({ ...options(name), port: slow.port, tls: "none" });
        slow.setProfile(SLOW);
        take(client);
        const before = got.length;
        assert.equal((await client.resume(sm)).name, "resumed", `attempt ${attempt}`);
        // Asks all the time, as such clients do, and gives up the first time that what 2.5 s bring is not enough.
        for (let asked = 0; asked < 2; asked++) {
          const from = slow.stats.downBytes;
          client.message(friend.jid!, "are you there?");
          const answered = client.allAcked().then(
            () => true,
            () => false,
          );
          let isOver = false;
          const timesUp = until(
            () => isOver || slow.stats.downBytes - from >= IN_TIME_BYTES,
            "the link brings something",
          );
          const inTime = await Promise.race([answered, timesUp.then(() => false)]);
          isOver = true;
          if (!inTime) break;
        }
        client.drop();
        assert.ok(got.length > before, `attempt ${attempt}: ${before} → ${got.length}`);
      }
      slow.setProfile(PROFILES.perfect);
      await slow.close();
      const last = await resume(name, sm, take);
      await until(() => got.length >= 200, "the rest comes");
      await last.fence();
      assert.deepEqual(
        got.map((body) => Number.parseInt(body, 10)),
        Array.from({ length: 200 }, (_, i) => i + 1),
      );
      await last.end();
      await friend.end();
    });

    test("a core that is frozen keeps nobody's question waiting, and goes on where it was", async () => {
      const name = user();
      const phone = await login(name);
      const friend = await login(user());
      const sm = phone.sm!;
      core.freeze();
      try {
        phone.message(friend.jid!, "into the ice");
        phone.autoAck = false;
        phone.write("<r xmlns='urn:xmpp:sm:3'/>");
        const answer = await phone.take(({ name: it }) => it === "a", "an answer all the same");
        assert.ok(Number(answer.attrs["h"]) < sm.acked + sm.unacked.length + 1);
      } finally {
        core.thaw();
      }
      phone.autoAck = true;
      await friend.expect(/into the ice/);
      await phone.allAcked();
      await phone.end();
      await friend.end();
    });

    test("SIGTERM of the edge leaves its sessions at the core, where they can still be resumed", async () => {
      const second = await spawnEdge({ core });
      const name = user();
      const client = await RawClient.login({ ...options(name, { resource: "kept" }), port: second.tls, ca: second.ca });
      await client.enable();
      client.presence();
      await client.fence();
      const plain = await RawClient.login({ ...options(name, { resource: "plain" }), port: second.tls, ca: second.ca });
      const stopped = second.stop();
      assert.ok((await client.expect(/<stream:error/)).child("system-shutdown"));
      assert.equal(await stopped, 0);
      await plain.closed;
      const jid = `${name}@chat.example/kept`;
      await until(async () => !(await core.sessions()).includes(`${name}@chat.example/plain`), "the plain one is gone");
      assert.ok((await core.sessions()).includes(jid));
    });

    test("kill -9 of the core: clients are told, and log in again when it is back", async () => {
      const name = user();
      const phone = await login(name);
      const away = user();
      const dormant = await login(away);
      const sm = dormant.sm!;
      dormant.drop();
      await core.kill();
      assert.ok((await phone.expect(/<stream:error/)).child("system-shutdown"));
      assert.equal(await phone.closed, "stream-end");
      await core.restart();
      const back = await login(name);
      await back.end();
      const client = await RawClient.authenticated(options(away));
      assert.match((await client.resume(sm)).xml, /^<failed xmlns='urn:xmpp:sm:3' h='\d+'><item-not-found /);
      await client.bind();
      await client.end();
      assert.equal(await edge.metric("breakwater_internal_errors_total"), 0);
      assert.equal(await edge.metric("breakwater_uncaught_errors_total"), 0);
    });
  });
}
