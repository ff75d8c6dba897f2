import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../support/wire.ts";
import { bodies, bosh, type Client, message, opening, Pipe, requestHead } from "./peer.ts";

test("a burst of the core: it has to wait, answers are cut, and the client gets everything in order", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const filler = "x".repeat(20_000);
  let sent = 0;
  // Until the core's own socket is full: the edge does not read on.
  while (core.socket.writableLength < 1_000_000) {
    core.message(`${sent++} ${filler}`);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(sent < 2000, "the edge reads without end");
  }
  const got: string[] = [];
  while (got.length < sent) {
    const answer = await client.post();
    assert.ok(answer.bytes.length < 64 * 1024 + 1000, `an answer of ${answer.bytes.length} bytes`);
    got.push(...bodies(answer).map((text) => text.split(" ")[0]!));
  }
  assert.deepEqual(
    got,
    Array.from({ length: sent }, (_, i) => String(i)),
  );
});

test("one stanza larger than an answer should be goes whole", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const held = client.post(message("x"));
  await core.expect(/>x</);
  core.message("y".repeat(200_000));
  assert.equal(bodies(await held)[0]!.length, 200_000);
});

test("a core that does not read: the client's requests wait, and then reach it in order", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const filler = "x".repeat(200_000);
  core.pause();
  const answers: Promise<unknown>[] = [];
  let answered = 0;
  const post = () => {
    answers.push(
      client.post(message(`${answers.length} ${filler}`)).then(() => {
        answered++;
      }),
    );
  };
  // Each is answered when the next has come, as long as the core's connection takes them.
  post();
  for (let isStuck = false; !isStuck; ) {
    post();
    for (let turns = 0; answered < answers.length - 1 && !isStuck; turns++) {
      await wire.edge.metrics();
      isStuck = turns > 100;
    }
    assert.ok(answers.length < 200, "the edge takes without end");
  }
  assert.ok(answered < answers.length - 1);
  // It is not the client that keeps silent.
  for (let i = 0; i < 20; i++) wire.clock.advance({ seconds: 10 });
  core.resume();
  const { length } = answers;
  await until(() => core.stanzas.length === length, "all have come");
  core.message("x");
  await Promise.all(answers);
  assert.deepEqual(
    core.stanzas.map((xml) => Number(/<body>(\d+)/.exec(xml)![1])),
    Array.from({ length }, (_, i) => i),
  );
});

test("a client that writes much while much waits for it gets and says everything", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const fromCore = () => wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
  const before = await fromCore();
  // More than the edge takes while nobody asks for it, and then some.
  for (let i = 0; i < 20; i++) core.message(`${i} ${"y".repeat(i === 4 ? 500_000 : 60_000)}`);
  await until(async () => (await fromCore()) - before > 4, "the edge has the large one");
  const got: string[] = [];
  const large = "x".repeat(200_000);
  let sent = 0;
  while (got.length < 20) got.push(...bodies(await client.post(message(`${sent++} ${large}`))));
  assert.deepEqual(
    got.map((text) => Number.parseInt(text, 10)),
    Array.from({ length: 20 }, (_, i) => i),
  );
  await until(() => core.stanzas.length === sent, "the core has all");
});

test("a client that never reads: no more is taken from it, its connection is dropped, its session goes on", async (t) => {
  const { wire, login } = await bosh(t, { turned: true, config: "http: { write_timeout: 10 }" });
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  pipe.socket.pause();
  let mark = 0;
  const body = () => client.request(client.rid, message(`m${mark}`));
  for (;;) {
    client.rid++;
    pipe.socket.write(requestHead(body().length) + body());
    let seen = false;
    void core.expect(new RegExp(`>m${mark}<`)).then(() => {
      seen = true;
    });
    await until(() => {
      wire.clock.advance({ ms: 200 });
      // A paused socket hears of its end when something is written to it.
      pipe.socket.write("\r\n");
      return seen || pipe.isClosed;
    }, "the core has it, or the connection is dropped");
    if (!seen) break;
    core.message("x".repeat(60_000));
    mark++;
    assert.ok(mark < 1000, "answers pile up");
  }
  assert.ok((await wire.edge.metric("breakwater_http_refused_total", { reason: "write_timeout" })) > 0);
  // On other connections the session goes on, from the request that was not answered.
  await client.channel.send(body());
  const held = client.post(message("other connection"));
  await core.expect(/other connection/);
  core.message("still here");
  let got = bodies(await held);
  while (!got.includes("still here")) got = bodies(await client.post());
});

test("sessions count as connections: of one address there are no more than the limit", async (t) => {
  const { wire } = await bosh(t, { config: "limits: { max_connections_per_ip: 10 }", turned: true });
  const pipe = new Pipe(wire.edge.http);
  const answers: string[] = [];
  for (let i = 0; i < 12; i++) answers.push((await pipe.send(opening(i + 1))).text);
  const refused = answers.map((text) => text.includes("condition='policy-violation'"));
  assert.deepEqual(refused, [...new Array(9).fill(false), true, true, true]);
  assert.equal(wire.core.streams.length, 9);
  // They end with the time for a login, and others may come.
  await until(async () => {
    wire.clock.advance({ seconds: 5 });
    return (await wire.edge.metric("breakwater_links", { transport: "bosh" })) === 0;
  }, "all are over");
  assert.doesNotMatch((await new Pipe(wire.edge.http).send(opening(1))).text, /terminate/);
});

test("a thousand sessions that end in all ways leave nothing behind", async (t) => {
  const { wire, login, client } = await bosh(t, { turned: true });
  const { client: other, core: others } = await login({ user: "bob" });
  const held = other.post(message("first"));
  await others.expect(/first/);
  const before = await wire.edge.metric("breakwater_connections");
  const ends = [
    (one: Client) => one.post("", { type: "terminate" }),
    (one: Client) => one.postAs(one.rid + 7),
    (one: Client) => one.postAs("x"),
    (one: Client) => one.post("<message>"),
    async () => {}, // by the time for a login
  ];
  const sids: string[] = [];
  const channel = client().channel;
  for (let round = 0; round < 50; round++) {
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const one = client(channel);
        await one.open();
        await ends[i % ends.length]!(one);
        sids.push(one.sid);
      }),
    );
  }
  channel.drop();
  const keep = async () => {
    wire.clock.advance({ seconds: 10 });
    return (await wire.edge.metric("breakwater_links", { transport: "bosh" })) === 1;
  };
  await until(keep, "one is left");
  await held;
  const next = other.post(message("next"));
  await others.expect(/next/);
  wire.clock.advance({ seconds: 12 });
  await until(
    async () => (await wire.edge.metric("breakwater_connections")) <= before,
    "all connections are counted off",
  );
  assert.equal(await wire.edge.metric("breakwater_sessions", { phase: "authenticating" }), 0);
  await until(() => wire.core.streams.filter((stream) => !stream.isEnded).length === 1, "one stream is left");
  // A sid that is remembered would answer from its own memory.
  const refusals = () => wire.edge.metric("breakwater_bosh_refused_total", { condition: "item-not-found" });
  const known = await refusals();
  const pipe = new Pipe(wire.edge.http);
  for (const sid of sids) await pipe.send(opening(5, { sid }));
  assert.equal((await refusals()) - known, sids.length);
  others.message("x");
  assert.deepEqual(bodies(await next), ["x"]);
});
