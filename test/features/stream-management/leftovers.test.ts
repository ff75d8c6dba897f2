// What is stored for sessions that are over: the account's next login gets it, again and again until it has shown that it has it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Element } from "../../support/clients/xml-stream.ts";
import type { FakeStream } from "../../support/fake-core.ts";
import { until, type Wire } from "../../support/wire.ts";
import {
  bodies,
  edgeWithRedis,
  forgotten,
  held,
  message,
  range,
  redis,
  store,
  stored,
  storeUp,
  token,
} from "./with-redis.ts";

const OLD = "a resume id that its client has forgotten";
const messages = (from: number, to: number) => bodies(from, to).map(message);
const dormant = (wire: Wire) =>
  until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "the client is away");

test("a client that has forgotten its session gets what is stored for it when it enables, and counts none of it", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 5, messages(5, 30));
  const { client, core } = await wire.login();
  const enabled = await client.enable();
  assert.deepEqual(client.takeBodies(), bodies(5, 30), "before <enabled/>");
  assert.equal(enabled.name, "enabled");
  assert.notEqual(await range(OLD), null, "until it has shown that it has them");
  core.message("31");
  await client.expect(/>31</);
  client.ack();
  await forgotten(OLD);
  assert.deepEqual([client.sm!.handled, client.takeBodies()], [1, []]);
});

test("a link that dies before the first acknowledgement: the next login gets them again, and the one after it does not", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  for (const resource of ["phone", "another"]) {
    const { client } = await wire.login({ resource });
    client.autoAck = false;
    await client.enable();
    assert.deepEqual(client.takeBodies(), bodies(1, 20), resource);
    client.drop();
  }
  const { client, core } = await wire.managed();
  assert.deepEqual(client.takeBodies(), bodies(1, 20));
  core.message("21");
  await client.expect(/>21</);
  client.ack();
  await forgotten(OLD);
  const last = await wire.managed();
  assert.deepEqual(last.client.takeBodies(), []);
});

test("what the core sends at once with the bind comes behind them, and neither is counted", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  wire.core.script.onElement = (stream, element) => {
    const atOnce = () => {
      for (const body of bodies(21, 23)) stream.message(body);
    };
    if (element.child("bind") !== undefined) queueMicrotask(atOnce);
    return false;
  };
  const { client } = await wire.managed();
  await client.fence();
  assert.deepEqual([client.takeBodies(), client.sm!.handled], [bodies(1, 23), 1]);
});

test("a resume shows that they have arrived, as <enabled/> came behind them", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  const { client, sm } = await wire.managed();
  assert.deepEqual(client.takeBodies(), bodies(1, 20));
  client.drop();
  const back = await wire.resume(sm);
  assert.equal(back.answer.name, "resumed");
  assert.deepEqual(back.client.takeBodies(), []);
  await forgotten(OLD);
});

for (const [what, script] of [
  ["has no XEP-0198", { sm: null }],
  ["counts nothing yet", {}],
] as const) {
  test(`a client that goes while the store is asked: the senders of what waited hear it, where the core ${what}`, async (t) => {
    const wire = await edgeWithRedis(t, { timeout: 30 });
    const atOnce = (stream: FakeStream) => {
      stream.write(
        `<message from='bob@localhost/x' id='m1'><body>1</body></message><presence from='bob@localhost/x'/>`,
      );
    };
    const onElement = (stream: FakeStream, element: Element) => {
      if (element.child("bind") !== undefined) queueMicrotask(() => atOnce(stream));
      return false;
    };
    Object.assign(wire.core.script, { ...script, onElement });
    const { client, core } = await wire.authenticated();
    await redis.cli("client", "pause", "60000", "WRITE");
    const came = () => wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
    const before = await came();
    await client.bind("phone");
    await until(async () => (await came()) === before + 2, "it waits");
    client.drop();
    const error = await core.expect(/type='error'/);
    assert.match(error.xml, /id='m1'.*recipient-unavailable/);
    assert.equal(await core.ended, "stream-end");
    await redis.cli("client", "unpause");
  });
}

