// A drain on the wire: who is told what, at which pace, and what the core hears of it.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { JITTER } from "../../src/base/pacer.ts";
import { bosh, message, opening, Pipe } from "../edge/bosh/peer.ts";
import type { RawClient } from "../support/clients/raw-client.ts";
import type { WebSocketBridge } from "../support/clients/websocket-bridge.ts";
import { until, Wire, type WireOptions } from "../support/wire.ts";

const SECRET = `stream_management: { resume_secret: "what all edges know and nobody else" }`;
const SEE_OTHER_URI = "http: { websocket: { see_other_uri: 'wss://other.example/ws' } }";

async function scene(t: TestContext, options: WireOptions = {}) {
  const wire = await Wire.start(t, { turned: true, config: SECRET, ...options });
  const { drainer, ops } = wire.edge.breakwater;
  const ready = async () => await fetch(`http://127.0.0.1:${ops.port}/readyz`);
  return { wire, drainer, ready };
}

const bridgeOf = (client: RawClient) => client.socket as unknown as WebSocketBridge;

test("a session that any edge can resume loses its connection: no stream error, no end of the stream, a last <a/>", async (t) => {
  const { wire, drainer } = await scene(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  core.message("1");
  core.message("2");
  await client.expect(/>2</);
  client.write(`<a xmlns='urn:xmpp:sm:3' h='2'/>`);
  await client.fence();
  assert.equal(core.acked, 0, "nobody has asked since, and no second has passed");
  assert.ok(drainer.begin({ to: "other.example" }));
  assert.notEqual(await client.closed, "stream-end");
  assert.deepEqual(
    client.inbox.items.filter(({ name }) => name === "error"),
    [],
  );
  assert.notEqual(await core.ended, "stream-end");
  assert.equal(core.acked, 2, "what the client has handled is not delivered again");
  assert.equal(await wire.edge.metric("breakwater_drained_total", { how: "moved" }), 1);
});

test("what waits for the client is still written when its connection goes", async (t) => {
  const { wire, drainer } = await scene(t);
  const { client, core } = await wire.managed();
  core.message("the last one");
  await until(
    async () => (await wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" })) > 0,
    "it came",
  );
  drainer.begin();
  await client.closed;
  await client.expect(/the last one/);
});

test("whose session ends with the edge is told where to go on, on TCP: bound or not, with resumption here or without", async (t) => {
  const { wire, drainer } = await scene(t, { config: "drain: { rate: 1000 }" });
  const half = await wire.authenticated({ user: "dave" });
  const plain = await wire.login({ user: "carol" });
  const here = await wire.managed({ user: "alice" });
  drainer.begin({ to: "other.example:5222" });
  wire.clock.advance({ seconds: 1 });
  for (const { client } of [half, plain, here]) {
    const error = await client.expect(/<stream:error/);
    assert.equal(error.text("see-other-host"), "other.example:5222");
    assert.equal(await client.closed, "stream-end");
  }
  assert.equal(await half.core.ended, "stream-end");
  assert.equal(await plain.core.ended, "stream-end");
  assert.notEqual(await here.core.ended, "stream-end", "the core keeps it for the time being");
  assert.equal(await wire.edge.metric("breakwater_drained_total", { how: "redirected" }), 3);
});

test("without a place to go on they hear of a shutdown", async (t) => {
  const { wire, drainer } = await scene(t, { config: "" });
  const { client } = await wire.login();
  drainer.begin();
  assert.ok((await client.expect(/<stream:error/)).child("system-shutdown"));
  assert.equal(await client.closed, "stream-end");
});

test("a WebSocket gets see-other-uri in its <close/>, and none when its session goes on elsewhere", async (t) => {
  const { wire, drainer } = await scene(t, {
    config: `${SECRET}\n${SEE_OTHER_URI}\ndrain: { rate: 1000, to: other.example }`,
  });
  const webSocket = `ws://127.0.0.1:${wire.edge.http}/ws`;
  const plain = await wire.login({ webSocket, user: "carol" });
  const moved = await wire.managed({ webSocket });
  drainer.begin();
  wire.clock.advance({ seconds: 1 });
  await Promise.all([plain.client.closed, moved.client.closed]);
  const told = bridgeOf(plain.client).received;
  assert.match(told.at(-2)!, /<system-shutdown /);
  assert.match(told.at(-1)!, /^<close .*see-other-uri='wss:\/\/other\.example\/ws'/);
  assert.doesNotMatch(bridgeOf(moved.client).received.join(""), /<close |stream:error/);
  assert.notEqual(await moved.core.ended, "stream-end");
});

test("BOSH hears system-shutdown; of a session that goes on elsewhere the request just breaks", async (t) => {
  const { wire, login } = await bosh(t, {
    turned: true,
    config: `${SECRET}\ndrain: { rate: 1000, to: other.example }`,
  });
  const plain = await login({ user: "carol" });
  const moved = await login();
  assert.match((await moved.client.post("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")).text, /<enabled /);
  const told = plain.client.post(message("x"));
  const broken = assert.rejects(moved.client.post(message("y")));
  await plain.core.expect(/>x</);
  await moved.core.expect(/>y</);
  wire.edge.breakwater.drainer.begin();
  wire.clock.advance({ seconds: 1 });
  await broken;
  assert.notEqual(await moved.core.ended, "stream-end");
  assert.match((await told).text, / type='terminate' condition='system-shutdown'/);
});

test("a place to go on that is configured is told with <enabled/>, of sessions that it can resume and no others", async (t) => {
  for (const [config, location] of [
    [`${SECRET}\ndrain: { to: "other.example:5222" }`, "other.example:5222"],
    [`drain: { to: "other.example:5222" }`, undefined],
    [SECRET, undefined],
  ] as const) {
    const { wire } = await scene(t, { config });
    const { client } = await wire.login();
    assert.equal((await client.enable()).attrs["location"], location);
  }
});

test("clients go in the order of their logins, one every 1/rate to 1/rate and a fifth", async (t) => {
  const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 2 }` });
  const clients: RawClient[] = [];
  for (let i = 0; i < 8; i++) clients.push((await wire.managed({ user: `u${i}` })).client);
  const order: number[] = [];
  for (const [i, client] of clients.entries()) void client.closed.then(() => order.push(i));
  drainer.begin();
  await clients[0]!.closed;
  assert.equal(drainer.state.left, 7, "the first one goes at once");
  let goneBefore = 1;
  for (let ms = 10; drainer.state.phase === "draining"; ms += 10) {
    wire.clock.advance({ ms: 10 });
    const gone = 8 - drainer.state.left;
    assert.ok(gone <= 1 + ms / 500, `${gone} after ${ms} ms`);
    assert.ok(gone >= Math.min(8, Math.floor(1 + (ms - 10) / (500 * (1 + JITTER)))), `${gone} after ${ms} ms`);
    if (gone > goneBefore) await until(() => order.length === gone, "the client sees it");
    goneBefore = gone;
  }
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7]);
  const { seconds, how } = drainer.state;
  assert.ok(seconds >= 3.5 && seconds <= 4.2, `${seconds}`);
  assert.deepEqual(how, { "handed-over": 0, moved: 8, redirected: 0, shutdown: 0 });
});

test("sessions without a connection go at once, and their cores keep those that can be resumed", async (t) => {
  const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 1 }` });
  const away = await Promise.all(["a", "b", "c"].map((user) => wire.managed({ user })));
  for (const { client } of away) client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 3, "they are away");
  const { client } = await wire.managed({ user: "d" });
  drainer.begin();
  for (const { core } of away) assert.notEqual(await core.ended, "stream-end");
  assert.notEqual(await client.closed, "stream-end");
  assert.equal(drainer.state.phase, "drained", "and take no turn");
});

