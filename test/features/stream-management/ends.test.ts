import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeCore } from "../../support/fake-core.ts";
import { until, Wire } from "../../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const dormant = (wire: Wire) =>
  until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
const closed = (wire: Wire, reason: string) => wire.edge.metric("breakwater_sessions_closed_total", { reason });

test("a logout tells the core the final h before the end, and both sides hear an end tag", async (t) => {
  const wire = await Wire.start(t);
  const before = await closed(wire, "client-closed");
  const { client, core } = await wire.managed();
  core.message("1");
  await client.expect(/>1</);
  client.write(`<a xmlns='${SM3}' h='1'/></stream:stream>`);
  assert.equal(await core.ended, "stream-end");
  assert.equal(core.acked, 1);
  assert.equal(await client.closed, "stream-end");
  assert.equal(await closed(wire, "client-closed"), before + 1);
});

test("what the core still has to say to a client that logs out reaches it", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.write("<iq type='get' id='last' to='localhost'><query/></iq></stream:stream>");
  await client.expect(/id='last'/);
  assert.equal(await client.closed, "stream-end");
  assert.equal(await core.ended, "stream-end");
});

test("a client that logs out and vanishes, or goes on talking, ends as a logout", async (t) => {
  const wire = await Wire.start(t);
  const before = await closed(wire, "client-closed");
  for (const behind of ["", "<message to='bob@localhost'/>", "</stream:stream>", "garbage", "<"]) {
    const { client, core } = await wire.managed();
    client.write(`</stream:stream>${behind}`);
    client.drop();
    assert.equal(await core.ended, "stream-end");
  }
  await until(async () => (await closed(wire, "client-closed")) === before + 5, "five logouts are counted");
});

test("a client that ends its stream with a stream error has logged out", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.write(
    "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
  );
  assert.equal(await core.ended, "stream-end");
  assert.equal(await client.closed, "stream-end");
});

for (const [what, end] of [
  ["resets the connection", (core: { cut(): void }) => core.cut()],
  ["closes the connection", (core: { fin(): void }) => core.fin()],
  ["sends what is not XML", (core: { write(text: string): void }) => core.write("<message>&nope;</message>")],
  ["sends a second opening tag that never ends", (core: { write(text: string): void }) => core.write("</message>")],
] as const) {
  test(`a core that ${what}: its client gets a stream error and an end tag`, async (t) => {
    const wire = await Wire.start(t);
    const { client, core } = await wire.managed();
    const other = await wire.managed({ user: "bob" });
    end(core);
    const error = await client.expect(/<stream:error/);
    assert.ok(error.child("system-shutdown") ?? error.child("internal-server-error"), error.xml);
    assert.equal(await client.closed, "stream-end");
    await other.client.fence();
  });

  test(`a core that ${what} while its client is away: a later resume is told h, and bind works`, async (t) => {
    const wire = await Wire.start(t);
    const { client, core, sm } = await wire.managed();
    client.message("bob@localhost", "1");
    await client.allAcked();
    client.drop();
    await dormant(wire);
    end(core);
    await until(
      async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 0,
      "the session is gone",
    );
    const late = await wire.resume(sm);
    assert.match(late.answer.xml, /^<failed xmlns='urn:xmpp:sm:3' h='1'><item-not-found /);
    await late.client.bind();
  });

  test(`a core that ${what} while its client resumes: the new link gets a stream error`, async (t) => {
    const wire = await Wire.start(t, { answersRequests: false });
    const { client, core, sm } = await wire.managed();
    client.message("bob@localhost", "1");
    await core.expect(/>1</);
    client.drop();
    await dormant(wire);
    const again = await wire.authenticated();
    const answer = again.client.resume(sm);
    await core.expect(/<r /);
    end(core);
    assert.equal((await answer).name, "error");
    assert.equal(await again.client.closed, "stream-end");
  });
}

test("a stream error of the core reaches its client as it is, and the core hears the final h", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  core.message("1");
  await client.expect(/>1</);
  client.write(`<a xmlns='${SM3}' h='1'/>`);
  await client.fence();
  core.write(
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced</text></stream:error></stream:stream>",
  );
  const error = await client.expect(/<stream:error/);
  assert.deepEqual([error.elements.length, error.text("text")], [2, "Replaced"]);
  assert.equal(await client.closed, "stream-end");
  assert.equal(core.acked, 1);
});

for (const [what, config, coreConfig, bodies] of [
  ["bytes", "stream_management: { max_queue_bytes: 16384 }", "", 30],
  ["stanzas", "stream_management: { max_queue_stanzas: 20 }", "", 30],
  ["stanzas of its core", "", "    max_unacked: 20", 30],
] as const) {
  test(`a dormant session whose queue is full of ${what} ends: the core gets the true h, politely, and loses nothing`, async (t) => {
    const wire = await Wire.start(t, { config, coreConfig });
    const { client, core, sm } = await wire.managed();
    core.message("0");
    await client.expect(/>0</);
    client.ack();
    await client.fence();
    client.ack();
    const handled = sm.handled;
    client.drop();
    await dormant(wire);
    for (let i = 1; i <= bodies; i++) core.message(`${i} ${"x".repeat(900)}`);
    assert.equal(await core.ended, "stream-end");
    assert.ok(core.acked <= handled && core.acked >= handled - 1, `${core.acked} of ${handled}`);
    const late = await wire.resume(sm);
    assert.match(late.answer.xml, /<failed .*h='1'.*item-not-found/);
    assert.equal(await wire.edge.metric("breakwater_sm_queue_bytes"), 0);
  });
}

