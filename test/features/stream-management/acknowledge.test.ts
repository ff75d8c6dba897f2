import assert from "node:assert/strict";
import { test } from "node:test";
import { Wire } from "../../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const SM2 = "urn:xmpp:sm:2";
const FAILED = (condition: string, ns = SM3) =>
  new RegExp(`^<failed xmlns='${ns}'><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>$`);

for (const [name, sm] of [
  ["with XEP-0198", SM3],
  ["with urn:xmpp:sm:2", SM2],
  ["without XEP-0198", null],
] as const) {
  test(`stream management is offered after login, in both namespaces, by a core ${name}`, async (t) => {
    const wire = await Wire.start(t, { sm });
    const { client } = await wire.opened();
    assert.doesNotMatch(client.features!.xml, /urn:xmpp:sm/);
    await client.authenticate({ user: "alice", password: "pw" });
    await client.open();
    assert.deepEqual(
      client.features!.elements.filter((child) => child.name === "sm").map((child) => child.ns),
      [SM3, SM2],
    );
  });

  for (const ns of [SM3, SM2]) {
    test(`a client that speaks ${ns} is answered in it and acknowledged, by a core ${name}`, async (t) => {
      const wire = await Wire.start(t, { sm });
      const { client, core } = await wire.managed({ ns });
      assert.equal(core.sm?.ns ?? null, sm);
      client.message("bob@localhost", "one");
      await client.allAcked();
      core.message("two");
      await client.expect(/two/);
      client.autoAck = false;
      client.inbox.items.length = 0;
      for (let i = 0; i < 20; i++) core.message(`burst ${i}`);
      assert.equal((await client.take(({ name: it }) => it === "r", "<r/>")).ns, ns);
      client.write(`<r xmlns='${ns}'/>`);
      const answer = await client.take(({ name: it }) => it === "a", "<a/>");
      assert.deepEqual([answer.ns, answer.attrs["h"]], [ns, "1"]);
      client.drop();
      const again = await wire.resume(client.sm!);
      assert.deepEqual([again.answer.name, again.answer.ns, again.answer.attrs["h"]], ["resumed", ns, "1"]);
    });
  }
}

test("a prefixed enable of urn:xmpp:sm:2 is answered in that namespace", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.login();
  client.write(`<s:enable xmlns:s='${SM2}' resume='1'/>`);
  const answer = await client.next();
  assert.deepEqual([answer.name, answer.ns, answer.attrs["resume"]], ["enabled", SM2, "true"]);
});

test("enable before the resource is bound fails with unexpected-request, and bind works next (§3)", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.authenticated();
  client.write(`<enable xmlns='${SM3}'/>`);
  assert.match((await client.next()).xml, FAILED("unexpected-request"));
  await client.bind("phone");
  assert.equal((await client.enable()).name, "enabled");
});

test("enable and resume before login fail with unexpected-request, and login works next (§3)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.opened();
  client.write(`<enable xmlns='${SM3}'/><resume xmlns='${SM2}' previd='x' h='0'/>`);
  assert.match((await client.next()).xml, FAILED("unexpected-request"));
  assert.match((await client.next()).xml, FAILED("unexpected-request", SM2));
  await client.authenticate({ user: "alice", password: "pw" });
  assert.equal(core.user, "alice");
});

test("r and a before bind, and before enable, fail and leave the stream usable (§6: recoverable)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.authenticated();
  client.autoAck = false;
  client.write(`<r xmlns='${SM3}'/><a xmlns='${SM3}' h='1'/>`);
  for (const element of await client.next(2)) assert.match(element.xml, FAILED("unexpected-request"));
  await client.bind();
  client.write(`<r xmlns='${SM3}'/><a xmlns='${SM3}' h='1'/>`);
  for (const element of await client.next(2)) assert.match(element.xml, FAILED("unexpected-request"));
  await client.enable();
  await client.fence();
  assert.doesNotMatch(core.raw, /<[ra] /);
});

