// What goes wrong between a session, its core and the store: a stanza is acknowledged only when the store has it.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { NS } from "../../../src/xmpp/ns.ts";
import { until, type Wire } from "../../support/wire.ts";
import {
  bodies,
  edgeWithRedis,
  forgotten,
  held,
  message,
  nameOf,
  ownerOf,
  range,
  redis,
  store,
  stored,
  token,
} from "./with-redis.ts";

const PATIENCE = 40; // stored from 10 on

const scene = (t: TestContext, options = "") => edgeWithRedis(t, { patience: PATIENCE, store: options });

/** A client that is away, and its stream at the core, which has sent `count` stanzas since. */
async function asleep(wire: Wire, count = 0) {
  const managed = await wire.managed();
  managed.client.drop();
  const phase = { phase: "dormant" };
  await until(async () => (await wire.edge.metric("breakwater_sessions", phase)) === 1, "the client is away");
  // In one write, so that they are stored together.
  const send = (more: number): void => {
    const { core } = managed;
    core.send(...bodies(core.sent + 1, core.sent + more).map((body) => `${message(body)}`));
  };
  send(count);
  return { ...managed, send, told: (h: number) => until(() => managed.core.acked === h, `the core is told ${h}`) };
}

test("a quarter of the core's patience stays there; more is stored, and only then acknowledged", async (t) => {
  const wire = await scene(t);
  const { send, told, core, sm } = await asleep(wire, 9);
  core.request();
  await until(() => core.acks.length > 0, "the core has its answer");
  assert.deepEqual([core.acked, await range(sm.id!)], [0, null]);
  send(1);
  await told(10);
  assert.deepEqual(await range(sm.id!), { first: 1, next: 11 });
  redis.freeze();
  send(12);
  core.request();
  const answers = core.acks.length;
  await until(() => core.acks.length > answers, "the core has its answer");
  assert.equal(core.acked, 10);
  redis.thaw();
  await told(22);
});

test("a store that stays away: past its core's patience the session ends politely, and the core has the true h", async (t) => {
  const wire = await scene(t);
  const { send, told, core } = await asleep(wire, 12);
  await told(12);
  redis.freeze();
  try {
    send(PATIENCE + 1);
    assert.equal(await core.ended, "stream-end");
    assert.equal(core.acked, 12);
    assert.equal(await wire.edge.metric("breakwater_sessions_closed_total", { reason: "queue-full" }), 1);
  } finally {
    redis.thaw();
  }
});

test("a store that takes no more of it: the session goes on up to its core's patience", async (t) => {
  const wire = await scene(t, "max_session_stanzas: 30");
  const { send, told, core, sm } = await asleep(wire);
  for (const [more, h] of [
    [10, 10],
    [10, 20],
    [10, 30],
  ] as const) {
    send(more);
    await told(h);
  }
  send(PATIENCE);
  core.request();
  const answers = core.acks.length;
  await until(() => core.acks.length > answers, "the core has its answer");
  assert.equal(core.acked, 30);
  const { client, answer } = await wire.resume(sm);
  assert.equal(answer.name, "resumed");
  await client.expect(new RegExp(`>${30 + PATIENCE}<`));
});

test("a Redis that has lost everything gets it again, and the core never hears less than before", async (t) => {
  const wire = await scene(t);
  const { send, told, core, sm } = await asleep(wire, 15);
  await told(15);
  await redis.cli("flushall");
  send(10);
  await told(25);
  assert.deepEqual(await range(sm.id!), { first: 1, next: 26 });
  assert.deepEqual(
    core.acks,
    [...core.acks].sort((a, b) => a - b),
  );
});

test("another edge claims the session: this one lets go of its core without a word", async (t) => {
  const wire = await scene(t);
  const { send, told, core, sm } = await asleep(wire, 15);
  await told(15);
  await store.claim(nameOf(sm.id!), "another edge", 60);
  send(15);
  assert.notEqual(await core.ended, "stream-end");
  assert.equal(core.acked, 15);
  assert.deepEqual(await range(sm.id!), { first: 1, next: 16 });
});

test("what the client has handled is forgotten at once, and the next time begins anew", async (t) => {
  const wire = await scene(t);
  const { send, told, sm } = await asleep(wire, 15);
  await told(15);
  const { client } = await wire.resume(sm);
  await client.expect(/>15</);
  client.ack();
  await forgotten(sm.id!);
  client.drop();
  send(25);
  await told(40);
  assert.deepEqual(await range(sm.id!), { first: 16, next: 41 });
});

test("what was stored and is handled leaves no room behind: the core's patience is what it was", async (t) => {
  const wire = await scene(t);
  const { send, told, core, sm } = await asleep(wire, 30);
  await told(30);
  const { client } = await wire.resume(sm);
  await client.expect(/>30</);
  client.ack();
  await forgotten(sm.id!);
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is away");
  redis.freeze();
  try {
    send(PATIENCE + 1);
    assert.equal(await core.ended, "stream-end");
    assert.equal(core.acked, 30);
  } finally {
    redis.thaw();
  }
});

// ---- a client returns here whose session was another edge's

test("a takeover: the core is asked behind what is stored, and the client gets both in order", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 4, bodies(4, 30).map(message));
  const { client, core } = await wire.authenticated();
  const resumed = client.resume(held(id, 7));
  const asked = await core.expect(/^<resume[ >]/);
  assert.equal(asked.attrs["h"], "30");
  core.write(`<resumed xmlns='${NS.sm}' previd='core&apos;s own' h='0'/>`);
  core.write(message("31"));
  assert.equal((await resumed).name, "resumed");
  client.inbox.items.push(await client.expect(/>31</));
  const delayed = client.inbox.items.filter((each) => each.child("delay", "urn:xmpp:delay"));
  assert.deepEqual([delayed.length, client.takeBodies()], [23, bodies(8, 31)]);
  client.ack();
  await forgotten(id);
  core.write(`<r xmlns='${NS.sm}'/>`);
  await until(async () => (await core.expect(/^<a[ >]/)).attrs["h"] === "31", "the core is told");
});

