// The session is another process's: this edge asks the core to resume it on the client's new stream.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Secret } from "../../../src/base/secret.ts";
import { ResumeTokens, type Takeable } from "../../../src/features/stream-management/resume-token.ts";
import { NS } from "../../../src/xmpp/ns.ts";
import type { StreamManagement } from "../../support/clients/raw-client.ts";
import { TurnedClock } from "../../support/clock.ts";
import { until, Wire } from "../../support/wire.ts";

const SECRET = "what all edges know and nobody else";
const config = `stream_management: { resume_secret: "${SECRET}" }`;
const SESSION: Takeable = {
  core: "main",
  coreId: "core's own",
  xmlns: NS.sm,
  jid: "alice@localhost/phone",
  maxSeconds: 300,
  beforeClient: 0,
};

/** What a client holds whose session was another edge's: `handled` by it, `acked` and `unacked` of its own. */
function held(session: Partial<Takeable> = {}, handled = 7, acked = 3): StreamManagement {
  const tokens = new ResumeTokens(new Secret(SECRET), 30 * 86_400, new TurnedClock());
  return { ns: NS.sm, id: tokens.seal({ ...SESSION, ...session }), max: 300, handled, acked, unacked: [] };
}

async function scene(t: TestContext, more = "") {
  return await Wire.start(t, { turned: true, config: more === "" ? config : more });
}

test("the core is asked with its own id and the client's h, and both counters go on where they were", async (t) => {
  const wire = await scene(t);
  const sm = held();
  sm.unacked = ["fourth", "fifth", "sixth"].map((id) => `<message to='bob@localhost' id='${id}'/>`);
  const { client, core } = await wire.authenticated();
  const resumed = client.resume(sm);
  const asked = await core.expect(/^<resume[ >]/);
  assert.deepEqual({ ...asked.attrs }, { xmlns: NS.sm, previd: "core's own", h: "7" });
  core.write(`<resumed xmlns='${NS.sm}' previd='core&apos;s own' h='5'/>`);
  core.write("<message from='bob@localhost'><body>eighth</body></message>");
  const answer = await resumed;
  assert.deepEqual([answer.name, answer.attrs["previd"], answer.attrs["h"]], ["resumed", sm.id, "5"]);
  await client.expect(/eighth/);
  client.ack();
  assert.match((await core.expect(/^<message[ >]/)).xml, /sixth/, "what the core has not had comes again");
  core.write(`<r xmlns='${NS.sm}'/>`);
  assert.equal((await core.expect(/^<a[ >]/)).attrs["h"], "8");
  client.write(`<r xmlns='${NS.sm}'/>`);
  await core.expect(/^<r[ >]/);
  core.write(`<a xmlns='${NS.sm}' h='6'/>`);
  await client.allAcked();
  assert.equal(await wire.edge.metric("breakwater_sm_resumes_total", { result: "taken-over" }), 1);
});

test("a core that has no such session says so to the client, with the count it knows, and bind works next", async (t) => {
  for (const [h, shown, beforeClient] of [
    ["", undefined, 0],
    [" h='4'", "4", 0],
    [" h='1'", "0", 2],
    [" h='6'", "4", 2],
    [" h='3000000000'", "2999999998", 2],
  ] as const) {
    const wire = await scene(t);
    const { client, core } = await wire.authenticated();
    const answer = client.resume(held({ beforeClient }));
    await core.expect(/^<resume[ >]/);
    core.write(`<failed xmlns='${NS.sm}'${h}><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`);
    const failed = await answer;
    assert.deepEqual([failed.name, failed.attrs["h"]], ["failed", shown]);
    assert.ok(failed.child("item-not-found"));
    await client.bind("phone");
  }
});

for (const [of, h] of [
  [2, 0],
  [5, 3],
] as const) {
  test(`where two stanzas came before <enable/>, a client whose core has handled ${of} hears ${h}`, async (t) => {
    const wire = await scene(t);
    const sm = held({ beforeClient: 2 }, 7, 0);
    const unacked = ["1", "2", "3", "4"].map((id) => `<message to='bob@localhost' id='${id}'/>`);
    sm.unacked = [...unacked];
    const { client, core } = await wire.authenticated();
    const resumed = client.resume(sm);
    assert.equal((await core.expect(/^<resume /)).attrs["h"], "7");
    core.sm = { ns: NS.sm, id: "core's own", max: null };
    core.handled = of;
    core.write(`<resumed xmlns='${NS.sm}' previd='core&apos;s own' h='${of}'/>`);
    assert.equal((await resumed).attrs["h"], `${h}`);
    await core.expect(/id='4'/);
    assert.deepEqual(core.stanzas.slice(-4 + h), unacked.slice(h), "what the core has not had, and no more");
    await client.allAcked();
    assert.equal(client.sm!.acked, 4);
    client.drop();
    const again = await wire.resume(client.sm!);
    assert.deepEqual([again.answer.name, again.answer.attrs["h"]], ["resumed", "4"]);
  });
}

