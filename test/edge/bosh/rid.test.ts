import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../support/wire.ts";
import { bodies, bosh, CHANNELS, isEmpty, message, Pipe } from "./peer.ts";

// What becomes of a request when R is held and R - 1 and R - 2 have been answered.
const MATRIX = [
  ["R - 4", (rid: number) => rid - 4, "item-not-found"],
  ["R - 3", (rid: number) => rid - 3, "item-not-found"],
  ["R - 2", (rid: number) => rid - 2, "same answer"],
  ["R - 1", (rid: number) => rid - 1, "same answer"],
  ["R", (rid: number) => rid, "takes over"],
  ["R + 1", (rid: number) => rid + 1, "goes on"],
  ["R + 2", (rid: number) => rid + 2, "waits"],
  ["R + 3", (rid: number) => rid + 3, "item-not-found"],
  ["2^53 - 1", () => Number.MAX_SAFE_INTEGER, "item-not-found"],
  ["2^53", () => "9007199254740992", "bad-request"],
  ["10^30", () => `1${"0".repeat(30)}`, "bad-request"],
  ["negative", (rid: number) => -rid, "bad-request"],
  ["0", () => 0, "bad-request"],
  ["empty", () => "", "bad-request"],
  ["a word", () => "next", "bad-request"],
  ["a fraction", (rid: number) => `${rid + 1}.5`, "bad-request"],
  ["hexadecimal", () => "0x5DCD5BD0", "bad-request"],
  ["with a space", (rid: number) => ` ${rid + 1}`, "bad-request"],
] as const;

for (const [how, open] of Object.entries(CHANNELS)) {
  test(`each rid is what XEP-0124 §14 makes of it, ${how}`, async (t) => {
    const { wire, login } = await bosh(t);
    const repeated = () => wire.edge.metric("breakwater_bosh_repeated_total");
    for (const [name, ridOf, outcome] of MATRIX) {
      const { client, core } = await login({ channel: open(wire.edge.http) });
      const before = new Map<number, string>();
      for (const text of ["one", "two"]) {
        const asked = client.post(message(text));
        core.message(`answer to ${text}`);
        before.set(client.rid, (await asked).text);
      }
      const held = client.post(message("three"));
      await core.expect(/three/);
      const { rid } = client;
      const repeatedBefore = await repeated();
      const odd = client.postAs(ridOf(rid), message("odd"));
      if (outcome === "item-not-found" || outcome === "bad-request") {
        assert.match((await odd).text, new RegExp(`^<body [^>]*type='terminate' condition='${outcome}'`), name);
        assert.match((await held).text, / type='terminate'/, name);
        await core.ended;
        assert.doesNotMatch(core.raw, /odd/, name);
        continue;
      }
      if (outcome === "same answer") {
        await until(async () => (await repeated()) > repeatedBefore, "the repeated request has come");
        core.message("for R");
        assert.deepEqual(bodies(await held), ["for R"], name);
        assert.equal((await odd).text, before.get(ridOf(rid) as number), name);
      } else if (outcome === "takes over") {
        assert.equal((await held).text, "<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>", name);
        core.message("for R");
        assert.deepEqual(bodies(await odd), ["for R"], name);
      } else if (outcome === "goes on") {
        assert.ok(isEmpty(await held), name);
        await core.expect(/odd/);
        core.message("for R + 1");
        assert.deepEqual(bodies(await odd), ["for R + 1"], name);
        client.rid++;
      } else {
        core.message("for R");
        assert.deepEqual(bodies(await held), ["for R"], name);
        assert.doesNotMatch(core.raw, /odd/, name);
        const between = client.post(message("between"));
        await core.expect(/odd/);
        core.message("for R + 2");
        assert.deepEqual(bodies(await odd), ["for R + 2"], name);
        assert.ok(isEmpty(await between), name);
        client.rid++;
      }
      // The session is whole, and the core has each message once and in order.
      const last = client.post(message("last"));
      await core.expect(/last/);
      const expected =
        { "goes on": ["odd"], waits: ["between", "odd"], "same answer": [], "takes over": [] }[outcome] ?? [];
      assert.deepEqual(
        core.stanzas.map((xml) => /<body>(.*)<\/body>/.exec(xml)![1]),
        ["one", "two", "three", ...expected, "last"],
        name,
      );
      client.channel.drop();
      await last.catch(() => {});
    }
  });
}