test("a second enable fails with unexpected-request and resets no counter (§3)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core, sm } = await wire.managed();
  client.message("bob@localhost", "1");
  core.message("in 1");
  await client.expect(/in 1/);
  await client.allAcked();
  client.write(`<enable xmlns='${SM3}' resume='true'/>`);
  assert.match((await client.next()).xml, FAILED("unexpected-request"));
  client.message("bob@localhost", "2");
  await client.allAcked();
  assert.equal(sm.acked, 2);
  client.drop();
  const again = await wire.resume(sm);
  assert.equal(again.answer.attrs["h"], "2");
  assert.equal(core.elements.filter(({ name }) => name === "enable").length, 1);
});

test("resume after bind fails with unexpected-request", async (t) => {
  const wire = await Wire.start(t);
  const { client, sm } = await wire.managed();
  client.write(`<resume xmlns='${SM3}' previd='${sm.id}' h='0'/>`);
  assert.match((await client.next()).xml, FAILED("unexpected-request"));
  await client.fence();
});

test("two enables in one write: one enabled, one failed, and what follows is counted once", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.login();
  client.autoAck = false;
  client.write(
    `<enable xmlns='${SM3}'/><enable xmlns='${SM3}'/><message to='bob@localhost'/><r xmlns='${SM3}'/><presence/><r xmlns='${SM3}'/>`,
  );
  const answers = (await client.next(4)).map(({ name, attrs }) => `${name} ${attrs["h"] ?? ""}`);
  assert.deepEqual(answers.sort(), ["a 2", "a 2", "enabled ", "failed "].sort());
});

for (const [h, what] of [
  ["", "missing"],
  ["h='-1'", "negative"],
  ["h='4294967296'", "2^32"],
  ["h='one'", "text"],
  ["h='0x1'", "hexadecimal"],
  ["h=''", "empty"],
  ["h='1.0'", "a fraction"],
  ["h='1 1'", "two numbers"],
] as const) {
  test(`an h that is ${what} fails with bad-request in <a/> and in <resume/>, and ends nothing`, async (t) => {
    const wire = await Wire.start(t);
    const { client, core, sm } = await wire.managed();
    client.autoAck = false;
    client.write(`<a xmlns='${SM3}' ${h}/>`);
    assert.match((await client.next()).xml, FAILED("bad-request"));
    await client.fence();
    const other = await wire.authenticated();
    other.client.write(`<resume xmlns='${SM3}' previd='${sm.id}' ${h}/>`);
    assert.match((await other.client.next()).xml, FAILED("bad-request"));
    await client.fence();
    await other.client.bind("other");
    core.message("still there");
    await client.expect(/still there/);
  });
}

test("resume without previd fails with bad-request", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.authenticated();
  client.write(`<resume xmlns='${SM3}' h='0'/><resume xmlns='${SM3}' previd='' h='0'/>`);
  for (const element of await client.next(2)) assert.match(element.xml, FAILED("bad-request"));
});

test("an <a/> in unusual but valid spellings is understood", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  for (let i = 1; i <= 5; i++) core.message(`${i}`);
  await client.expect(/>5</);
  for (const [i, spelling] of [
    `<a h='1' xmlns='${SM3}'/>`,
    `<a xmlns="${SM3}" h="2"></a>`,
    `<s:a xmlns:s='${SM3}' h='&#51;'/>`,
    `<a\n xmlns='${SM3}'\n h = '4' />`,
    `<a xmlns='${SM3}' h='005'/>`,
  ].entries()) {
    client.write(`${spelling}<r xmlns='${SM3}'/>`);
    await client.take(({ name }) => name === "a", "<a/>");
    core.request();
    await core.acknowledged(i + 1);
  }
});

test("an h higher than what was sent ends the stream with handled-count-too-high, in full (§6)", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  core.message("1");
  core.message("2");
  await client.expect(/2/);
  client.write(`<a xmlns='${SM3}' h='10'/>`);
  const error = await client.take(({ name }) => name === "error", "the stream error");
  assert.ok(error.child("undefined-condition", "urn:ietf:params:xml:ns:xmpp-streams"));
  assert.deepEqual(
    { ...error.child("handled-count-too-high", SM3)!.attrs },
    { xmlns: SM3, h: "10", "send-count": "2" },
  );
  assert.match(error.text("text")!, /10.*2/);
  assert.equal(await client.closed, "stream-end");
  assert.equal(await core.ended, "stream-end");
  assert.equal(core.acked, 0, "the client's lie is not passed on");
});

