import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { WebSocket } from "ws";
import { Mailbox } from "../../support/clients/mailbox.ts";
import { pageClient } from "../../support/clients/page-client.ts";
import { RawClient } from "../../support/clients/raw-client.ts";
import { startCore } from "../../support/cores/index.ts";
import { startEdge, type TestEdge } from "../../support/edge.ts";
import { until, Wire } from "../../support/wire.ts";
import { OPEN } from "./peer.ts";

const BYTES = "breakwater_websocket_deflate_bytes_total";
const SM = "urn:xmpp:sm:3";

/** A client of the library ws, whose own permessage-deflate compresses what is not smaller than `threshold`. */
class Client {
  readonly ws: WebSocket;
  readonly inbox = new Mailbox<string>((text) => text);
  /** XEP-0198's h. */
  handled = 0;

  private constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on("message", (data) => this.#message(String(data)));
    ws.on("error", () => {});
  }

  static async connect(url: string, threshold: number, ca?: string): Promise<Client> {
    const options = { perMessageDeflate: { threshold }, rejectUnauthorized: ca === undefined };
    const client = new Client(new WebSocket(url, ["xmpp"], options));
    await new Promise((resolve, reject) => client.ws.once("open", resolve).once("error", reject));
    assert.equal(client.ws.extensions, "permessage-deflate");
    return client;
  }

  async expect(pattern: RegExp): Promise<string> {
    for (;;) {
      const text = (await this.inbox.next(1, String(pattern)))[0]!;
      if (pattern.test(text)) return text;
    }
  }

  async login(user: string): Promise<void> {
    const auth = btoa(`\0${user}\0pw`);
    this.ws.send(OPEN);
    await this.expect(/mechanisms/);
    this.ws.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${auth}</auth>`);
    await this.expect(/^<success/);
    this.ws.send(OPEN);
    await this.expect(/<bind/);
  }

  /** The id to resume the session by. */
  async bind(): Promise<{ jid: string; id: string }> {
    this.ws.send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    const jid = /<jid>([^<]+)/.exec(await this.expect(/<jid>/))![1]!;
    this.ws.send(`<enable xmlns='${SM}' resume='true'/>`);
    const id = /id='([^']+)'/.exec(await this.expect(/^<enabled/))![1]!;
    this.handled = 0;
    this.ws.send("<presence xmlns='jabber:client'/>");
    return { jid, id };
  }

  #message(text: string): void {
    if (text.startsWith("<r ")) this.ws.send(`<a xmlns='${SM}' h='${this.handled}'/>`);
    else this.inbox.push(text);
    if (/^<(message|presence|iq) /.test(text)) this.handled++;
  }
}

const compression = (mode: string): string => `http: { websocket: { compression: ${mode} } }`;
const saved = async (edge: TestEdge, direction: string): Promise<number> =>
  (await edge.metric(BYTES, { direction, form: "plain" })) -
  (await edge.metric(BYTES, { direction, form: "deflated" }));

for (const [mode, threshold] of [
  ["after_login", 1024],
  ["always", 0],
] as const) {
  test(`${mode}: a client of ws that compresses from ${threshold} bytes on talks both ways, in order`, async (t) => {
    const wire = await Wire.start(t, { config: compression(mode) });
    const client = await Client.connect(`ws://127.0.0.1:${wire.edge.http}/ws`, threshold);
    t.after(() => client.ws.terminate());
    await client.login("alice");
    await client.bind();
    const core = await wire.core.nextBound();
    const bodies = Array.from({ length: 60 }, (_, i) => `${i} ${"word ".repeat((i * i) % 900)}`);
    const before = { to: await saved(wire.edge, "to_client"), from: await saved(wire.edge, "from_client") };
    for (const body of bodies) {
      client.ws.send(`<message xmlns='jabber:client' to='bob@localhost'><body>${body}</body></message>`);
      core.message(body);
    }
    for (const body of bodies) {
      assert.equal((await core.expect(/<message/)).text("body"), body);
      assert.match(await client.expect(/^<message/), new RegExp(`<body>${body}</body>`));
    }
    assert.ok((await saved(wire.edge, "to_client")) > before.to + 50_000);
    assert.ok((await saved(wire.edge, "from_client")) > before.from + 50_000);
  });
}

