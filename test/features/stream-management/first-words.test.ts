// Clients that become available first and enable XEP-0198 right behind it: their sessions are as good as anybody's.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Attentive } from "../../../src/base/janitor.ts";
import { Secret } from "../../../src/base/secret.ts";
import { FirstWords } from "../../../src/features/stream-management/first-words.ts";
import { ResumeTokens } from "../../../src/features/stream-management/resume-token.ts";
import type { Session } from "../../../src/session/session.ts";
import type { RawClient } from "../../support/clients/raw-client.ts";
import { TurnedClock } from "../../support/clock.ts";
import type { FakeStream } from "../../support/fake-core.ts";
import { until, Wire, type WireOptions } from "../../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const SECRET = "what all edges know and nobody else";
const config = `stream_management: { resume_secret: "${SECRET}" }`;
const tokens = new ResumeTokens(new Secret(SECRET), 30 * 86_400, new TurnedClock());
const names = (core: FakeStream) => core.elements.map(({ name }) => name).slice(core.elements.findIndex(isBind) + 1);
const isBind = ({ name, xml }: { name: string; xml: string }) => name === "iq" && xml.includes("xmpp-bind");
const stanzas = (wire: Wire) => wire.edge.metric("breakwater_stanzas_total", { direction: "from_client" });
const wordOf = (core: FakeStream, name: string) => core.elements.find((element) => element.name === name);

async function scene(t: TestContext, options: WireOptions = {}) {
  const wire = await Wire.start(t, { turned: true, config, ...options });
  const { client, core } = await wire.login();
  const from = () => wire.edge.metric("breakwater_link_bytes_total", { direction: "from_client" });
  /** What it sends has been read, which no answer tells. */
  const says = async (words: string) => {
    const before = await from();
    client.write(words);
    await until(async () => (await from()) >= before + Buffer.byteLength(words), "it is read");
  };
  const heldBytes = () => wire.edge.metric("breakwater_sm_queue_bytes");
  return { wire, client, core, says, heldBytes };
}

const PRESENCE = "<presence/>";
const said = (text: string) => `<message to='bob@localhost'><body>${text}</body></message>`;

test("the core is asked to keep the session before it hears of the presence; each leg has its own count", async (t) => {
  const { wire, client, core, says, heldBytes } = await scene(t);
  await says(PRESENCE);
  await says(said("before"));
  assert.deepEqual(names(core), []);
  assert.ok((await heldBytes()) > 0, "it counts as memory that sessions hold");
  const enabled = await client.enable({ resume: true });
  assert.equal(await heldBytes(), 0);
  assert.deepEqual(names(core), ["enable", "presence", "message"]);
  assert.equal(wordOf(core, "enable")!.attrs["resume"], "true");
  assert.equal(tokens.open(enabled.attrs["id"]!)?.beforeClient, 2);
  client.message("bob@localhost", "after");
  await client.allAcked();
  assert.deepEqual([core.handled, client.sm!.acked], [3, 1]);
  // What the presence brings about is counted by core and client alike.
  core.message("stored");
  await client.expect(/stored/);
  client.ack();
  core.request();
  await core.acknowledged(1);
  client.drop();
  const { client: again, answer } = await wire.resume(client.sm!);
  assert.deepEqual([answer.name, answer.attrs["h"]], ["resumed", "1"]);
  again.message("bob@localhost", "resumed");
  await again.allAcked();
  assert.equal(again.sm!.acked, 2);
});

test("an edge that asks such a core anew, as it hears nothing of it, forgets the session that it had itself", async (t) => {
  const { wire, client, core, says } = await scene(t, { answersRequests: false });
  await says(PRESENCE + said("before"));
  await client.enable({ resume: true });
  client.drop();
  await core.expect(/^<r /);
  wire.clock.advance({ seconds: 4 });
  const back = await wire.authenticated();
  const answer = back.client.resume(client.sm!);
  await back.core.expect(/^<resume /);
  back.core.write(`<resumed xmlns='${SM3}' previd='x' h='1'/>`);
  assert.match((await answer).xml, /<reset /);
  await until(async () => (await wire.edge.metric("breakwater_sessions")) === 0, "it has none any more");
});

for (const [after, moment] of [
  [0, 100],
  [400, 500],
  [60_000, 1000],
] as const) {
  test(`a client that is there ${after} ms after its bind has ${moment} ms; then it is one without XEP-0198`, async (t) => {
    const { wire, client, core, says } = await scene(t);
    const before = await stanzas(wire);
    wire.clock.advance({ ms: after });
    await says(PRESENCE);
    await says(said("behind it"));
    wire.clock.advance({ ms: moment - 1 });
    assert.equal(await stanzas(wire), before);
    wire.clock.advance({ ms: 1 });
    await core.expect(/behind it/);
    assert.equal(await stanzas(wire), before + 2);
    assert.deepEqual(names(core), ["enable", "presence", "message"]);
    assert.equal(wordOf(core, "enable")!.attrs["resume"], undefined);
    await client.enable({ resume: true });
    assert.ok(client.sm!.id !== null && tokens.open(client.sm!.id) === null, "it resumes in this process only");
    client.drop();
    assert.equal((await wire.resume(client.sm!)).answer.name, "resumed");
  });
}