test("the first rid may be as large as they get, and the session ends where they end", async (t) => {
  const { wire, client } = await bosh(t);
  const one = client();
  one.rid = Number.MAX_SAFE_INTEGER - 1;
  await one.open();
  const core = await wire.core.nextStream();
  assert.match((await one.authenticate()).text, /<success/);
  assert.match((await one.postAs("9007199254740992")).text, /condition='bad-request'/);
  await core.ended;
});

test("a request that comes before its turn waits, and both reach the core in order", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const { rid } = client;
  const second = client.postAs(rid + 2, message("b") + message("c"));
  const first = client.postAs(rid + 1, message("a"));
  await core.expect(/>c</);
  assert.deepEqual(
    core.stanzas.map((xml) => /<body>(.)/.exec(xml)![1]),
    ["a", "b", "c"],
  );
  assert.ok(isEmpty(await first));
  core.message("hello");
  assert.deepEqual(bodies(await second), ["hello"]);
});

test("a request that waits for its turn is repeated like any other", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const { rid } = client;
  const second = client.postAs(rid + 2, message("b"));
  const again = client.postAs(rid + 2, message("b"));
  // Which of the two came first is the network's choice: one is told to try again, the other waits.
  const loser = await Promise.race([second, again]);
  assert.match(loser.text, / type='error'/);
  await client.postAs(rid + 1, message("a"));
  await core.expect(/>b</);
  core.message("hello");
  const answers = (await Promise.all([second, again]))
    .map((answer) => bodies(answer))
    .filter((list) => list.length > 0);
  assert.deepEqual(answers, [["hello"]]);
  assert.equal(core.stanzas.length, 2);
});

test("an answer is repeated byte by byte, and what it answers reaches the core once", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const counted = await wire.edge.metric("breakwater_bosh_repeated_total");
  const asked = client.post(message("once"));
  await core.expect(/once/);
  core.message("hello");
  const { bytes } = await asked;
  for (let i = 0; i < 9; i++) assert.deepEqual((await client.postAs(client.rid, message("once"))).bytes, bytes);
  const next = client.post(message("more"));
  await core.expect(/more/);
  assert.equal(core.stanzas.length, 2);
  core.message("bye");
  await next;
  assert.equal((await wire.edge.metric("breakwater_bosh_repeated_total")) - counted, 9);
});

for (const state of ["held", "answered"] as const) {
  test(`a request that is ${state} and comes too often ends the session with policy-violation`, async (t) => {
    const { wire, login } = await bosh(t);
    const { client, core } = await login();
    const first = client.post(message("x"));
    await core.expect(/>x</);
    if (state === "answered") {
      core.message("y");
      await first;
    }
    const answers = [first];
    for (let i = 0; i < 12; i++) {
      answers.push(client.postAs(client.rid, message("x")));
      if (state === "answered") await answers.at(-1);
    }
    await core.ended;
    const texts = (await Promise.all(answers)).map(({ text }) => text);
    assert.ok(texts.some((text) => text.includes("condition='policy-violation'")));
    assert.equal(core.stanzas.length, 1);
    assert.ok((await wire.edge.metric("breakwater_bosh_refused_total", { condition: "policy-violation" })) > 0);
  });
}

test("a lost connection is noticed: what comes meanwhile waits for the repeated request, which gets it at once", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  void pipe.send(client.request(client.rid + 1, message("x")));
  await core.expect(/>x</);
  pipe.drop();
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 2, "the connection is gone");
  const before = await wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
  core.message("missed");
  await until(
    async () => (await wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" })) > before,
    "the message is at the edge",
  );
  // No time passes here: the clock stands still.
  assert.deepEqual(bodies(await client.post(message("x"))), ["missed"]);
  assert.equal(core.stanzas.length, 1);
});

test("a request whose connection is lost takes nothing along: what waits goes with the next one", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  const lost = client.request(++client.rid, message("lost"));
  void pipe.send(lost);
  await core.expect(/lost/);
  pipe.drop();
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 2, "the connection is gone");
  const before = await wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" });
  core.message("hello");
  await until(
    async () => (await wire.edge.metric("breakwater_stanzas_total", { direction: "from_core" })) > before,
    "the message is at the edge",
  );
  assert.deepEqual(bodies(await client.post(message("next"))), ["hello"]);
  assert.ok(isEmpty(await client.channel.send(lost)));
  assert.equal(core.stanzas.length, 2);
});