test("an h that goes backwards is ignored", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  for (const body of ["1", "2", "3"]) core.message(body);
  await client.expect(/3/);
  client.write(`<a xmlns='${SM3}' h='2'/><a xmlns='${SM3}' h='1'/><a xmlns='${SM3}' h='0'/>`);
  await client.fence();
  core.request();
  await core.acknowledged(2);
});

test("the client is acknowledged only what the core has acknowledged", async (t) => {
  const wire = await Wire.start(t, { answersRequests: false });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  for (const body of ["1", "2", "3"]) client.message("bob@localhost", body);
  client.write(`<r xmlns='${SM3}'/>`);
  await core.expect(/<r /);
  assert.deepEqual(client.inbox.items, []);
  core.ack(2);
  assert.equal((await client.next()).attrs["h"], "2");
  client.write(`<r xmlns='${SM3}'/>`);
  await core.expect(/<r /);
  core.ack(3);
  assert.equal((await client.next()).attrs["h"], "3");
  client.write(`<r xmlns='${SM3}'/>`);
  assert.equal((await client.next()).attrs["h"], "3", "all is confirmed: answered without asking the core again");
});

test("a core that does not confirm does not keep the client waiting for more than two seconds", async (t) => {
  const wire = await Wire.start(t, { answersRequests: false, turned: true });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  client.message("bob@localhost", "1");
  client.write(`<r xmlns='${SM3}'/>`);
  await core.expect(/<r /);
  wire.clock.advance({ seconds: 2 });
  assert.equal((await client.next()).attrs["h"], "0");
  core.ack(1);
  client.write(`<r xmlns='${SM3}'/>`);
  assert.equal((await client.next()).attrs["h"], "1");
});

test("the core is acknowledged only what the client has acknowledged, and is answered at once", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  client.autoAck = false;
  for (const body of ["1", "2", "3"]) core.message(body);
  await client.expect(/3/);
  core.request();
  await core.expect(/<a .*h='0'/);
  client.write(`<a xmlns='${SM3}' h='2'/>`);
  await client.fence();
  core.request();
  await core.expect(/<a .*h='2'/);
  assert.deepEqual(core.acks, [0, 2]);
});

test("the core is told within a second what the client has acknowledged, without asking", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const { client, core } = await wire.managed();
  core.message("1");
  await client.expect(/1/);
  client.ack();
  await client.fence();
  wire.clock.advance({ seconds: 1 });
  await core.acknowledged(1);
});

test("a core that acknowledges more than was sent to it loses the session, and its client is told", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  core.ack(7);
  const error = await client.take(({ name }) => name === "error", "the stream error");
  assert.ok(error.child("internal-server-error"));
  assert.equal(await client.closed, "stream-end");
});

test("stanzas are counted from where enable and enabled stand, on both legs", async (t) => {
  const wire = await Wire.start(t, { enable: "silent" });
  const { client, core } = await wire.login();
  client.autoAck = false;
  client.write(`<message to='b@localhost' id='before'/>`);
  client.write(`<enable xmlns='${SM3}' resume='true'/><message to='b@localhost' id='after'/>`);
  await core.expect(/id='after'/);
  core.message("before enabled");
  await client.expect(/before enabled/);
  core.sm = { ns: SM3, id: "late", max: null };
  core.handled = 1;
  core.sent = 0;
  core.write(`<enabled xmlns='${SM3}' id='late' resume='true'/>`);
  await client.expect(/<enabled/);
  core.message("after enabled");
  await client.expect(/after enabled/);
  client.write(`<r xmlns='${SM3}'/>`);
  assert.equal((await client.take(({ name }) => name === "a", "<a/>")).attrs["h"], "1");
  client.write(`<a xmlns='${SM3}' h='1'/>`);
  core.request();
  await core.acknowledged(1).catch(() => {});
  client.write(`<a xmlns='${SM3}' h='2'/>`);
  assert.ok((await client.expect(/handled-count-too-high/)).xml.includes("send-count='1'"));
});

