import assert from "node:assert/strict";
import { test } from "node:test";
import type { FakeStream } from "../../support/fake-core.ts";
import { until, type Wire } from "../../support/wire.ts";
import {
  type Answer,
  type Attributes,
  attribute,
  type Bosh,
  bindRequest,
  bodies,
  bosh,
  type Client,
  isEmpty,
  message,
  Pipe,
} from "./peer.ts";

/** Sends a request and waits until the edge has it. */
async function ask(client: Client, core: FakeStream, mark: string) {
  const answer = client.post(message(mark));
  await core.expect(new RegExp(`>${mark}<`));
  return { answer };
}

const links = (wire: Wire) => wire.edge.metric("breakwater_links", { transport: "bosh" });

test("a request is held for `wait` at most and then answered with nothing", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login({ attributes: { wait: "20" } });
  for (let i = 0; i < 3; i++) {
    const { answer } = await ask(client, core, `m${i}`);
    let answered = false;
    void answer.then(() => {
      answered = true;
    });
    wire.clock.advance({ seconds: 18 });
    await wire.edge.metrics();
    assert.equal(answered, false);
    wire.clock.advance({ seconds: 2 });
    assert.ok(isEmpty(await answer));
  }
});

test("a client that asks nothing for `inactivity` is lost; one that asks, or waits, is not", async (t) => {
  const { wire, login } = await bosh(t, { turned: true, config: "http: { bosh: { inactivity: 30 } }" });
  const { client, core } = await login();
  for (let i = 0; i < 3; i++) {
    const { answer } = await ask(client, core, `m${i}`);
    core.message("x");
    await answer;
    wire.clock.advance({ seconds: 29 });
    assert.equal(await links(wire), 1);
  }
  const { answer } = await ask(client, core, "held");
  wire.clock.advance({ seconds: 58 });
  assert.equal(await links(wire), 1, "as long as a request is held, the client is there");
  wire.clock.advance({ seconds: 1 });
  await answer;
  wire.clock.advance({ seconds: 29 });
  assert.equal(await links(wire), 1);
  wire.clock.advance({ seconds: 2 });
  assert.equal(await links(wire), 0);
  await core.ended;
  assert.match((await client.post()).text, /condition='item-not-found'/);
});

test("a request whose connection is lost does not keep the session, however often it is repeated and lost", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const body = client.request(++client.rid, message("x"));
  for (let i = 0; i < 3; i++) {
    const connections = await wire.edge.metric("breakwater_connections");
    const repeated = await wire.edge.metric("breakwater_bosh_repeated_total");
    const pipe = new Pipe(wire.edge.http);
    void pipe.send(body);
    if (i === 0) await core.expect(/>x</);
    else await until(async () => (await wire.edge.metric("breakwater_bosh_repeated_total")) > repeated, "it has come");
    wire.clock.advance({ seconds: 40 });
    pipe.drop();
    await until(async () => (await wire.edge.metric("breakwater_connections")) === connections, "it is lost");
    wire.clock.advance({ seconds: 50 });
    assert.equal(await links(wire), 1);
  }
  wire.clock.advance({ seconds: 12 });
  assert.equal(await links(wire), 0);
});

test("a gap that is never filled does not keep the session, nor the request that waits behind it", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const parked = new Pipe(wire.edge.http);
  void parked.send(client.request(client.rid + 2, message("x")));
  await new Promise((resolve) => parked.socket.write("", resolve));
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 3, "it is there");
  await until(async () => {
    wire.clock.advance({ seconds: 62 });
    return core.isEnded;
  }, "the session is over");
  await parked.closed;
  assert.deepEqual(core.stanzas, []);
});

test("a session with XEP-0198 that is lost by inactivity can be resumed, with what was not acknowledged", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const { text } = await client.post("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const id = /<enabled [^>]*id='([^']+)'/.exec(text)![1]!;
  core.message("unseen");
  await until(async () => {
    wire.clock.advance({ seconds: 10 });
    return (await links(wire)) === 0;
  }, "the link is lost");
  assert.equal(await wire.edge.metric("breakwater_sessions", { phase: "dormant" }), 1);
  const { client: tcp } = await wire.authenticated({ user: "alice" });
  tcp.send(`<resume xmlns='urn:xmpp:sm:3' previd='${id}' h='0'/>`);
  assert.equal((await tcp.expect(/<resumed/)).name, "resumed");
  assert.equal((await tcp.expect(/<message/)).text("body"), "unseen");
});

// ---- pause

test("a pause answers all requests, itself with nothing, and lasts as long as it says", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const { answer: held } = await ask(client, core, "x");
  const pause = client.post("", { pause: "100" });
  const [first, second] = await Promise.all([held, pause]);
  assert.ok(isEmpty(first) && isEmpty(second));
  core.message("meanwhile");
  await wire.edge.metrics();
  wire.clock.advance({ seconds: 98 });
  assert.equal(await links(wire), 1);
  assert.deepEqual(bodies(await client.post()), ["meanwhile"]);
  // After it the usual time counts again.
  wire.clock.advance({ seconds: 58 });
  assert.equal(await links(wire), 1);
  wire.clock.advance({ seconds: 4 });
  assert.equal(await links(wire), 0);
  await core.ended;
});

test("a pause with a stanza in it: the stanza reaches the core, and nothing comes back with the answer", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const answer = await client.post(message("x"), { pause: "10" });
  await core.expect(/>x</);
  assert.ok(isEmpty(answer));
});