test("what the core sends with the bind, behind a message, stays behind it", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 2));
  wire.core.script.onElement = (stream, element) => {
    const atOnce = () => stream.write(`${message("3")}<presence from='bob@localhost/x'/>${message("4")}`);
    if (element.child("bind") !== undefined) queueMicrotask(atOnce);
    return false;
  };
  const { client } = await wire.login();
  const order: string[] = [];
  client.onStanza = (stanza) => void order.push(stanza.text("body") ?? stanza.name);
  client.presence();
  await until(() => order.includes("4"), "all have come");
  assert.deepEqual(order.slice(order.indexOf("3"), order.indexOf("4") + 1), ["3", "presence", "4"], order.join());
});

test("a client without stream management gets them with its presence, and again until it has answered a ping", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  for (const round of [1, 2]) {
    const { client, core } = await wire.login();
    client.presence();
    await core.expect(/^<presence/);
    const ping = await client.expect(/urn:xmpp:ping/);
    assert.deepEqual(client.takeBodies(), bodies(1, 20));
    if (round === 1) {
      client.drop();
      await core.ended;
      assert.deepEqual(await range(OLD), { first: 1, next: 21 });
      continue;
    }
    client.send(`<iq type='result' id='${ping.attrs["id"]}' to='localhost'/>`);
    await forgotten(OLD);
    await client.fence();
    assert.ok(
      !core.elements.some(({ name, attrs }) => name === "iq" && attrs["type"] === "result"),
      "it is the edge's",
    );
  }
});

test("a client that enables right behind its presence gets them before <enabled/> and is not pinged, also while the store is asked", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  for (const isAsked of [false, true]) {
    if (isAsked) await redis.cli("client", "pause", "500", "ALL");
    const { client, core } = await wire.login();
    client.autoAck = false;
    client.presence();
    await client.enable();
    assert.deepEqual(client.takeBodies(), bodies(1, 20));
    assert.ok(core.elements.findLast(({ name }) => name === "enable")!.attrs["resume"]);
    await client.fence();
    assert.deepEqual(
      core.elements.map(({ name }) => name).filter((name) => name === "enable" || name === "presence"),
      ["enable", "presence"],
    );
    assert.ok(!client.inbox.items.some(({ xml }) => xml.includes("urn:xmpp:ping")));
    client.drop();
  }
});

test("another device gets nothing of a session that is alive, and all of it when it is over", async (t) => {
  const wire = await edgeWithRedis(t);
  const { client, core, sm } = await wire.managed({ resource: "phone" });
  client.drop();
  await dormant(wire);
  core.send(...messages(1, 20).map(String));
  await until(() => core.acked === 20, "they are stored");
  const tablet = await wire.managed({ resource: "tablet" });
  assert.deepEqual(tablet.client.takeBodies(), []);
  await tablet.client.end();
  core.write("</stream:stream>");
  await until(
    async () => (await wire.edge.metric("breakwater_resumable_sessions")) === 0,
    "the phone's session is over",
  );
  const again = await wire.managed({ resource: "tablet" });
  assert.deepEqual(again.client.takeBodies(), bodies(1, 20));
  again.core.message("21");
  await again.client.expect(/>21</);
  again.client.ack();
  await forgotten(sm.id!);
});

test("a session whose edge has died is over for other devices when it has not been heard of for its time", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored("alive", 1, messages(1, 3), { resource: "tablet", seconds: 600 });
  await stored("dead", 1, messages(4, 6), { resource: "laptop", seconds: 0.05 });
  await until(async () => (await store.hasLeft("alice@localhost", "phone", "")) === true, "its time is over");
  const { client } = await wire.managed();
  assert.deepEqual(client.takeBodies(), bodies(4, 6));
});