test("a core that never got what came before <enable/>: both sessions end, so that the client becomes available again", async (t) => {
  const wire = await scene(t);
  const { client, core } = await wire.authenticated();
  const answer = client.resume(held({ beforeClient: 2 }));
  await core.expect(/^<resume /);
  core.write(`<resumed xmlns='${NS.sm}' previd='x' h='1'/>`);
  assert.match((await answer).xml, /<reset .*log in anew/);
  assert.equal(await core.ended, "stream-end", "or the core would keep it for a client that never comes");
  assert.equal(await client.closed, "stream-end");
});

test("without the secret, for another core or with a token that names nobody the core is not even asked", async (t) => {
  for (const [options, session] of [
    ["ops: { listen: '127.0.0.1:0' }", {}],
    [config, { core: "another" }],
    [config, { jid: "@" }],
  ] as const) {
    const more = options === config ? config : "session: {}";
    const wire = await scene(t, more);
    const { client, core } = await wire.authenticated();
    const answer = await client.resume(held(session));
    assert.equal(answer.name, "failed");
    await client.bind("phone");
    assert.deepEqual(
      core.elements.filter(({ name }) => name === "resume"),
      [],
    );
  }
});

test("a client that goes while the core is asked, and an edge that stops then, leave the core its session", async (t) => {
  for (const end of ["client", "edge", "deadline"] as const) {
    const wire = await scene(t);
    const { client, core } = await wire.authenticated();
    const answer = client.resume(held()).catch(() => null);
    await core.expect(/^<resume[ >]/);
    if (end === "client") client.drop();
    else if (end === "edge") void wire.edge.breakwater.stop();
    else wire.clock.advance({ seconds: 120 });
    // Without </stream:stream>, which would end the session that the core may have resumed on it by now.
    assert.notEqual(await core.ended, "stream-end", end);
    await answer;
  }
});

test("the core that gave the session to another edge ends the stream here: the client hears conflict", async (t) => {
  const wire = await scene(t);
  const { client, core } = await wire.managed();
  core.write(
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>Replaced</text></stream:error></stream:stream>",
  );
  assert.match((await client.expect(/stream:error/)).xml, /<conflict/);
  assert.equal(await client.closed, "stream-end");
  await until(async () => (await wire.edge.metric("breakwater_sessions")) === 0, "the session is gone");
});

test("nothing is answered or put first by the edge in a session that others may take over", async (t) => {
  const wire = await scene(t);
  const { client, core, sm } = await wire.managed();
  assert.ok(sm.id!.length > 60, "the id carries the session");
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "dormant");
  core.write("<iq type='get' id='p1' from='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
  const { client: again } = await wire.resume(sm);
  assert.match((await again.expect(/urn:xmpp:ping/)).xml, /p1/);
  assert.deepEqual(core.elements.filter(({ name }) => name === "iq").length, 1, "the bind request alone");
});

test("a client that only waits and asks finds out that its core's connection has died without a word", async (t) => {
  const wire = await scene(t);
  const { client, core, sm } = await wire.managed();
  client.message("bob@localhost", "all is well");
  await client.allAcked();
  const asked = () => core.elements.filter(({ name }) => name === "r").length;
  const before = asked();
  core.core.script.answersRequests = false;
  const ask = async () => {
    const told = () => wire.edge.metric("breakwater_link_bytes_total", { direction: "to_client" });
    const soFar = await told();
    client.write(`<r xmlns='${NS.sm}'/>`);
    await until(async () => (await told()) > soFar, "it has its answer, as everything is handled");
  };
  wire.clock.advance({ seconds: 14 });
  await ask();
  assert.equal(asked(), before, "it has answered not long ago");
  wire.clock.advance({ seconds: 1 });
  await ask();
  await until(() => asked() === before + 1, "it is asked");
  wire.clock.advance({ seconds: 20 });
  await ask();
  assert.equal(asked(), before + 1, "once");
  wire.clock.advance({ seconds: 11 });
  await client.closed;
  const { client: again, core: fresh } = await wire.authenticated();
  const answer = again.resume(sm);
  await fresh.expect(/^<resume /);
  fresh.write(`<resumed xmlns='${NS.sm}' previd='x' h='1'/>`);
  assert.equal((await answer).name, "resumed");
});

