import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { RawClient } from "../../support/clients/raw-client.ts";
import type { WebSocketBridge } from "../../support/clients/websocket-bridge.ts";
import { until, Wire, type WireOptions } from "../../support/wire.ts";

const FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
const OPEN = `<open xmlns='${FRAMING}' to='localhost' version='1.0'/>`;

async function edge(t: TestContext, options: WireOptions = {}) {
  const wire = await Wire.start(t, options);
  const webSocket = `ws://127.0.0.1:${wire.edge.http}/ws`;
  return { wire, webSocket };
}

const bridgeOf = (client: RawClient) => client.socket as unknown as WebSocketBridge;

test("a client logs in, binds and talks over ws and over wss, on each port for browsers", async (t) => {
  const { wire } = await edge(t);
  for (const [url, ca] of [
    [`ws://127.0.0.1:${wire.edge.http}/ws`],
    [`wss://127.0.0.1:${wire.edge.https}/ws`, wire.edge.ca],
    [`wss://127.0.0.1:${wire.edge.all}/ws`, wire.edge.ca],
  ] as const) {
    const { client, core } = await wire.login({ webSocket: url, ...(ca === undefined ? {} : { ca }) });
    core.message("over the web");
    assert.equal((await client.expect(/<message/)).text("body"), "over the web");
    client.message("bob@localhost", "back");
    assert.match((await core.expect(/back/)).xml, /^<message xmlns='jabber:client' /);
    assert.equal(await wire.edge.metric("breakwater_links", { transport: "websocket" }), 1);
    assert.equal(await client.end(), "stream-end");
    assert.equal(await core.ended, "stream-end");
    await until(async () => (await wire.edge.metric("breakwater_connections")) === 0, "the connection is forgotten");
  }
});

test("each message is one element that declares its namespaces, and the core's header is an <open/>", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client, core } = await wire.login({ webSocket });
  core.write("<message from='a@b'><body>&lt;</body></message><presence/><x xmlns='urn:x'/>");
  await client.expect(/<x/);
  const { received } = bridgeOf(client);
  assert.match(
    received[0]!,
    /^<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='fake-\w+' version='1.0'\/>$/,
  );
  assert.match(
    received[1]!,
    /^<stream:features xmlns='jabber:client' xmlns:stream='http:\/\/etherx.jabber.org\/streams'>/,
  );
  assert.match(received[2]!, /^<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/);
  assert.match(received[3]!, /^<open /);
  assert.deepEqual(received.slice(-3), [
    "<message xmlns='jabber:client' from='a@b'><body>&lt;</body></message>",
    "<presence xmlns='jabber:client'/>",
    "<x xmlns='urn:x'/>",
  ]);
});

test("what <open/> says reaches the core", async (t) => {
  const { wire, webSocket } = await edge(t);
  const client = await wire.connect({ webSocket });
  bridgeOf(client).ws.send(
    `<open xmlns="${FRAMING}" to="localhost" from="alice&amp;b@localhost" version="1.0" xml:lang="de"/>`,
  );
  const core = await wire.core.nextStream();
  await until(() => core.headers.length > 0, "the header is there");
  const { to, from, version, "xml:lang": lang } = core.headers[0]!;
  assert.deepEqual(
    { to, from, version, lang },
    { to: "localhost", from: "alice&b@localhost", version: "1.0", lang: "de" },
  );
});

for (const [what, messages, condition] of [
  [
    "<stream:stream>",
    [
      "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>",
    ],
    "bad-format",
  ],
  ["an XML declaration", [`<?xml version='1.0'?>${OPEN}`], "restricted-xml|not-well-formed|bad-format"],
  ["<open/> in another namespace", ["<open xmlns='urn:x' to='localhost' version='1.0'/>"], "bad-format"],
  ["something else first", ["<presence xmlns='jabber:client'/>"], "bad-format"],
  ["<open/> with something behind it", [`${OPEN}<x xmlns='urn:x'/>`], "bad-format"],
  ["an unknown domain", [OPEN.replace("localhost", "elsewhere.example")], "host-unknown"],
  ["no version", [OPEN.replace(" version='1.0'", "")], "unsupported-version"],
  ["a second <open/>", [OPEN, OPEN], "not-well-formed"],
] as const) {
  test(`${what} is refused: <open/>, stream error, <close/>, and the WebSocket ends`, async (t) => {
    const { wire, webSocket } = await edge(t);
    const client = await wire.connect({ webSocket });
    const bridge = bridgeOf(client);
    const codes: number[] = [];
    bridge.ws.on("close", (code) => codes.push(code));
    for (const message of messages) bridge.ws.send(message);
    await client.closed;
    const [first, ...rest] = bridge.received;
    assert.match(first!, /^<open /);
    assert.match(
      rest.at(-2)!,
      new RegExp(`^<stream:error xmlns='jabber:client' xmlns:stream='[^']+'><(${condition}) `),
    );
    assert.equal(rest.at(-1), `<close xmlns='${FRAMING}'/>`);
    assert.deepEqual(codes, [1000]);
  });
}