test("while it drains nobody is let in and /readyz fails; after an abort the rest stay and both recover", async (t) => {
  const { wire, drainer, ready } = await scene(t, { config: `${SECRET}\ndrain: { rate: 1 }` });
  const gone = await wire.managed({ user: "a" });
  const stays = [await wire.managed({ user: "b" }), await wire.login({ user: "c" })];
  assert.equal((await ready()).status, 200);
  drainer.begin();
  assert.equal(drainer.begin(), false, "one at a time");
  await gone.client.closed;
  const answer = await ready();
  assert.equal(answer.status, 503);
  assert.match(await answer.text(), /2 of 3 clients are left; breakwater drain --abort/);
  assert.equal(await wire.edge.metric("breakwater_drain_clients_left"), 2);
  await assert.rejects(wire.connect(), /ECONNREFUSED/);
  assert.equal(await drainer.abort(), true);
  assert.equal(await drainer.abort(), false, "there is nothing more to abort");
  wire.clock.advance({ seconds: 10 });
  for (const { client } of stays) await client.fence();
  assert.equal((await ready()).status, 200);
  assert.equal(await wire.edge.metric("breakwater_drain_clients_left"), 0);
  await (await wire.login({ user: "d" })).client.fence();
  assert.ok(drainer.begin(), "and it can drain again");
  wire.clock.advance({ seconds: 10 });
  assert.deepEqual([drainer.state.phase, drainer.state.total], ["drained", 3]);
  assert.match(await (await ready()).text(), /the edge is drained/);
});