test("a core that no longer answers is asked on the stream that the client brings, and given up after half a minute", async (t) => {
  const wire = await scene(t);
  const { client, core, sm } = await wire.managed();
  core.core.script.answersRequests = false;
  client.message("bob@localhost", "into the void");
  await core.expect(/void/);
  client.drop();
  await core.expect(/^<r /);
  wire.clock.advance({ seconds: 4 });
  const { client: again, core: fresh } = await wire.authenticated();
  const answer = again.resume(sm);
  await fresh.expect(/^<resume /);
  fresh.write(`<resumed xmlns='${NS.sm}' previd='x' h='0'/>`);
  assert.equal((await answer).name, "resumed");
  assert.notEqual(await core.ended, "stream-end");
  assert.match((await fresh.expect(/^<message/)).xml, /void/, "the client sends it again");
  again.write(`<r xmlns='${NS.sm}'/>`);
  await fresh.expect(/^<r /);
  wire.clock.advance({ seconds: 31 });
  await again.closed;
  assert.notEqual(await fresh.ended, "stream-end");
  assert.equal(await wire.edge.metric("breakwater_sessions"), 0);
});

test("when the core's connections are gone, clients are cut off one after the other, and none hears a word", async (t) => {
  const wire = await scene(t, `${config}\ndrain: { rate: 1 }`);
  const clients = [];
  for (const user of ["a", "b", "c", "d"]) clients.push((await wire.managed({ user })).client);
  for (const stream of wire.core.streams) stream.cut();
  await until(async () => (await wire.edge.metric("breakwater_returns_waiting")) === 3, "the first has gone at once");
  const gaps: number[] = [];
  for (let gone = 1, waited = 0; gone < 4; waited += 50) {
    wire.clock.advance({ ms: 50 });
    if ((await wire.edge.metric("breakwater_returns_waiting")) === 3 - gone) {
      gaps.push(waited + 50);
      waited = -50;
      gone++;
    }
  }
  for (const gap of gaps) assert.ok(gap >= 950 && gap <= 1250, `${gap} ms between two`);
  for (const client of clients) assert.notEqual(await client.closed, "stream-end");
  assert.deepEqual(
    clients.flatMap(({ inbox }) => inbox.items.filter(({ name }) => name === "error")),
    [],
  );
});

test("an edge that another one has taken a session from does not give it back: the core is asked before <resumed/>", async (t) => {
  for (const what of ["is told", "is not told", "sees a higher h"] as const) {
    const wire = await scene(t);
    const { client, core, sm } = await wire.managed();
    client.message("bob@localhost", "one");
    await client.allAcked();
    client.drop();
    await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "dormant");
    // From here on the core's session is another edge's: this stream gets no answer any more.
    wire.core.script.answersRequests = false;
    core.inbox.items.length = 0;
    if (what === "sees a higher h") sm.handled += 3;
    const { client: again, core: fresh } = await wire.authenticated();
    const answer = again.resume(sm).catch((error: Error) => error);
    if (what === "sees a higher h") {
      assert.equal((await fresh.expect(/^<resume /)).attrs["h"], String(sm.handled));
      fresh.write(`<resumed xmlns='${NS.sm}' previd='x' h='1'/>`);
      assert.equal(((await answer) as { name: string }).name, "resumed");
      continue;
    }
    await core.expect(/^<r /);
    if (what === "is told") core.error("conflict");
    else wire.clock.advance({ seconds: 4 });
    // Neither <resumed/> with a count that is not true, nor <conflict/>, which would tell it to stay away.
    assert.ok((await answer) instanceof Error, what);
    assert.notEqual(await again.closed, "stream-end", what);
    assert.deepEqual(
      again.inbox.items.filter(({ name }) => name === "error" || name === "resumed"),
      [],
      what,
    );
    const { client: third, core: newest } = await wire.authenticated();
    const last = third.resume(sm);
    await newest.expect(/^<resume /);
    newest.write(`<resumed xmlns='${NS.sm}' previd='x' h='1'/>`);
    assert.equal((await last).name, "resumed", what);
  }
});
