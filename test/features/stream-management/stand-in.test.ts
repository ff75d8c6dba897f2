import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bodies, bosh, KeepAlive, message, OneByOne } from "../../edge/bosh/peer.ts";
import { until, Wire } from "../../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const PRESENCE = "<presence xmlns='jabber:client'/>";
const RETURNED = "breakwater_sm_returned_stanzas_total";
const enables = (core: { elements: readonly { name: string }[] }) =>
  core.elements.filter(({ name }) => name === "enable").length;

test("for a client without XEP-0198 the edge enables it at the core, before the client becomes available", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.login();
  await client.request("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
  assert.equal(enables(core), 0, "it may still do so itself");
  client.presence();
  await core.expect(/<presence/);
  const names = core.elements.map(({ name }) => name);
  assert.deepEqual(names.slice(-2), ["enable", "presence"]);
  assert.ok(!core.elements.find(({ name }) => name === "enable")!.attrs["resume"], "nobody could resume it");
  for (const text of ["1", "2", "3"]) core.message(text);
  core.request();
  await client.expect(/>3</);
  await core.acknowledged(3);
  assert.ok(!client.inbox.items.some(({ ns }) => ns.startsWith("urn:xmpp:sm")), "the client hears nothing of it");
});

test("a client with XEP-0198 keeps its own, and stand_in: false leaves the others to the core", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.presence();
  await core.expect(/<presence/);
  assert.equal(enables(core), 1);
  const without = await Wire.start(t, { config: "stream_management: { stand_in: false }" });
  const other = await without.login();
  other.client.presence();
  await other.core.expect(/<presence/);
  assert.equal(enables(other.core), 0);
});

test("a core that refuses is asked once and left alone", async (t) => {
  const wire = await Wire.start(t, { enable: "failed" });
  const { client, core } = await wire.login();
  client.presence();
  client.presence();
  await client.fence();
  core.message("still there");
  await client.expect(/still there/);
  assert.equal(enables(core), 1);
  assert.ok(!core.elements.some(({ name }) => name === "a"));
  await client.enable({ resume: true });
  core.message("queued by the edge alone");
  await client.expect(/queued by/);
  client.ack();
  await client.fence();
});

for (const answered of ["has", "has not yet"]) {
  test(`a client that enables XEP-0198 late gets it, when the core ${answered} answered: each leg has its own count`, async (t) => {
    const wire = await Wire.start(t, { enable: answered === "has" ? "enabled" : "silent" });
    const { client, core } = await wire.login();
    client.presence();
    client.message("bob@localhost", "before");
    await core.expect(/before/);
    if (answered === "has") {
      core.message("1");
      await client.expect(/>1</);
      core.request();
      await core.acknowledged(1);
    }
    const enabled = client.enable({ resume: true });
    client.write(`<r xmlns='${SM3}'/>`);
    if (answered !== "has") {
      core.sm = { ns: SM3, id: "late", max: null };
      core.handled = 2;
      core.write(`<enabled xmlns='${SM3}'/>`);
    }
    await enabled;
    assert.equal(enables(core), 1);
    client.message("bob@localhost", "after");
    await client.allAcked();
    assert.equal(client.sm!.acked, 1, "the core has handled three, one of them since");
    core.message("2");
    await client.expect(/>2</);
    await client.fence(); // its answer is a stanza, too
    client.ack();
    const received = answered === "has" ? 3 : 2;
    core.request();
    await core.acknowledged(received);
    const { sm } = client;
    client.drop();
    core.message("missed");
    const again = await wire.resume(sm!);
    assert.equal(again.answer.name, "resumed");
    await again.client.expect(/missed/);
    assert.equal(await wire.edge.metric("breakwater_internal_errors_total"), 0);
  });
}

