import assert from "node:assert/strict";
import { test } from "node:test";
import type { RawClient } from "../../support/clients/raw-client.ts";
import { until, Wire } from "../../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const bodies = (client: RawClient) => client.takeBodies();

test("a client that resumes within the hold time gets what it missed, in order and once", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  core.message("seen");
  await client.expect(/seen/);
  client.drop();
  await client.closed;
  for (const body of ["1", "2", "3"]) core.message(body);
  const again = await wire.resume(sm);
  assert.equal(again.answer.xml, `<resumed xmlns='${SM3}' previd='${sm.id}' h='0'/>`);
  core.message("fresh");
  await again.client.expect(/fresh/).then((fresh) => again.client.inbox.items.push(fresh));
  assert.deepEqual(bodies(again.client), ["1", "2", "3", "fresh"]);
  await again.client.fence();
  again.client.ack();
  core.request();
  await until(() => core.acked === core.sent, "the core has all acknowledgements");
  assert.equal(await again.provisional.ended, "stream-end", "the login's own core stream is not left behind");
});

test("what the client had sent on the old link is confirmed by the core before resumed, and sent again only if it must", async (t) => {
  const wire = await Wire.start(t, { answersRequests: false });
  const { client, core, sm } = await wire.managed();
  client.message("bob@localhost", "1");
  client.message("bob@localhost", "2");
  await core.expect(/>2</);
  client.drop();
  await client.closed;
  client.message("bob@localhost", "3 in the tunnel");
  const again = await wire.authenticated();
  const resumed = again.client.resume(sm);
  await core.expect(/<r /);
  core.ack(1);
  again.client.write("<presence id='early'/>");
  await until(() => core.elements.filter(({ name }) => name === "r").length >= 2, "the edge asks again").catch(
    () => {},
  );
  assert.ok(!again.client.inbox.items.some(({ name }) => name === "resumed"));
  core.ack(2);
  assert.equal((await resumed).attrs["h"], "2");
  await core.expect(/in the tunnel/);
  assert.deepEqual(
    core.stanzas.filter((xml) => xml.includes("<body>")).map((xml) => />([^<]+)<\/body/.exec(xml)![1]),
    ["1", "2", "3 in the tunnel"],
  );
});

test("a resume while the old link looks alive: conflict there, and nothing of it is parsed any more", async (t) => {
  const wire = await Wire.start(t);
  const { client: old, core, sm } = await wire.managed();
  old.message("bob@localhost", "counted");
  await old.allAcked();
  const again = await wire.authenticated();
  const resumed = again.client.resume(structuredClone(sm));
  // Both on their way at once: whatever comes after the fence is as if it had been lost.
  for (let i = 0; i < 50; i++) old.write(`<message to='bob@localhost' id='old${i}'><body>old</body></message>`);
  const answer = await resumed;
  const counted = Number(answer.attrs["h"]);
  assert.ok((await old.expect(/error/)).child("conflict"));
  assert.equal(await old.closed, "stream-end");
  assert.equal(core.handled, counted, "h is exactly what reached the core");
  await again.client.fence();
  assert.equal(core.handled, counted + 1);
});

test("of two racing resumes the link that connected last wins, whichever request comes first", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  const older = await wire.authenticated();
  const newer = await wire.authenticated();
  assert.equal((await newer.client.resume(structuredClone(sm))).name, "resumed");
  const refused = await older.client.resume(structuredClone(sm));
  assert.ok(refused.child("conflict"), refused.xml);
  assert.equal(await older.client.closed, "stream-end");
  core.message("to the newer");
  await newer.client.expect(/to the newer/);
});

test("an attempt that was overtaken comes too late even when the newer link is gone again", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  const older = await wire.authenticated();
  const newer = await wire.authenticated();
  const state = structuredClone(sm);
  assert.equal((await newer.client.resume(state)).name, "resumed");
  core.message("1");
  await newer.client.expect(/>1</);
  newer.client.ack();
  await newer.client.fence();
  newer.client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
  assert.ok((await older.client.resume(structuredClone(sm))).child("conflict"));
  const third = await wire.resume(state);
  assert.equal(third.answer.name, "resumed");
  core.message("2");
  await third.client.expect(/>2</);
});