for (const [what, message, condition] of [
  ["two stanzas", "<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", "bad-format"],
  ["a part of a stanza", "<message xmlns='jabber:client'><body>", "bad-format"],
  ["text", "hello", "bad-format"],
  ["a stanza and text", "<presence xmlns='jabber:client'/>x", "bad-format"],
  ["a closing tag", "</stream:stream>", "bad-format"],
  [
    "a stanza with a control character behind it",
    "<presence xmlns='jabber:client'/>\u0001",
    "bad-format|not-well-formed",
  ],
  ["a control character alone", "\0", "bad-format|not-well-formed"],
  ["a stanza without a namespace", "<message to='bob@localhost'><body>x</body></message>", "invalid-namespace"],
  ["a prefix that only TCP's header declares", "<stream:x xmlns='jabber:client'/>", "invalid-namespace"],
  ["a comment", "<!-- x -->", "restricted-xml"],
  ["an XML declaration", "<?xml version='1.0'?><presence xmlns='jabber:client'/>", "restricted-xml|not-well-formed"],
  ["a stanza that is too large", `<message xmlns='jabber:client'><body>${"x".repeat(262_144)}</body></message>`, null],
] as const) {
  test(`${what} in a message of a bound client ends the stream, and nothing of it reaches the core`, async (t) => {
    const { wire, webSocket } = await edge(t);
    const { client, core } = await wire.login({ webSocket });
    bridgeOf(client).ws.send(message);
    await client.closed;
    const error = bridgeOf(client).received.find((text) => text.startsWith("<stream:error"));
    if (condition !== null) assert.match(error ?? "", new RegExp(`<(${condition}) `));
    await core.ended;
    assert.deepEqual(core.stanzas, []);
  });
}

test("white space around an element or alone is let through", async (t) => {
  const { wire, webSocket } = await edge(t);
  const opened = await wire.connect({ webSocket });
  bridgeOf(opened).ws.send(`${OPEN}\r\n`);
  await wire.core.nextStream();
  const { client, core } = await wire.login({ webSocket });
  for (const message of [" ", "", " <presence xmlns='jabber:client'/>", "<presence xmlns='jabber:client' id='2'/>\n"]) {
    bridgeOf(client).ws.send(message);
  }
  assert.equal((await core.expect(/id='2'/)).name, "presence");
  assert.equal(core.stanzas.length, 2);
});

test("a binary message is refused with 1003", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client } = await wire.login({ webSocket });
  const code = new Promise((resolve) => bridgeOf(client).ws.on("close", resolve));
  bridgeOf(client).ws.send(Buffer.from("<presence xmlns='jabber:client'/>"));
  assert.equal(await code, 1003);
  assert.match(bridgeOf(client).received.at(-2)!, /<bad-format /);
});

test("before login a message is as small as on TCP", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client } = await wire.opened({ webSocket });
  bridgeOf(client).ws.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>${"x".repeat(200_000)}</auth>`);
  await client.closed;
  assert.match(bridgeOf(client).received.at(-2)!, /<policy-violation /);
});

test("messages that come in one chunk behind <auth/> are read as the new stream", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client } = await wire.opened({ webSocket });
  client.onBytes = () => {}; // its parser waits for a header of its own
  const auth = Buffer.from("\0alice\0pw").toString("base64");
  const { ws } = bridgeOf(client);
  ws.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${auth}</auth>`);
  ws.send(OPEN);
  ws.send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
  await until(() => bridgeOf(client).received.some((text) => text.includes("<jid>alice@localhost/")), "alice is bound");
});

test("a WebSocket closed without <close/> is a lost link; one closed with it ends the session", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client, core, sm } = await wire.managed({ webSocket });
  bridgeOf(client).ws.close(1001);
  await client.closed;
  core.message("missed");
  const { client: again, answer } = await wire.resume(sm, { webSocket });
  assert.equal(answer.name, "resumed");
  assert.equal((await again.expect(/<message/)).text("body"), "missed");
  await again.end();
  assert.equal(await core.ended, "stream-end");
});

