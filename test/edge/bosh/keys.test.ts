import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type TestContext, test } from "node:test";
import { type Attributes, bodies, bosh, type Client, message, RESTART } from "./peer.ts";

/** K(1) to K(n) of XEP-0124 §15.3. */
function sequence(seed: string, length: number): string[] {
  const keys: string[] = [];
  for (let key = seed; keys.length < length; ) {
    key = createHash("sha1").update(key).digest("hex");
    keys.push(key);
  }
  return keys;
}

/** A bound client whose requests carry keys; `next` is what the next request has to say. */
async function keyed(t: TestContext, length = 20, upper = false) {
  const { wire, client } = await bosh(t);
  const one = client();
  let keys = sequence("seed", length);
  const spell = (key: string) => (upper ? key.toUpperCase() : key);
  const next = (): Attributes => ({ key: keys.pop()! });
  await one.open({ newkey: spell(keys.pop()!) });
  const token = Buffer.from("\0alice\0pw").toString("base64");
  await one.post(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${token}</auth>`, next());
  await one.post("", { ...RESTART, ...next() });
  await one.post("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", next());
  const core = await wire.core.nextBound();
  const change = (): Attributes => {
    const { key = "" } = next();
    keys = sequence("another seed", length);
    return { key, newkey: spell(keys.pop()!) };
  };
  return { client: one, core, next, change };
}

async function talks(client: Client, core: Awaited<ReturnType<typeof keyed>>["core"], keys: Attributes, mark: string) {
  const answer = client.post(message(mark), keys);
  await core.expect(new RegExp(`>${mark}<`));
  core.message(`to ${mark}`);
  assert.deepEqual(bodies(await answer), [`to ${mark}`]);
}

for (const upper of [false, true]) {
  test(`a client with keys goes on from key to key and over to a new sequence${upper ? ", in capitals" : ""}`, async (t) => {
    const { client, core, next, change } = await keyed(t, 20, upper);
    await talks(client, core, next(), "a");
    await talks(client, core, change(), "b");
    await talks(client, core, next(), "c");
    await talks(client, core, next(), "d");
  });
}

for (const [what, wrong] of [
  ["no key", {}],
  ["a wrong key", { key: "0".repeat(40) }],
  ["an empty key", { key: "" }],
  ["a new sequence without the key of the old one", { newkey: "0".repeat(40) }],
] as const) {
  test(`${what} ends the session with item-not-found, and the request does not reach the core`, async (t) => {
    const { client, core } = await keyed(t);
    assert.match((await client.post(message("forged"), wrong)).text, /type='terminate' condition='item-not-found'/);
    await core.ended;
    assert.doesNotMatch(core.raw, /forged/);
  });
}

test("a key is good once: the next request needs the next", async (t) => {
  const { client, core, next } = await keyed(t);
  const keys = next();
  await talks(client, core, keys, "a");
  assert.match((await client.post(message("forged"), keys)).text, /condition='item-not-found'/);
  await core.ended;
});

test("the same request with the same key is a repeat; with another key it is somebody else's", async (t) => {
  const { client, core, next } = await keyed(t);
  const keys = next();
  const first = client.post(message("a"), keys);
  await core.expect(/>a</);
  core.message("x");
  assert.equal((await client.postAs(client.rid, message("a"), keys)).text, (await first).text);
  assert.match((await client.postAs(client.rid, message("a"), { key: "f".repeat(40) })).text, /item-not-found/);
  await core.ended;
});

test("keys are compared in the order of the requests, not of their arrival", async (t) => {
  const { client, core, next } = await keyed(t);
  const [first, second] = [next(), next()];
  const { rid } = client;
  const later = client.postAs(rid + 2, message("b"), second);
  await client.postAs(rid + 1, message("a"), first);
  await core.expect(/>b</);
  core.message("x");
  assert.deepEqual(bodies(await later), ["x"]);
});