test("a resume with an unknown previd is answered item-not-found and leaves the stream usable (§5)", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.authenticated();
  client.write(`<resume xmlns='${SM3}' previd='no-such-session' h='0'/>`);
  assert.match((await client.next()).xml, /^<failed xmlns='urn:xmpp:sm:3'><item-not-found /);
  await client.bind("phone");
  assert.equal((await client.enable()).name, "enabled");
});

test("a resume with an h that was already passed is answered item-not-found, and the session lives on", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  for (const body of ["1", "2"]) core.message(body);
  await client.expect(/>2</);
  client.ack();
  await client.fence();
  client.drop();
  const again = await wire.resume({ ...structuredClone(sm), handled: 1 });
  assert.match(again.answer.xml, /item-not-found/);
  const right = await wire.resume(sm);
  assert.equal(right.answer.name, "resumed");
});

test("a resume with an h that was never reached ends the session with handled-count-too-high on the new link", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  const again = await wire.resume({ ...sm, handled: 5 });
  const error = again.answer.name === "error" ? again.answer : await again.client.expect(/error/);
  assert.deepEqual({ ...error.child("handled-count-too-high")!.attrs }, { xmlns: SM3, h: "5", "send-count": "0" });
  assert.equal(await again.client.closed, "stream-end");
  assert.equal(await core.ended, "stream-end");
});

test("after the hold time the core gets the true h and a polite end, and its client the h of what was handled", async (t) => {
  const wire = await Wire.start(t, { turned: true, config: "stream_management: { hold_time: 60 }" });
  const { client, core, sm } = await wire.managed();
  assert.equal(sm.max, 60);
  client.autoAck = false;
  for (const body of ["1", "2", "3"]) core.message(body);
  await client.expect(/>3</);
  client.message("bob@localhost", "mine");
  client.write(`<a xmlns='${SM3}' h='2'/>`);
  await client.fence();
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
  core.message("4");
  wire.clock.advance({ seconds: 59 });
  assert.equal(core.isEnded, false);
  wire.clock.advance({ seconds: 2 });
  assert.equal(await core.ended, "stream-end");
  assert.equal(core.acked, 2);
  const late = await wire.resume(sm);
  assert.match(late.answer.xml, /^<failed xmlns='urn:xmpp:sm:3' h='2'><item-not-found /);
  await late.client.bind("phone");
  const stranger = await wire.authenticated({ user: "mallory" });
  assert.match((await stranger.client.resume(sm)).xml, /^<failed xmlns='urn:xmpp:sm:3'><item-not-found /);
});

test("the client's own max is honoured when it is shorter, and asked of the core", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const { client, core } = await wire.login();
  await client.enable({ max: 30 });
  assert.equal(client.sm!.max, 30);
  assert.equal(core.sm!.max, "30");
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
  wire.clock.advance({ seconds: 32 });
  assert.equal(await core.ended, "stream-end");
});

test("without resumption a lost link ends the session, with the true h to the core", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed({ resume: false });
  client.autoAck = false;
  for (const body of ["1", "2"]) core.message(body);
  await client.expect(/>2</);
  client.write(`<a xmlns='${SM3}' h='1'/>`);
  await client.fence();
  client.drop();
  assert.equal(await core.ended, "stream-end");
  assert.equal(core.acked, 1);
});

test("the replay is sliced: the next slice follows the acknowledgement of the last, and an <a/> goes ahead of the rest", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  const filler = "x".repeat(300);
  for (let i = 1; i <= 60; i++) core.message(`${i} ${filler}`);
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 60 * 300, "the queue holds all");
  const again = await wire.authenticated();
  again.client.autoAck = false;
  await again.client.resume(sm);
  await again.client.take(({ name }) => name === "r", "the end of the first slice");
  const first = bodies(again.client).length;
  assert.ok(first >= 1 && first * 300 <= 2048, `${first} in the first slice`);
  again.client.message("bob@localhost", "mine");
  again.client.write(`<r xmlns='${SM3}'/>`);
  assert.equal((await again.client.take(({ name }) => name === "a", "<a/>")).attrs["h"], "1");
  assert.deepEqual(bodies(again.client), [], "nothing more before the slice is acknowledged");
  let received = first;
  const slices = [first];
  while (received < 60) {
    again.client.write(`<a xmlns='${SM3}' h='${received}'/>`);
    await again.client.take(({ name }) => name === "r", "the end of a slice");
    const got = bodies(again.client).length;
    slices.push(got);
    received += got;
  }
  assert.ok(slices.length < 10, `slices grow: ${slices}`);
});