test("whitespace, client state and other nonzas are neither counted nor is whitespace forwarded", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  const before = core.raw.length;
  client.write(" \n\t ".repeat(1000));
  client.write("<inactive xmlns='urn:xmpp:csi:0'/> <active xmlns='urn:xmpp:csi:0'/>");
  client.message("bob@localhost", "1");
  await client.allAcked();
  assert.equal(client.sm!.acked, 1);
  assert.doesNotMatch(core.raw.slice(before), /\s{2,}/);
});

test("the client is asked after ten stanzas, and otherwise within 200 ms once, while it is active", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const { client, core } = await wire.managed();
  client.autoAck = false;
  const asked = () => client.inbox.items.splice(0).filter(({ name }) => name === "r").length;
  core.message("1");
  await client.expect(/>1</);
  assert.equal(asked(), 0, "xmpp.js would count wrong: nobody is asked right behind <enabled/>");
  wire.clock.advance({ ms: 300 });
  await client.expect(/<r /);
  for (let i = 2; i <= 9; i++) core.message(`${i}`);
  await client.expect(/>9</);
  assert.equal(asked(), 0, "one question is open, and it is too early for another");
  core.write(Array.from({ length: 10 }, (_, i) => `<message from='b@localhost'><body>t${i}</body></message>`).join(""));
  await client.expect(/>t9</);
  await client.expect(/<r /);
  client.write(`<a xmlns='${SM3}' h='19'/>`);
  await client.fence();
  client.inbox.items.length = 0;
  core.message("late");
  await client.expect(/late/);
  assert.equal(asked(), 0);
  wire.clock.advance({ ms: 300 });
  await client.expect(/<r /);
  wire.clock.advance({ ms: 300 });
  core.message("fence");
  await client.expect(/fence/);
  assert.equal(asked(), 0, "one question is open");
});

test("a client that leaves a question unanswered for ack_timeout has lost its link, and may resume", async (t) => {
  const wire = await Wire.start(t, { turned: true, config: "stream_management: { ack_timeout: 30 }" });
  const { client, core, sm } = await wire.managed();
  client.autoAck = false;
  core.message("1");
  await client.expect(/>1</);
  wire.clock.advance({ seconds: 29 });
  assert.equal(client.isClosed, false);
  wire.clock.advance({ seconds: 3 });
  assert.ok((await client.expect(/error/)).child("connection-timeout"));
  assert.equal(await client.closed, "stream-end");
  sm.handled = 0;
  const again = await wire.resume(sm);
  assert.equal(again.answer.name, "resumed");
  await again.client.expect(/>1</);
});

test("a silent client is asked after probe_after, and given up when it does not answer", async (t) => {
  const wire = await Wire.start(t, {
    turned: true,
    config: "stream_management: { probe_after: 100, ack_timeout: 30 }",
  });
  const { client } = await wire.managed();
  client.autoAck = false;
  wire.clock.advance({ seconds: 99 });
  assert.deepEqual(client.inbox.items, []);
  wire.clock.advance({ seconds: 2 });
  await client.expect(/<r /);
  wire.clock.advance({ seconds: 32 });
  await client.expect(/connection-timeout/);
});

test("a core that refuses or cannot resume stream management leaves the edge to keep the queue", async (t) => {
  for (const enable of ["failed", "not-resumable"] as const) {
    const wire = await Wire.start(t, { enable });
    const { client, core, sm } = await wire.managed();
    client.message("bob@localhost", "1");
    await client.allAcked();
    core.message("2");
    await client.expect(/2/);
    client.drop();
    core.message("3");
    const again = await wire.resume(sm);
    assert.equal(again.answer.attrs["h"], "1");
    await again.client.expect(/3/);
  }
});