for (const [pause, lasts] of [
  ["100", 100],
  ["10", 10],
  ["100000", 120],
  ["soon", 60],
] as const) {
  test(`pause='${pause}' ends a session that does not come back after ${lasts} s`, async (t) => {
    const { wire, login } = await bosh(t, { turned: true });
    const { client, core } = await login();
    if (pause === "soon") {
      // No pause at all: an ordinary request, which is held.
      const held = client.post(message("x"), { pause });
      await core.expect(/>x</);
      core.message("y");
      assert.deepEqual(bodies(await held), ["y"]);
    } else await client.post("", { pause });
    wire.clock.advance({ seconds: lasts - 2 });
    assert.equal(await links(wire), 1);
    wire.clock.advance({ seconds: 3 });
    assert.equal(await links(wire), 0);
    await core.ended;
  });
}

test("the answers of three open requests, the last of them a pause, are all repeated", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const { rid } = client;
  const later = [client.postAs(rid + 3, "", { pause: "60" }), client.postAs(rid + 2, message("b"))];
  const first = client.postAs(rid + 1, message("a"));
  const texts = (await Promise.all([first, later[1]!, later[0]!])).map(({ text }) => text);
  await core.expect(/>b</);
  for (const i of [0, 1, 2]) assert.equal((await client.postAs(rid + 1 + i)).text, texts[i]);
});

// ---- polling and pace

/** Logs in a client that polls: the core's answers come with later requests. */
async function polling({ wire, client }: Bosh, attributes: Attributes) {
  const one = client();
  const poll = async (pattern: RegExp, { text }: Answer): Promise<void> => {
    while (!pattern.test(text)) {
      await wire.edge.metrics();
      wire.clock.advance({ seconds: 5 });
      ({ text } = await one.post());
    }
  };
  await poll(/<mechanisms/, await one.open(attributes));
  await poll(/<success/, await one.authenticate());
  await poll(/<bind/, await one.restart());
  await poll(/<jid>/, await one.post(bindRequest()));
  return { client: one, core: await wire.core.nextBound() };
}

for (const attributes of [{ hold: "0" }, { wait: "0" }]) {
  test(`a client that polls (${JSON.stringify(attributes)}) gets with each poll what has come`, async (t) => {
    const edge = await bosh(t, { turned: true });
    const { client, core } = await polling(edge, attributes);
    core.message("one");
    core.message("two");
    const got: string[] = [];
    await until(async () => {
      edge.wire.clock.advance({ seconds: 5 });
      got.push(...bodies(await client.post()));
      return got.length >= 2;
    }, "both have come");
    assert.deepEqual(got, ["one", "two"]);
    edge.wire.clock.advance({ seconds: 118 });
    assert.equal(await links(edge.wire), 1);
    edge.wire.clock.advance({ seconds: 3 });
    assert.equal(await links(edge.wire), 0);
  });
}

test("a client that polls too often for nothing is ended, one that has something to say is not", async (t) => {
  const { client, core } = await polling(await bosh(t, { turned: true }), { hold: "0" });
  for (let i = 0; i < 20; i++) assert.doesNotMatch((await client.post(message(i))).text, /terminate/);
  const answers: string[] = [];
  while (answers.length < 12) answers.push((await client.post()).text);
  assert.ok(
    answers.slice(0, 5).every((text) => !text.includes("terminate")),
    "a few may come bunched",
  );
  assert.ok(answers.some((text) => text.includes("condition='policy-violation'")));
  await core.ended;
});

test("empty requests that come one upon the other, each while the one before is held, end the session", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  for (let i = 0; i < 20; i++) {
    void client.post();
    wire.clock.advance({ seconds: 6 });
    await wire.edge.metrics();
  }
  assert.equal(await links(wire), 1);
  const answers = Array.from({ length: 12 }, () => client.post());
  assert.ok((await Promise.all(answers)).some(({ text }) => text.includes("condition='policy-violation'")));
  await core.ended;
});

// ---- acknowledgements

test("answers tell the highest request that has come, where it is not their own", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login({ attributes: { ack: "1" } });
  const { answer: held } = await ask(client, core, "a");
  const { answer } = await ask(client, core, "b");
  assert.equal(attribute(await held, "ack"), String(client.rid));
  core.message("x");
  assert.equal(attribute(await answer, "ack"), null);
});

test("a client that lacks an answer is told of it: report and time, once", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login({ attributes: { ack: "1" } });
  const { answer } = await ask(client, core, "a");
  core.message("lost on the way");
  const { text } = await answer;
  const lost = client.rid;
  wire.clock.advance({ ms: 5000 });
  // Two requests at once that lack it: what they are told is one document all the same.
  const second = client.postAs(lost + 2, "", { ack: String(lost - 1) });
  const first = client.postAs(lost + 1, "", { ack: String(lost - 1) });
  const told = await first;
  assert.equal(attribute(told, "report"), String(lost));
  assert.equal(attribute(told, "time"), "5000");
  assert.equal(told.text.match(/report=/g)?.length, 1);
  client.rid = lost + 2;
  // It asks for it again, and it is still there.
  assert.equal((await client.postAs(lost, message("a"))).text, text);
  core.message("y");
  const { text: later } = await second;
  assert.doesNotMatch(later, /report=.*report=/);
});

test("an answer that the client has acknowledged is not repeated", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login({ attributes: { ack: "1" } });
  const { answer } = await ask(client, core, "a");
  core.message("x");
  await answer;
  const { answer: held } = await ask(client, core, "b");
  assert.match((await client.postAs(client.rid - 1, message("a"))).text, /condition='item-not-found'/);
  assert.match((await held).text, /terminate/);
});