test("an answer from the core goes ahead of the replay, does not stall it, and is counted where it was sent", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 40; i++) core.message(`${i} ${"x".repeat(300)}`);
  const again = await wire.authenticated();
  again.client.autoAck = false;
  await again.client.resume(sm);
  await again.client.take(({ name }) => name === "r", "the end of the first slice");
  const first = bodies(again.client).length;
  await again.client.request("<iq type='get' id='q1' to='localhost'><query xmlns='jabber:iq:roster'/></iq>");
  assert.deepEqual(bodies(again.client), []);
  // The client's answer to the slice was on its way already: it does not count the answer.
  again.client.write(`<a xmlns='${SM3}' h='${first}'/>`);
  await again.client.take(({ name }) => name === "r", "the end of the second slice");
  const second = bodies(again.client).length;
  assert.ok(second > 0);
  core.request();
  await core.acknowledged(first);
  again.client.drop();
  // The second slice got lost, the answer did not.
  const third = await wire.resume({ ...sm, handled: first + 1 });
  assert.equal(third.answer.name, "resumed");
  await third.client.expect(/>40 x/);
  assert.deepEqual(
    bodies(third.client).map((body) => Number.parseInt(body, 10)),
    Array.from({ length: 40 - first - 1 }, (_, i) => first + 1 + i),
  );
  await third.client.fence();
  assert.equal(third.client.inbox.items.filter(({ attrs }) => attrs["id"] === "q1").length, 0);
  third.client.ack();
  await third.client.fence();
  third.client.ack();
  core.request();
  await until(() => core.acked >= core.sent - 1, "the core's counter fits again");
});

test("an answer waits its turn behind a stanza of the same sender (RFC 6120 §10.1)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 20; i++) {
    core.send(`<message from='archive@localhost' id='m${i}'><body>${i} ${"x".repeat(300)}</body></message>`);
  }
  const again = await wire.authenticated();
  again.client.autoAck = false;
  await again.client.resume(sm);
  await again.client.take(({ name }) => name === "r", "the end of the first slice");
  core.send("<iq type='result' id='fin' from='archive@localhost'/>");
  core.send("<iq type='result' id='other' from='bob@localhost/x'/>");
  await again.client.expect(/id='other'/);
  assert.ok(!again.client.inbox.items.some(({ attrs }) => attrs["id"] === "fin"));
  again.client.autoAck = true;
  again.client.ack();
  await again.client.expect(/id='m20'/).then((last) => again.client.inbox.items.push(last));
  await again.client.expect(/id='fin'/);
});

test("stanzas that arrive during a replay come behind it", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 30; i++) core.message(`${i} ${"x".repeat(300)}`);
  const again = await wire.authenticated();
  again.client.autoAck = false;
  await again.client.resume(sm);
  await again.client.take(({ name }) => name === "r", "the end of the first slice");
  for (let i = 31; i <= 60; i++) core.message(`${i} ${"x".repeat(300)}`);
  again.client.autoAck = true;
  again.client.ack();
  await again.client.expect(/>60 x/).then((last) => again.client.inbox.items.push(last));
  assert.deepEqual(
    bodies(again.client).map((body) => Number.parseInt(body, 10)),
    Array.from({ length: 60 }, (_, i) => i + 1),
  );
});

test("a resume during a replay starts it over from the client's h", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 40; i++) core.message(`${i} ${"x".repeat(300)}`);
  const second = await wire.authenticated();
  second.client.autoAck = false;
  await second.client.resume(structuredClone(sm));
  await second.client.take(({ name }) => name === "r", "the end of the first slice");
  const third = await wire.resume({ ...structuredClone(sm), handled: 2 });
  assert.equal(third.answer.name, "resumed");
  assert.equal(await second.client.closed, "stream-end");
  await third.client.expect(/>40 x/).then((last) => third.client.inbox.items.push(last));
  assert.deepEqual(
    bodies(third.client).map((body) => Number.parseInt(body, 10)),
    Array.from({ length: 38 }, (_, i) => i + 3),
  );
});