describe("what a BOSH client has, as its requests show", () => {
  const start = async (t: Parameters<typeof bosh>[0], attributes = {}, oneByOne = false, config?: string) => {
    const { wire, login } = await bosh(t, config === undefined ? {} : { coreConfig: config });
    const channel = oneByOne ? new OneByOne(wire.edge.http) : new KeepAlive(wire.edge.http);
    const { client, core } = await login({ channel, attributes });
    const held = client.post(PRESENCE);
    await core.expect(/<presence/);
    const deliver = async (text: string, request: Promise<{ text: string }>) => {
      core.message(text);
      assert.match((await request).text, new RegExp(`>${text}<`));
    };
    /** What the core is told when it asks. */
    const told = async () => {
      const before = core.acks.length;
      core.request();
      await until(() => core.acks.length > before, "the core is answered");
      return core.acked;
    };
    return { wire, client, core, held, deliver, told };
  };

  test("an answer alone is no proof; the next request for more is", async (t) => {
    const { client, deliver, told, held, core } = await start(t, {}, true);
    await deliver("1", held);
    assert.equal(await told(), 0);
    const next = client.post();
    await core.acknowledged(1);
    await deliver("2", next);
    assert.equal(await told(), 1);
  });

  test("a request with stanzas may have crossed the answer, unless it came on the same connection", async (t) => {
    for (const oneByOne of [true, false]) {
      const { client, deliver, told, held, core } = await start(t, {}, oneByOne);
      await deliver("1", held);
      void client.post(message("crossing"));
      await core.expect(/crossing/);
      assert.equal(await told(), oneByOne ? 0 : 1);
      void client.post(message("further"));
      await core.expect(/further/);
      assert.equal(await told(), 1, "it has never more than two requests open, and this is the second since");
    }
  });

  test("an answer is proven on the connection that it went over, which may not be the first that asked for it", async (t) => {
    const { client, told, held, core, wire } = await start(t);
    const first = client.channel;
    client.channel = new KeepAlive(wire.edge.http);
    const again = client.postAs(client.rid);
    assert.match((await held).text, /recoverable|error/);
    core.message("1");
    assert.match((await again).text, />1</);
    client.channel = first;
    void client.post(message("on the first connection"));
    await core.expect(/on the first/);
    assert.equal(await told(), 0);
  });

  test("with ack the client says it itself (XEP-0124 §9)", async (t) => {
    const { client, deliver, told, held, core } = await start(t, { ack: "1" }, true);
    await deliver("1", held);
    void client.post(message("a"), { ack: String(client.rid - 1) });
    await core.expect(/>a</);
    assert.equal(await told(), 0);
    void client.post(message("b"), { ack: String(client.rid - 1) });
    await core.expect(/>b</);
    assert.equal(await told(), 1);
  });

  test("what waits for a request and what was in a lost answer go back to the core when the client logs out, and not to it", async (t) => {
    const { client, deliver, told, held, core, wire } = await start(t, {}, true);
    const before = await wire.edge.metric(RETURNED);
    await deliver("1", held);
    core.message("2");
    core.message("3");
    assert.equal(await told(), 0);
    const last = await client.post("", { type: "terminate" });
    assert.deepEqual(bodies(last), []);
    assert.equal(await core.ended, "stream-end");
    assert.equal(core.acked, 0);
    const again = await client.postAs(client.rid - 1);
    assert.deepEqual(bodies(again), [], "the lost answer is not given again");
    assert.equal((await wire.edge.metric(RETURNED)) - before, 3);
  });

  test("of a client that logs out with everything in its hands nothing goes back", async (t) => {
    const { client, deliver, held, core, wire } = await start(t);
    const before = await wire.edge.metric(RETURNED);
    await deliver("1", held);
    const next = client.post();
    await core.acknowledged(1);
    const end = client.post("", { type: "terminate" });
    assert.match((await next).text + (await end).text, /terminate/);
    await core.ended;
    assert.equal(core.acked, core.sent);
    assert.equal((await wire.edge.metric(RETURNED)) - before, 0);
  });

  test("a core that ends sessions over it is left with half of what it stands", async (t) => {
    const { held, core, told, deliver } = await start(t, {}, true, "    max_unacked: 10");
    await deliver("0", held);
    for (let i = 1; i < 30; i++) core.message(String(i));
    assert.equal(await told(), 25);
  });

  test("behind a balancer one connection has the requests of many clients and proves nothing", async (t) => {
    const { login } = await bosh(t, {
      listenerConfigs: { http: `    forwarded: { trusted: ["127.0.0.1"] }` },
    });
    for (const headers of [{ "X-Forwarded-For": "192.0.2.1" }, {}]) {
      const { client, core } = await login({ headers });
      const held = client.post(PRESENCE);
      await core.expect(/<presence/);
      core.message("1");
      await held;
      void client.post(message("on the same connection"));
      await core.expect(/on the same/);
      core.request();
      await until(() => core.acks.length > 0, "the core is answered");
      assert.equal(core.acked, 0, JSON.stringify(headers));
    }
  });
});

// A core that ends sessions over what is unacknowledged counts what the edge has not read, too.
for (const clients of [1, 3]) {
  const most = 1_048_576;
  test(`of ${clients} that read nothing the core is read on up to the bound of each and of all, and all is given back`, async (t) => {
    const sizes = `max_queue_bytes: ${most}, max_total_bytes: ${most}`;
    const wire = await Wire.start(t, { turned: true, config: `stream_management: { ${sizes} }` });
    const held = () => wire.edge.metric("breakwater_sm_queue_bytes");
    const all: Awaited<ReturnType<Wire["login"]>>[] = [];
    for (let i = 0; i < clients; i++) {
      const { client, core } = await wire.login({ resource: `r${i}` });
      client.presence();
      await core.expect(/<presence/);
      client.pause();
      all.push({ client, core });
    }
    const blocked = new Set();
    await until(() => {
      for (const { core } of all) {
        if (core.socket.writableLength >= 1_000_000) blocked.add(core);
        else core.message("x".repeat(60_000));
      }
      wire.clock.advance({ ms: 100 });
      return blocked.size === clients;
    }, "the core is asked to wait for each");
    await until(async () => (await held()) > most * 0.7, "more than usual waits");
    // Each has 256 KiB in any case, and one chunk may pass a bound before the core is paused.
    assert.ok((await held()) < most + 200_000 + clients * 350_000, `${await held()} bytes`);
    for (const { client } of all) client.drop();
    for (const { core } of all) await core.ended;
    await until(async () => (await held()) === 0, "nothing is held any more");
  });
}