test("a process that was busy takes what has arrived before it finds that the moment has passed", async () => {
  for (const isRead of [true, false]) {
    const clock = new TurnedClock();
    const due: Attentive[] = [];
    const session = { host: { clock, janitor: { soon: (item: Attentive) => due.push(item) } } } as unknown as Session;
    let isLate = false;
    const words = new FirstWords(session, { used: 0, max: 1000 }, clock.now(), () => {
      isLate = true;
    });
    clock.advance({ seconds: 10 });
    due.pop()!.attend(clock.now());
    if (isRead) words.sayAll(() => {});
    await new Promise(setImmediate);
    assert.deepEqual([isLate, due], [!isRead, []]);
  }
});

for (const [what, words, follows] of [
  ["what is no stanza", ["<inactive xmlns='urn:xmpp:csi:0'/>"], ["inactive"]],
  ["a flood of small words", Array.from({ length: 200 }, () => "<message/>"), Array(200).fill("message")],
  ["more than anybody has to say", Array.from({ length: 20 }, () => said("x".repeat(1000))), Array(20).fill("message")],
] as const) {
  test(`${what} ends the wait, in its place`, async (t) => {
    const { core, says, heldBytes } = await scene(t);
    await says(PRESENCE + said("1"));
    await says(words.join(""));
    await until(() => names(core).length === 3 + words.length, "all has arrived");
    assert.deepEqual(names(core), ["enable", "presence", "message", ...follows]);
    assert.equal(await heldBytes(), 0);
  });
}

test("where no memory is left nobody waits", async (t) => {
  const sizes = "max_queue_bytes: 1048576, max_total_bytes: 1048576";
  const { wire, client, core, says, heldBytes } = await scene(t, {
    config: `stream_management: { resume_secret: "${SECRET}", ${sizes} }`,
  });
  const other = await wire.managed({ resource: "other" });
  other.client.drop();
  await until(async () => {
    if ((await heldBytes()) > 1_048_000) return true;
    other.core.message("x".repeat(Math.max(1, 1_048_400 - (await heldBytes()))));
    return false;
  }, "another session has it all");
  await says(`<presence><status>${"x".repeat(1000)}</status></presence>`);
  await core.expect(/<presence/);
  assert.deepEqual(names(core), ["enable", "presence"]);
  await client.enable({ resume: true });
});

const ENDS: Record<string, (one: { wire: Wire; client: RawClient }) => unknown> = {
  "logs out": ({ client }) => client.write("</stream:stream>"),
  "hangs up": ({ client }) => client.hangUp(),
  "sends what has no place": ({ client }) => client.write("<stream xmlns='x'/>"),
  "is let go, as this process stops": ({ wire }) => wire.edge.breakwater.drainer.begin(),
  "is not well-formed": ({ client }) => client.write("<a></b>"),
};

for (const [what, end] of Object.entries(ENDS)) {
  test(`a client that ${what} within the moment has said what it has said, and what that brings is not lost`, async (t) => {
    const one = await scene(t);
    const { core, says, heldBytes } = one;
    await says(PRESENCE);
    await says(said("last word"));
    void end(one);
    assert.equal(await core.ended, "stream-end");
    assert.deepEqual(names(core).slice(0, 3), ["enable", "presence", "message"]);
    assert.ok(core.acks.every((h) => h === 0));
    assert.equal(await heldBytes(), 0);
  });
}

test("a core that goes away within the moment takes nothing else along", async (t) => {
  const { wire, client, core, says, heldBytes } = await scene(t);
  await says(PRESENCE);
  core.cut();
  await client.closed;
  assert.equal(await heldBytes(), 0);
  wire.clock.advance({ seconds: 2 });
  const other = await wire.login();
  other.client.write(PRESENCE);
  await other.client.enable();
  assert.equal(await wire.edge.metric("breakwater_internal_errors_total"), 0);
});

test("nobody waits where it helps nobody: without the secret, without hold time, without a stand-in", async (t) => {
  for (const [sm, expected] of [
    ["", ["enable", "presence"]],
    [`resume_secret: "${SECRET}", hold_time: 0`, ["enable", "presence"]],
    [`resume_secret: "${SECRET}", stand_in: false`, ["presence"]],
  ] as const) {
    const { core, says } = await scene(t, { config: `stream_management: { ${sm} }` });
    await says(PRESENCE);
    await core.expect(/<presence/);
    assert.deepEqual(names(core), expected, sm);
  }
});

test("a core that refuses, and one that keeps no session: the client's count is its own all the same", async (t) => {
  for (const enable of ["failed", "not-resumable"] as const) {
    const { wire, client, core, says } = await scene(t, { enable });
    await says(PRESENCE);
    await client.enable({ resume: true });
    client.message("bob@localhost", "after");
    await client.allAcked();
    assert.equal(client.sm!.acked, 1);
    core.message("one");
    await client.expect(/one/);
    client.drop();
    const { answer } = await wire.resume(client.sm!);
    assert.deepEqual([answer.name, answer.attrs["h"]], ["resumed", "1"]);
  }
});

test("one that wants no resumption, or asks twice, is heard", async (t) => {
  const { client, core, says } = await scene(t);
  await says(PRESENCE);
  await client.enable({ resume: false });
  assert.equal(wordOf(core, "enable")!.attrs["resume"], undefined);
  client.message("bob@localhost", "after");
  await client.allAcked();
  assert.equal(client.sm!.acked, 1);
  client.write(`<enable xmlns='${SM3}'/>`);
  assert.match((await client.expect(/<failed/)).xml, /unexpected-request/);
});