test("a connected client whose queue is full is told why", async (t) => {
  const wire = await Wire.start(t, { config: "stream_management: { max_queue_stanzas: 20 }" });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  for (let i = 1; i <= 30; i++) core.message(`${i}`);
  const error = await client.expect(/<stream:error/);
  assert.ok(error.child("resource-constraint"), error.xml);
  assert.equal(await client.closed, "stream-end");
  assert.equal(await core.ended, "stream-end");
  assert.equal(core.acked, 0);
});

test("a session that would pass the room of all queues ends, and the others go on", async (t) => {
  const wire = await Wire.start(t, { config: "stream_management: { max_total_bytes: 1048576 }" });
  const big = await wire.managed({ user: "bob" });
  const more = await wire.managed({ user: "carol" });
  const here = await wire.managed();
  big.client.drop();
  await dormant(wire);
  for (let i = 0; i < 50; i++) big.core.message("x".repeat(20_000));
  await until(
    async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 1_000_000,
    "most of the room is taken",
  );
  more.client.autoAck = false;
  for (let i = 0; i < 5; i++) more.core.message("x".repeat(20_000));
  assert.ok((await more.client.expect(/<stream:error/)).child("resource-constraint"));
  assert.equal(await more.core.ended, "stream-end");
  assert.equal(big.core.isEnded, false);
  here.core.message("still here");
  await here.client.expect(/still here/);
  const again = await wire.resume(big.sm, { user: "bob" });
  assert.equal(again.answer.name, "resumed");
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) < 100_000, "the room is free again");
});

test("a core without stream management: senders hear of what a client never acknowledged, once it is gone for good", async (t) => {
  const wire = await Wire.start(t, { sm: null, turned: true, config: "stream_management: { hold_time: 60 }" });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  core.message("arrived");
  await client.expect(/arrived/);
  client.write(`<a xmlns='${SM3}' h='1'/>`);
  await client.fence();
  client.write(`<a xmlns='${SM3}' h='2'/>`);
  await client.fence();
  client.drop();
  await dormant(wire);
  core.send(
    "<message from='bob@localhost/x' id='chat' type='chat'><body>1</body></message>",
    "<message from='bob@localhost/x' id='normal'><body>1</body></message>",
    "<message from='room@conference/x' id='room' type='groupchat'><body>1</body></message>",
    "<message from='bob@localhost/x' id='headline' type='headline'><body>1</body></message>",
    "<message from='bob@localhost/x' id='error' type='error'/>",
    "<message from='alice@localhost' id='carbon'><sent xmlns='urn:xmpp:carbons:2'/></message>",
    "<presence from='bob@localhost/x' id='presence'/>",
    "<iq from='bob@localhost/x' id='get&apos;1' type='get'><q xmlns='x'/></iq>",
    "<iq from='bob@localhost/x' id='result' type='result'/>",
    "<message id='server' type='chat'><body>1</body></message>",
  );
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 500, "the queue holds them");
  wire.clock.advance({ seconds: 62 });
  assert.equal(await core.ended, "stream-end");
  const bounced = core.elements.filter(({ attrs }) => attrs["type"] === "error");
  assert.deepEqual(
    bounced.map(({ attrs }) => attrs["id"]),
    // The answer to the second fence was not acknowledged either; an answer needs none.
    ["chat", "normal", "get'1"],
  );
  for (const error of bounced) {
    assert.equal(error.attrs["to"], "bob@localhost/x");
    assert.ok(error.child("error")?.child("recipient-unavailable"));
  }
});

test("SIGTERM: clients are told, and cores see a dropped connection without an end, so that they keep the session", async (t) => {
  const wire = await Wire.start(t);
  const kept = await wire.managed({ user: "alice" });
  const away = await wire.managed({ user: "bob" });
  const plain = await wire.login({ user: "carol" });
  const half = await wire.authenticated({ user: "dave" });
  away.client.drop();
  await dormant(wire);
  kept.core.message("1");
  await kept.client.expect(/>1</);
  const stopped = wire.edge.breakwater.stop();
  for (const { client } of [kept, plain, half]) {
    assert.ok((await client.expect(/<stream:error/)).child("system-shutdown"));
    assert.equal(await client.closed, "stream-end");
  }
  assert.notEqual(await kept.core.ended, "stream-end");
  assert.notEqual(await away.core.ended, "stream-end");
  assert.equal(await plain.core.ended, "stream-end", "nothing to keep");
  assert.equal(await half.core.ended, "stream-end");
  await stopped;
});

test("SIGTERM: a kept core hears what its client has handled, so that it does not deliver that again", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  core.message("1");
  await client.expect(/>1</);
  client.write(`<a xmlns='${SM3}' h='1'/>`);
  await client.fence();
  const before = core.acks.at(-1) ?? 0;
  assert.equal(before, 0, "nobody has asked since, and no second has passed");
  const stopped = wire.edge.breakwater.stop();
  assert.notEqual(await core.ended, "stream-end");
  assert.equal(core.acks.at(-1), 1);
  await stopped;
});

test("a core that comes back takes new logins, and the edge is ready again", async (t) => {
  const wire = await Wire.start(t, { coreConfig: "    probe_interval: 1" });
  const { client } = await wire.managed();
  const { port } = wire.core;
  await wire.core.close();
  await client.expect(/system-shutdown/);
  const refused = await wire.connect();
  refused.write(refused.streamHeader());
  assert.ok((await refused.expect(/<stream:error/)).child("remote-connection-failed"));
  const back = await FakeCore.listen({}, port);
  t.after(() => back.close());
  await until(
    async () => (await fetch(`http://127.0.0.1:${wire.edge.breakwater.ops.port}/readyz`)).status === 200,
    "the edge is ready",
  );
  const again = await wire.connect();
  await again.open();
});