test("what a client sends faster than its core reads arrives whole and in order", async (t) => {
  const wire = await Wire.start(t, { config: compression("always") });
  const client = await Client.connect(`ws://127.0.0.1:${wire.edge.http}/ws`, 0);
  t.after(() => client.ws.terminate());
  await client.login("alice");
  await client.bind();
  const core = await wire.core.nextBound();
  core.socket.pause();
  // All of it comes in a chunk or two: 8 MB, at which a core that does not read has stopped the edge.
  const body = randomBytes(1200).toString("base64").repeat(60);
  const sent = 80;
  for (let i = 0; i < sent; i++) {
    client.ws.send(`<message xmlns='jabber:client' id='${i}'><body>${body}</body></message>`);
  }
  const bytes = () => wire.edge.metric(BYTES, { direction: "from_client", form: "plain" });
  const before = await bytes();
  await until(async () => (await bytes()) > before, "the first is there");
  core.socket.resume();
  for (let i = 0; i < sent; i++) {
    const stanza = await core.expect(/<message/);
    assert.equal(stanza.attrs["id"], String(i));
    assert.equal(stanza.text("body"), body);
  }
});

test("a session at Prosody is resumed on another compressed WebSocket, with what was missed", async (t) => {
  const core = await startCore("prosody");
  t.after(() => core.stop());
  for (const user of ["alice", "bob"]) await core.register(user, "pw");
  const edge = await startEdge({ core, config: compression("after_login") });
  t.after(() => edge.stop());
  const url = `wss://localhost:${edge.all}/ws`;
  const client = await Client.connect(url, 1024, edge.ca);
  t.after(() => client.ws.terminate());
  await client.login("alice");
  const { jid, id } = await client.bind();
  const options = { port: edge.all, tls: "direct", ca: edge.ca, domain: core.domain } as const;
  const bob = await RawClient.login({ ...options, user: "bob", password: "pw" });
  t.after(() => bob.drop());
  bob.presence();
  const long = "a body that repeats itself ".repeat(100);
  bob.message(jid, `seen ${long}`);
  await client.expect(/<body>seen/);
  const { handled } = client;
  client.ws.terminate();
  await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "the link is lost");
  for (let i = 0; i < 5; i++) bob.message(jid, `missed ${i} ${long}`);
  await bob.fence();

  const again = await Client.connect(url, 1024, edge.ca);
  t.after(() => again.ws.terminate());
  await again.login("alice");
  const before = await saved(edge, "to_client");
  again.handled = handled;
  again.ws.send(`<resume xmlns='${SM}' previd='${id}' h='${handled}'/>`);
  await again.expect(/^<resumed/);
  for (let i = 0; i < 5; i++) {
    assert.match(await again.expect(/<body>missed/), new RegExp(`<body>missed ${i} ${long}</body>`));
  }
  assert.ok((await saved(edge, "to_client")) > before + 5 * 2000);
  again.ws.send(`<message xmlns='jabber:client' to='${bob.jid}' type='chat'><body>back ${long}</body></message>`);
  assert.equal((await bob.expect(/<body>back/)).text("body"), `back ${long}`);
  assert.ok((await saved(edge, "from_client")) > 2000);
});

test("a page in Chromium, which compresses everything, logs in, resumes and talks", async (t) => {
  const core = await startCore("prosody");
  t.after(() => core.stop());
  for (const user of ["alice", "bob"]) await core.register(user, "pw");
  const edge = await startEdge({ core, config: compression("always") });
  t.after(() => edge.stop());
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--ignore-certificate-errors"],
  });
  t.after(() => browser.close());
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await page.goto(`https://localhost:${edge.all}/.well-known/host-meta.json`);
  const before = { to: await saved(edge, "to_client"), from: await saved(edge, "from_client") };
  const jid = (await page.evaluate(pageClient(`wss://localhost:${edge.all}/ws`, "alice"))) as string;
  const options = { port: edge.all, tls: "direct", ca: edge.ca, domain: core.domain } as const;
  const bob = await RawClient.login({ ...options, user: "bob", password: "pw" });
  t.after(() => bob.drop());
  bob.presence();
  const long = "a body that repeats itself ".repeat(100).trim();
  const expected: string[] = [];
  for (let round = 1; round <= 2; round++) {
    if (round > 1) await page.context().setOffline(true);
    bob.message(jid, `${round} ${long}`);
    expected.push(`${round} ${long}`);
    await bob.fence();
    if (round > 1) await page.context().setOffline(false);
    await until(async () => (await page.evaluate("bodies.length")) === expected.length, "the page has it");
  }
  assert.deepEqual(await page.evaluate("bodies"), expected);
  assert.equal(await page.evaluate("resumes"), 1);
  await page.evaluate(`say(${JSON.stringify(bob.jid)}, ${JSON.stringify(long)})`);
  assert.equal((await bob.expect(/<body>a body/)).text("body"), long);
  assert.ok((await saved(edge, "to_client")) > before.to + 2 * 2000);
  assert.ok((await saved(edge, "from_client")) > before.from + 2000);
});