test("whoever says <close/> first, the other does too, and then the WebSocket is closed by its handshake (RFC 7395 §3.6)", async (t) => {
  const { wire, webSocket } = await edge(t);
  for (const first of ["client", "edge"] as const) {
    const { client, core } = await wire.login({ webSocket });
    const { ws, received } = bridgeOf(client);
    const closed = new Promise<number>((resolve) => ws.once("close", resolve));
    if (first === "client") ws.send(`<close xmlns='${FRAMING}'/>`);
    else {
      core.error("not-authorized");
      await until(() => received.at(-1)!.startsWith("<close "), "the edge says <close/>");
      if (ws.readyState === ws.OPEN) ws.send(`<close xmlns='${FRAMING}'/>`);
    }
    assert.equal(await closed, 1000, first);
    assert.equal(received.at(-1), `<close xmlns='${FRAMING}'/>`);
    await core.ended;
  }
  await until(
    async () => (await wire.edge.metric("breakwater_links", { transport: "websocket" })) === 0,
    "none is left",
  );
});

test("a session goes from TCP to WebSocket and back, and every message arrives once and in order", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client, core, sm } = await wire.managed();
  let current = client;
  const bodies: string[] = [];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 5; i++) core.message(String(round * 5 + i));
    if (round % 2 === 0) await current.fence();
    bodies.push(...current.takeBodies());
    current.drop();
    await current.closed;
    const resumed = await wire.resume(sm, round % 2 === 0 ? { webSocket } : {});
    assert.equal(resumed.answer.name, "resumed");
    current = resumed.client;
    await until(() => current.inbox.items.length >= (round % 2 === 0 ? 0 : 5), "the missed ones are there");
  }
  await current.fence();
  bodies.push(...current.takeBodies());
  assert.deepEqual(
    bodies,
    Array.from({ length: 30 }, (_, i) => String(i)),
  );
});

test("a silent client is pinged, and one that does not answer has lost its link", async (t) => {
  const { wire, webSocket } = await edge(t, { turned: true });
  const { client, sm } = await wire.managed({ webSocket });
  let pings = 0;
  bridgeOf(client).ws.on("ping", () => pings++);
  for (let i = 1; i <= 3; i++) {
    wire.clock.advance({ seconds: 31 });
    await until(() => pings === i, `ping ${i} has come`);
    await client.fence();
  }
  assert.equal(client.isClosed, false);
  (bridgeOf(client).ws as unknown as { _autoPong: boolean })._autoPong = false;
  wire.clock.advance({ seconds: 31 });
  await until(() => pings === 4, "ping 4 has come");
  client.autoAck = false;
  wire.clock.advance({ seconds: 62 });
  await client.closed;
  assert.equal(await wire.edge.metric("breakwater_sessions", { phase: "dormant" }), 1);
  assert.equal((await wire.resume(sm, { webSocket })).answer.name, "resumed");
});

test("a client is told where to go on when the edge stops", async (t) => {
  const config = "http: { websocket: { see_other_uri: 'wss://other.example/ws' } }";
  const { wire, webSocket } = await edge(t, { config });
  const { client } = await wire.login({ webSocket });
  const stopped = wire.edge.breakwater.stop();
  await client.closed;
  await stopped;
  assert.equal(bridgeOf(client).received.at(-1), `<close xmlns='${FRAMING}' see-other-uri='wss://other.example/ws'/>`);
  assert.match(bridgeOf(client).received.at(-2)!, /<system-shutdown /);
});

test("stanzas of every length form of a frame arrive whole", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client, core } = await wire.login({ webSocket });
  for (const size of [20, 40, 60, 125, 126, 127, 65_400, 65_535, 65_536, 200_000]) {
    core.message("x".repeat(size));
    assert.equal((await client.expect(/<message/)).text("body")?.length, size);
  }
});

test("a client without XEP-0198 that does not read makes the core wait, and gets everything when it does", async (t) => {
  const { wire, webSocket } = await edge(t);
  const { client, core } = await wire.login({ webSocket });
  const { ws } = bridgeOf(client);
  ws.pause();
  let sent = 0;
  while (core.socket.writableLength < 4_000_000 && sent < 400) {
    core.message(`${sent++} ${"x".repeat(60_000)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(core.socket.writableLength > 0, "the core's own socket is full");
  ws.resume();
  for (let i = 0; i < sent; i++) assert.match((await client.expect(/<message/)).text("body")!, new RegExp(`^${i} `));
});