test("what the client has acknowledged of the stored ones is not there for its next login", async (t) => {
  const wire = await edgeWithRedis(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await dormant(wire);
  core.send(...messages(1, 20).map(String));
  await until(() => core.acked === 20, "they are stored");
  const back = await wire.authenticated();
  back.client.autoAck = false;
  await back.client.resume(sm);
  await back.client.expect(/>5</);
  back.client.write(`<a xmlns='${sm.ns}' h='5'/>`);
  await until(async () => JSON.stringify(await range(sm.id!)) === `{"first":6,"next":21}`, "the store knows");
  back.client.drop();
  core.write("</stream:stream>");
  await until(async () => (await wire.edge.metric("breakwater_resumable_sessions")) === 0, "the session is over");
  const next = await wire.managed({ resource: "elsewhere" });
  assert.deepEqual(next.client.takeBodies(), bodies(6, 20));
});

const FAILED = "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
for (const [what, says, before] of [
  ["its core has given up", FAILED, 0],
  ["its core lacks the beginning of", "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='1'/>", 2],
] as const) {
  test(`a session that ${what}: what the client says to have is left out`, async (t) => {
    const wire = await edgeWithRedis(t);
    const id = token(before);
    await stored(id, 1, messages(1, 20));
    const { client, core } = await wire.authenticated();
    const answer = client.resume(held(id, 12));
    await core.expect(/^<resume[ >]/);
    core.write(says);
    const isOver = (await answer).name === "error";
    assert.equal(isOver, before > 0);
    const next = isOver ? await wire.login() : { client, jid: await client.bind("quite another") };
    await next.client.enable();
    assert.deepEqual(next.client.takeBodies(), bodies(13, 20));
  });
}

test("what somebody else has put into the store is left out, and the rest is delivered", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, [message("1"), Buffer.from("</stream:stream>"), Buffer.from("garbage"), message("4")]);
  const { client, core } = await wire.managed();
  assert.deepEqual(client.takeBodies(), ["1", "4"]);
  core.message("5");
  await client.expect(/>5</);
  client.ack();
  await forgotten(OLD);
});

test("nothing but presence and IQs is left: there is nothing to deliver, and the store forgets it", async (t) => {
  const wire = await edgeWithRedis(t);
  const iq = Buffer.from("<iq type='get' id='i' from='bob@localhost/x'><query xmlns='q'/></iq>");
  await stored(OLD, 1, [Buffer.from("<presence from='bob@localhost/x'/>"), iq]);
  const { client } = await wire.managed();
  await client.fence();
  assert.deepEqual(client.inbox.items, []);
  await forgotten(OLD);
});

test("an acknowledgement that the store could not be told of is told when it is back", async (t) => {
  const wire = await edgeWithRedis(t);
  await stored(OLD, 1, messages(1, 20));
  const { client, core } = await wire.managed();
  assert.deepEqual(client.takeBodies(), bodies(1, 20));
  await redis.cli("config", "set", "maxmemory", "1"); // no writes
  await until(async () => (await wire.edge.metric("breakwater_store_up")) === 0, "the edge knows");
  redis.freeze();
  core.message("21");
  await client.expect(/>21</);
  client.ack();
  await client.fence();
  client.drop();
  redis.thaw();
  await redis.cli("config", "set", "maxmemory", "0");
  await forgotten(OLD);
});

for (const managed of [true, false]) {
  const who = managed ? "a client that counts logs in anew, once, and" : "a client that does not count";
  test(`the store is away at the login: ${who} gets them when it is back; one with nothing there stays`, async (t) => {
    const wire = await edgeWithRedis(t);
    await stored(OLD, 1, messages(1, 20));
    redis.freeze();
    const login = async (user: string): Promise<Awaited<ReturnType<Wire["login"]>>> => {
      const all = await wire.login({ user });
      if (managed) await all.client.enable();
      all.client.presence();
      await all.core.expect(/^<presence/);
      return all;
    };
    const { client, core } = await login("alice");
    const carol = await login("carol");
    assert.deepEqual(client.takeBodies(), []);
    const asked = { trouble: "unavailable" };
    await until(async () => (await wire.edge.metric("breakwater_sm_store_troubles_total", asked)) >= 2, "both in vain");
    redis.thaw();
    await storeUp(wire);
    if (!managed) {
      const ping = await client.expect(/urn:xmpp:ping/);
      assert.deepEqual(client.takeBodies(), bodies(1, 20));
      client.send(`<iq type='result' id='${ping.attrs["id"]}'/>`);
    } else {
      assert.match((await client.expect(/stream:error/)).xml, /<reset /);
      assert.equal(await client.closed, "stream-end");
      assert.equal(await core.ended, "stream-end", "the core stores what has not been acknowledged");
      assert.equal(await wire.edge.metric("breakwater_sessions_closed_total", { reason: "leftovers-found" }), 1);
      const again = await wire.managed();
      assert.deepEqual(again.client.takeBodies(), bodies(1, 20));
      await acknowledges(again);
    }
    await forgotten(OLD);
    await carol.client.fence();
    assert.ok(!carol.core.isEnded);
  });
}

async function acknowledges({
  client,
  core,
}: {
  client: { expect(p: RegExp): Promise<unknown>; ack(): void };
  core: FakeStream;
}) {
  core.message("last");
  await client.expect(/>last</);
  client.ack();
}