test("after three resumes without progress one stanza at a time is sent", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 20; i++) core.message(`${i} ${"x".repeat(100)}`);
  const seen: number[] = [];
  for (let attempt = 1; attempt <= 4; attempt++) {
    const again = await wire.authenticated();
    again.client.autoAck = false;
    await again.client.resume(structuredClone(sm));
    await again.client.take(({ name }) => name === "r", "the end of the first slice");
    seen.push(bodies(again.client).length);
    again.client.drop();
    await again.client.closed;
  }
  assert.ok(seen[0]! > 1, `${seen}`);
  assert.equal(seen.at(-1), 1, `${seen}`);
});

test("a resume on a link that never drains ends with replay_timeout, and the session waits again", async (t) => {
  const wire = await Wire.start(t, { turned: true, config: "session: { replay_timeout: 20 }" });
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  for (let i = 1; i <= 20; i++) core.message(`${i} ${"x".repeat(300)}`);
  const again = await wire.authenticated();
  again.client.autoAck = false;
  await again.client.resume(structuredClone(sm));
  wire.clock.advance({ seconds: 21 });
  assert.ok((await again.client.expect(/connection-timeout/)).child("connection-timeout"));
  const third = await wire.resume(sm);
  assert.equal(third.answer.name, "resumed");
  await third.client.expect(/>20 x/);
});

test("a core that is frozen while a client resumes delays resumed, and its thaw brings it", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  core.pause();
  client.message("bob@localhost", "1");
  await wire.edge.metrics();
  client.drop();
  await client.closed;
  client.sm = null;
  const again = await wire.authenticated();
  const resumed = again.client.resume(sm);
  core.resume();
  assert.equal((await resumed).name, "resumed");
  await again.client.fence();
  assert.equal(core.stanzas.filter((xml) => xml.includes(">1<")).length, 1, "not lost, not doubled");
});

test("replayed messages and presence tell when they were first due, once and only when it was a while ago", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const { client, core, sm } = await wire.managed();
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
  wire.clock.advance({ ms: 100 });
  core.send(
    "<message from='a@b' id='m'><body>hi</body></message>",
    "<message from='a@b' id='d'><body>hi</body><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>",
    "<presence from='a@b' id='p'><show>away</show></presence>",
    "<presence from='a@b' id='e'/>",
    "<iq from='a@b' type='get' id='q'><query xmlns='x:y'><x></x></query></iq>",
  );
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 0, "the queue holds them");
  // Not before what came live in the same second.
  const at = new Date(Math.ceil(wire.clock.wall() / 1000) * 1000).toISOString().slice(0, 19);
  wire.clock.advance({ seconds: 300 });
  core.send("<message from='a@b' id='young'><body>hi</body></message>");
  const again = await wire.resume(sm);
  const delayed = async (id: string) =>
    (await again.client.expect(new RegExp(`id='${id}'`))).xml.match(/<delay[^>]*>/g);
  assert.match(
    (await delayed("m"))![0],
    new RegExp(`^<delay xmlns='urn:xmpp:delay' from='localhost' stamp='${at}Z'/>$`),
  );
  assert.equal((await delayed("d"))!.length, 1);
  assert.equal((await delayed("p"))!.length, 1);
  for (const id of ["e", "q", "young"]) assert.equal(await delayed(id), null, id);
});

test("a client that left inactive comes back active, and the core is told (XEP-0352 §4)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.write("<inactive xmlns='urn:xmpp:csi:0'/>");
  await core.expect(/<inactive/);
  client.drop();
  await client.closed;
  await wire.resume(sm);
  await core.expect(/<active/);
});