test("an abort that cannot open a port again says which, lets nobody in, and works when the port is free", async (t) => {
  const { wire, drainer, ready } = await scene(t);
  drainer.begin();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(wire.edge.plaintext, "127.0.0.1", resolve));
  await assert.rejects(drainer.abort(), new RegExp(`127.0.0.1:${wire.edge.plaintext} is in use by another program`));
  assert.equal((await ready()).status, 503);
  await assert.rejects(wire.connect({ port: wire.edge.starttls }), /ECONNREFUSED/);
  await new Promise((resolve) => other.close(resolve));
  assert.equal(await drainer.abort(), true);
  await (await wire.login()).client.fence();
});

test("who comes by an open HTTP connection while it drains is sent away", async (t) => {
  const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 0.1 }` });
  const pipe = new Pipe(wire.edge.http);
  await pipe.send(opening(1, { to: "elsewhere.example" }));
  drainer.begin();
  assert.match((await pipe.send(opening(2))).text, /type='terminate' condition='system-shutdown'/);
});

test("who was logging in when the drain began has a turn, too", async (t) => {
  const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 1 }` });
  const first = await wire.managed({ user: "a" });
  const second = await wire.authenticated({ user: "b" });
  const third = await wire.authenticated({ user: "c" });
  drainer.begin();
  assert.ok((await second.client.expect(/<stream:error/)).child("system-shutdown"), "those without a session go first");
  await third.client.bind("phone");
  wire.clock.advance({ seconds: 10 });
  assert.notEqual(await first.client.closed, "stream-end");
  assert.ok((await third.client.expect(/<stream:error/)).child("system-shutdown"));
  assert.equal(drainer.state.phase, "drained");
});

test("a stop drains at the rate, and faster where drain.timeout asks for it", async (t) => {
  const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 1, timeout: 2 }` });
  const clients = [];
  for (let i = 0; i < 11; i++) clients.push((await wire.managed({ user: `u${i}` })).client);
  const stopped = wire.edge.breakwater.stop();
  assert.equal(drainer.state.left, 10);
  assert.equal(await drainer.abort(), false, "a stop is for good");
  wire.clock.advance({ seconds: 1 });
  const { left, rate } = drainer.state;
  assert.ok(left >= 4 && left <= 6, `half of them are left: ${left}`);
  assert.ok(rate > 5 && rate < 6, `${rate}`);
  wire.clock.advance({ seconds: 1 });
  assert.equal(drainer.state.left, 0);
  for (const client of clients) assert.notEqual(await client.closed, "stream-end");
  await stopped;
});

test("a stop with a timeout of 0 lets all go at once, and a stop hurries a drain that is too slow", async (t) => {
  for (const timeout of [0, 10]) {
    const { wire, drainer } = await scene(t, { config: `${SECRET}\ndrain: { rate: 0.1, timeout: ${timeout} }` });
    for (let i = 0; i < 4; i++) await wire.managed({ user: `u${i}` });
    if (timeout > 0) drainer.begin();
    void wire.edge.breakwater.stop();
    if (timeout > 0) wire.clock.advance({ seconds: timeout });
    assert.deepEqual([drainer.state.phase, drainer.state.how.moved], ["drained", 4]);
  }
});