test("a link that is lost in the middle of the stored ones: the rest comes on the next", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 1, bodies(1, 200).map(message));
  const sm = held(id, 0);
  const { client, core } = await wire.authenticated();
  const resumed = client.resume(sm);
  await core.expect(/^<resume[ >]/);
  core.write(`<resumed xmlns='${NS.sm}' previd='core&apos;s own' h='0'/>`);
  await resumed;
  await client.expect(/>20</);
  client.drop();
  const had = client.takeBodies().length + 1;
  sm.handled = had;
  const again = wire.authenticated();
  const { client: next } = await again;
  const answer = next.resume(sm);
  core.sm = { ns: NS.sm, id: "", max: null };
  core.socket.once("data", () => {});
  const answering = setInterval(() => core.ack(0), 20);
  t.after(() => clearInterval(answering));
  assert.equal((await answer).name, "resumed");
  next.inbox.items.push(await next.expect(/>200</));
  assert.deepEqual(next.takeBodies(), bodies(had + 1, 200));
});

for (const [what, stanzas, first] of [
  ["what is no stanza", [Buffer.from("garbage")], 1],
  ["a stanza that does not end", [Buffer.from("<message>")], 1],
  ["the end of a stream", [Buffer.from("</stream:stream>")], 1],
  ["nothing at all", [Buffer.alloc(0)], 1],
  ["two stanzas in one", [Buffer.concat([message("1"), message("2")])], 1],
  ["a gap behind what the client has", [message("9")], 9],
] as const) {
  test(`a store that holds ${what}: the client binds anew, and the core is not asked`, async (t) => {
    const wire = await scene(t);
    const id = token();
    await stored(id, first, stanzas);
    const { client, core } = await wire.authenticated();
    assert.equal((await client.resume(held(id, 0))).name, "failed");
    await client.bind("phone");
    assert.ok(!core.elements.some(({ name }) => name === "resume"));
  });
}

test("a store that holds more than any edge would store: the client binds anew, and the core is not asked", async (t) => {
  const wire = await scene(t, "max_session_bytes: 16384");
  const id = token();
  await stored(id, 1, bodies(1, 300).map(message));
  const { client, core } = await wire.authenticated();
  assert.equal((await client.resume(held(id, 0))).name, "failed");
  await client.bind("phone");
  assert.ok(!core.elements.some(({ name }) => name === "resume"));
});

test("a stranger with the resume id gets nothing, and its owner stays its owner", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 1, bodies(1, 30).map(message));
  const before = await ownerOf(id);
  const { client } = await wire.authenticated({ user: "mallory" });
  assert.equal((await client.resume(held(id, 0))).name, "failed");
  await client.bind("phone");
  assert.deepEqual(client.takeBodies(), []);
  assert.equal(await ownerOf(id), before);
});

test("a store that is away for a moment: the client is asked to come again, and then it is resumed", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 1, bodies(1, 30).map(message));
  redis.freeze();
  const { client } = await wire.authenticated();
  assert.match((await client.resume(held(id, 0))).xml, /remote-connection-failed/);
  assert.equal(await client.closed, "stream-end");
  redis.thaw();
  await until(async () => (await wire.edge.metric("breakwater_store_up")) === 1, "the edge has its store again");
  const again = await wire.authenticated();
  const resumed = again.client.resume(held(id, 0));
  assert.equal((await again.core.expect(/^<resume[ >]/)).attrs["h"], "30");
  again.core.write(`<resumed xmlns='${NS.sm}' previd='core&apos;s own' h='0'/>`);
  await resumed;
  await again.client.expect(/>30</);
});

test("a client or a core that is gone before the store has answered takes nobody with it", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 1, bodies(1, 3).map(message));
  for (const end of ["client", "core"] as const) {
    redis.freeze();
    const { client, core } = await wire.authenticated();
    client.write(`<resume xmlns='${NS.sm}' previd='${id}' h='0'/>`);
    if (end === "client") client.drop();
    else core.cut();
    await client.closed;
    redis.thaw();
    await until(async () => (await wire.edge.metric("breakwater_store_up")) === 1, "the edge has its store again");
    assert.ok(!core.elements.some(({ name }) => name === "resume"));
  }
});

test("the core has lost the session: messages come after the bind, once, and nothing else of it", async (t) => {
  const wire = await scene(t);
  const id = token();
  await stored(id, 1, [
    message("1"),
    Buffer.from("<presence from='bob@localhost/x'/>"),
    Buffer.from("<message type='groupchat' from='room@muc/x'><body>room</body></message>"),
    Buffer.from("<iq type='get' id='i' from='bob@localhost/x'><query/></iq>"),
    message("5"),
  ]);
  const { client, core } = await wire.authenticated();
  const answer = client.resume(held(id, 0));
  await core.expect(/^<resume[ >]/);
  core.write(`<failed xmlns='${NS.sm}'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`);
  assert.equal((await answer).name, "failed");
  await client.bind("phone");
  await client.expect(/>5</).then((last) => client.inbox.items.push(last));
  assert.deepEqual(
    client.inbox.items.map(({ name }) => name),
    ["message", "message"],
  );
  await client.enable({ resume: true });
  assert.notEqual(await range(id), null, "until it has shown that it has them");
  core.message("6");
  await client.expect(/>6</);
  client.ack();
  await forgotten(id);
  assert.equal(client.sm!.handled, 1);
});