test("client state passes to a core that knows it, and never to one that does not", async (t) => {
  for (const csi of [true, false]) {
    const wire = await Wire.start(t, { csi });
    const { client, core } = await wire.login();
    assert.equal(client.features!.xml.includes("urn:xmpp:csi:0"), csi);
    client.write("<inactive xmlns='urn:xmpp:csi:0'/><active xmlns='urn:xmpp:csi:0'/>");
    await client.fence();
    assert.equal(/<inactive/.test(core.raw), csi);
  }
});

test("a dormant client's core hears an answer to its pings, and afterwards both counters are exact", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.message("bob@localhost", "1");
  await client.allAcked();
  client.drop();
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "it is dormant");
  const ping = (id: string, from = "") =>
    core.send(`<iq type='get' id='${id}'${from}><ping xmlns='urn:xmpp:ping'/></iq>`);
  ping("p1");
  await core.expect(/id='p1'/);
  core.message("one");
  ping("p2", " from='localhost'");
  assert.match((await core.expect(/id='p2'/)).xml, /to='localhost'/);
  ping("p3", " from='alice@localhost'");
  await core.expect(/id='p3'/);
  ping("foreign", " from='bob@localhost/x'");
  ping("resource", " from='alice@localhost/other'");
  core.send("<iq type='get' id='version'><query xmlns='jabber:iq:version'/></iq>");
  core.message("two");
  const again = await wire.resume(sm);
  assert.equal(again.answer.attrs["h"], "1", "the edge's own answers are not the client's");
  await again.client.expect(/two/);
  const ids = again.client.inbox.items.filter(({ name }) => name === "iq").map(({ attrs }) => attrs["id"]);
  assert.deepEqual(ids, ["foreign", "resource", "version"]);
  again.client.message("bob@localhost", "2");
  await again.client.allAcked();
  assert.equal(sm.acked, 2);
  again.client.ack();
  await again.client.fence();
  again.client.ack();
  await until(() => {
    core.request();
    return core.acked === core.sent;
  }, "the core's counter is exact");
  assert.equal(await wire.edge.metric("breakwater_unexpected_events_total"), 0);
});

test("a client whose stream header declared a prefix uses it in stanzas, before and after a resume without it", async (t) => {
  const wire = await Wire.start(t);
  const headerAttributes = "xmlns:e='urn:example:e' xmlns:o='urn:example:o'";
  const { client, core, sm } = await wire.managed({ headerAttributes });
  const stanza = (id: string, prefix: string) =>
    `<message to='bob@localhost' id='${id}'><${prefix}:x ${prefix}:y='1'/></message>`;
  client.send(stanza("m1", "e"));
  assert.ok((await core.expect(/id='m1'/)).child("x", "urn:example:e"));
  client.drop();
  await client.closed;
  const again = await wire.authenticated({ headerAttributes: "xmlns:e='urn:example:other' xmlns:n='urn:example:n'" });
  assert.equal((await again.client.resume(sm)).name, "resumed");
  again.client.send(stanza("m2", "e"), stanza("m3", "n"));
  again.client.send("<message to='bob@localhost' id='m4' xmlns:e='urn:own'><e:x/></message>");
  assert.ok((await core.expect(/id='m2'/)).child("x", "urn:example:other"));
  assert.ok((await core.expect(/id='m3'/)).child("x", "urn:example:n"));
  assert.ok((await core.expect(/id='m4'/)).child("x", "urn:own"));
});

test("a stanza of a core that relies on a prefix of its stream header reaches a resumed client complete", async (t) => {
  const wire = await Wire.start(t, { headerAttributes: "xmlns:q='urn:example:q'" });
  const { client, core, sm } = await wire.managed();
  client.drop();
  await client.closed;
  core.send("<message from='bob@localhost' id='m1'><q:x/></message>");
  wire.core.script.headerAttributes = "";
  const again = await wire.resume(sm);
  assert.ok((await again.client.expect(/id='m1'/)).child("x", "urn:example:q"));
});

test("a bind request with a prefix from the stream header is a bind request", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.authenticated({ headerAttributes: "xmlns:b='urn:ietf:params:xml:ns:xmpp-bind'" });
  client.write("<iq type='set' id='b1'><b:bind><b:resource>phone</b:resource></b:bind></iq>");
  assert.equal((await client.next()).child("bind")?.text("jid"), "alice@localhost/phone");
  await client.enable();
  await client.fence();
});
