import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RawBosh } from "../support/clients/raw-bosh.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { startEdge, type TestEdge } from "../support/edge.ts";
import { linkProfile, WeakLink } from "../support/weak-link.ts";
import { until } from "../support/wire.ts";

const MESSAGES = 50;
const TEXTS = Array.from({ length: MESSAGES }, (_, i) => `number ${i}`);

// Clients without XEP-0198 whose link dies while messages come: what they have not got, the core still has.
for (const kind of ALL_CORES) {
  describe(`clients without XEP-0198 at ${kind} through the edge`, () => {
    let core: Core;
    let edge: TestEdge;

    before(async () => {
      core = await startCore(kind, { tls: true });
      for (const user of ["alice", "bob", "carol", "dave", "erin"]) await core.register(user, "pw");
      edge = await startEdge({ core, config: "http: { bosh: { inactivity: 5 } }" });
    });
    after(async () => {
      await edge.stop();
      await core.stop();
    });

    const by = (user: string, resource: string) => {
      return {
        user,
        password: "pw",
        resource,
        domain: core.domain,
        ca: edge.ca,
        port: edge.all,
        tls: "direct" as const,
      };
    };
    const sender = async (): Promise<RawClient> => {
      const client = await RawClient.login(by("bob", "sender"));
      client.presence();
      await client.fence();
      return client;
    };
    const closed = (reason: string) => edge.metric("breakwater_sessions_closed_total", { reason });
    const relayed = () => edge.metric("breakwater_stanzas_total", { direction: "from_core" });
    const returned = () => edge.metric("breakwater_sm_returned_stanzas_total");
    // ejabberd does so one by one when the session has gone, and whoever logs in meanwhile gets the rest at once.
    const stored = (user: string, count: number): Promise<void> =>
      until(async () => {
        if (core.kind === "prosody") return (await core.sessions()).every((jid) => !jid.startsWith(`${user}@`));
        return Number(await core.ctl("get_offline_count", user, core.domain)) >= count;
      }, "the core has stored what was not delivered");
    /** What the next login gets, until the newest message has come and whatever came with it. */
    const atNextLogin = async (user: string, last = TEXTS.at(-1)!): Promise<string[]> => {
      const client = await RawClient.login(by(user, "later"));
      client.presence();
      client.inbox.items.push(await client.expect(new RegExp(`>${last}<`)));
      await client.fence();
      const bodies = client.takeBodies();
      await client.end();
      return bodies;
    };

    for (const acks of [false, true]) {
      test(`over BOSH ${acks ? "with" : "without"} ack: 50 messages, 20 read, an answer lost, the rest never asked for`, async () => {
        const user = acks ? "carol" : "alice";
        const bob = await sender();
        const attributes: Record<string, string> = acks ? { ack: "1" } : {};
        const account = { ...by(user, "tab"), password: "pw", attributes };
        const client = await RawBosh.login(account);
        await client.post("<presence xmlns='jabber:client'/>");
        const read: string[] = [];
        for (const text of TEXTS.slice(0, 20)) {
          bob.message(client.jid, text);
          while (read.at(-1) !== text) read.push(...bodiesOf((await client.post()).text));
        }
        // The answer to this one is not read.
        const before = await relayed();
        const lost = client.post().catch(() => {});
        for (const text of TEXTS.slice(20)) bob.message(client.jid, text);
        await until(async () => (await relayed()) >= before + 30, "the edge has all messages");
        const ended = await closed("link-silent");
        client.drop();
        await lost;
        await until(async () => (await closed("link-silent")) > ended, "the BOSH session has ended");
        await stored(user, 30);
        assert.deepEqual([...read, ...(await atNextLogin(user))], TEXTS);
        assert.deepEqual(await errorsFor(bob), []);
        await bob.end();
      });
    }

    // What the kernel took of a dead link is gone, as it is with a core alone; all that is behind it must not be.
    for (const transport of ["tcp", "websocket"] as const) {
      test(`over ${transport}: a client stops reading and is cut off; what did not leave the edge comes at the next login`, async (t) => {
        const user = transport === "tcp" ? "dave" : "erin";
        const bob = await sender();
        const weak = await WeakLink.listen({ to: { port: edge.all }, profile: linkProfile({ queueBytes: 65_536 }) });
        t.after(() => weak.close());
        const web = { webSocket: `wss://${core.domain}:${weak.port}/ws` };
        const way = transport === "tcp" ? { port: weak.port } : web;
        const client = await RawClient.login({ ...by(user, "tab"), ...way });
        client.presence();
        await client.fence();
        client.message(client.jid!, "read");
        await client.expect(/>read</);
        weak.freeze("down");
        // More than the kernel has room for, between the edge and the client.
        const big = Array.from({ length: 150 }, (_, i) => `${i} ${"x".repeat(100_000)}`);
        const before = await relayed();
        const returnedBefore = await returned();
        for (const text of big) bob.message(client.jid!, text);
        await bob.fence();
        await until(
          async () => (await edge.metric("breakwater_sm_queue_bytes")) > 200_000,
          "the edge is left with some",
        );
        const ended = await closed("link-lost");
        weak.cut("rst");
        await until(async () => (await closed("link-lost")) > ended, "the session has ended");
        // All but what the edge has acknowledged; one stanza was the answer to bob's fence.
        const acknowledged = (await relayed()) - before - 1 - ((await returned()) - returnedBefore);
        assert.ok((await returned()) > returnedBefore);
        await stored(user, big.length - acknowledged);
        const got = (await atNextLogin(user, "149 x+")).map((text) => Number(text.split(" ")[0]));
        const first = Math.min(...got);
        // What ejabberd had not written yet, it stores before what was not acknowledged.
        if (kind === "ejabberd") got.sort((a, b) => a - b);
        assert.deepEqual(
          got,
          Array.from({ length: 150 - first }, (_, i) => first + i),
        );
        assert.equal(first, acknowledged, "what was acknowledged is what the kernel took");
        await bob.end();
      });
    }
  });
}

function bodiesOf(xml: string): string[] {
  return [...xml.matchAll(/<body>(number \d+)<\/body>/g)].map((match) => match[1]!);
}

async function errorsFor(client: RawClient): Promise<string[]> {
  await client.fence();
  return client.inbox.items.map(({ xml }) => xml).filter((xml) => xml.includes("type='error'"));
}
