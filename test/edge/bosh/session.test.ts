import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../support/wire.ts";
import { attribute, bindRequest, bodies, bosh, isEmpty, message, opening, Pipe, RESTART } from "./peer.ts";

// ---- a session begins

test("the first answer says what was agreed on, and brings the core's features", async (t) => {
  const { wire, opened } = await bosh(t);
  const { answer } = await opened({ hold: "3", wait: "3600", ver: "1.99", from: "alice@localhost", secure: "true" });
  const expected = { wait: "60", hold: "1", requests: "2", inactivity: "60", polling: "5", maxpause: "120" };
  for (const [name, value] of Object.entries({
    ...expected,
    ver: "1.11",
    from: "localhost",
    accept: "gzip",
    secure: "true",
    "xmlns:xmpp": "urn:xmpp:xbosh",
    "xmpp:version": "1.0",
    "xmpp:restartlogic": "true",
    "xmlns:stream": "http://etherx.jabber.org/streams",
  })) {
    assert.equal(attribute(answer, name), value, name);
  }
  assert.match(attribute(answer, "authid")!, /^fake-/);
  assert.ok(attribute(answer, "sid")!.length >= 22);
  assert.equal(attribute(answer, "ack"), null);
  assert.match(answer.text, /><stream:features xmlns='jabber:client' [^>]*>.*<mechanism>PLAIN<\/mechanism>/);
  assert.match(answer.head, /^content-type: text\/xml; charset=utf-8\r$/im);
  assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 1);
});

test("what the request says of the stream reaches the core, route does not matter", async (t) => {
  const { wire, client } = await bosh(t);
  await client().open({ to: "LOCALHOST", from: "alice&b@localhost", "xml:lang": "de", route: "xmpp:127.0.0.1:9" });
  const core = await wire.core.nextStream();
  await until(() => core.headers.length > 0, "the header is there");
  const { to, from, version, "xml:lang": lang } = core.headers[0]!;
  assert.deepEqual(
    { to, from, version, lang },
    { to: "LOCALHOST", from: "alice&b@localhost", version: "1.0", lang: "de" },
  );
});

for (const [what, attributes, expected] of [
  ["a lower version", { ver: "1.6" }, { ver: "1.6" }],
  ["a higher minor version", { ver: "1.100" }, { ver: "1.11" }],
  ["the next major version", { ver: "2.0" }, { ver: "1.11" }],
  ["no version", { ver: null }, { ver: null }],
  ["less time to wait", { wait: "7" }, { wait: "7" }],
  ["no time to wait", { wait: "0" }, { wait: "0", hold: "0", inactivity: "120" }],
  ["nothing held", { hold: "0" }, { hold: "0", requests: "2", inactivity: "120" }],
  ["acknowledgements", { ack: "1" }, { ack: "1573741820" }],
  ["nonsense", { wait: "-5", hold: "x" }, { wait: "60", hold: "1" }],
] as const) {
  test(`a client that asks for ${what} is told ${JSON.stringify(expected)}`, async (t) => {
    const { opened } = await bosh(t);
    const { answer } = await opened(attributes);
    for (const [name, value] of Object.entries(expected)) assert.equal(attribute(answer, name), value, name);
  });
}

for (const [what, attributes, condition, status] of [
  ["no domain", { to: null }, "improper-addressing", 200],
  ["an empty domain", { to: "" }, "improper-addressing", 200],
  ["an unknown domain", { to: "elsewhere.example" }, "host-unknown", 200],
  ["a domain that is no domain", { to: "local host" }, "host-unknown", 200],
  ["an unknown domain and no version", { to: "elsewhere.example", ver: null }, "host-unknown", 200],
  ["an unknown sid", { sid: "nobody" }, "item-not-found", 200],
  ["no rid and a version", { rid: "" }, "bad-request", 200],
  ["no rid and no version", { rid: "", ver: null }, "bad-request", 400],
] as const) {
  test(`${what}: ${condition}, and no stream is opened`, async (t) => {
    const { wire, client } = await bosh(t);
    const before = await wire.edge.metric("breakwater_bosh_refused_total", { condition });
    const answer = await client().open(attributes);
    assert.equal(answer.status, status);
    assert.equal(
      answer.text,
      `<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='${condition}'/>`,
    );
    assert.equal((await wire.edge.metric("breakwater_bosh_refused_total", { condition })) - before, 1);
    assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 0);
    assert.deepEqual(wire.core.streams, []);
  });
}

test("clients that name no version hear of the end by HTTP status", async (t) => {
  const { login, wire } = await bosh(t, { config: "http: { bosh: { polling: 60 } }", turned: true });
  const { client: lost } = await login({ attributes: { ver: null } });
  assert.equal((await lost.postAs(lost.rid + 9)).status, 404);
  const { client: wrong } = await login({ attributes: { ver: null } });
  assert.equal((await wrong.postAs("x")).status, 400);
  const { client: hasty, core } = await login({ attributes: { ver: null } });
  const answers = Array.from({ length: 12 }, () => hasty.post());
  assert.ok((await Promise.all(answers)).some(({ status }) => status === 403));
  await core.ended;
  assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 0);
});

test("all answers have the media type that the client has asked for, and are no page where it is text/html", async (t) => {
  const { login } = await bosh(t);
  for (const [content, type, inert] of [
    ["text/html; charset=utf-8", "text/html; charset=utf-8", true],
    ["text/xml; charset=utf-8", "text/xml; charset=utf-8", false],
    ["text/html\r\nX-Evil: 1", "text/xml; charset=utf-8", false],
    ["nonsense", "text/xml; charset=utf-8", false],
  ] as const) {
    const { client } = await login({ attributes: { content } });
    const { head } = await client.post("", { pause: "5" });
    assert.equal(/^content-type: (.*)\r$/im.exec(head)![1], type);
    assert.equal(/^content-security-policy: sandbox/im.test(head), inert);
    assert.doesNotMatch(head, /evil/i);
  }
});

test("a core that cannot be reached is remote-connection-failed", async (t) => {
  const { wire, client } = await bosh(t);
  await wire.core.close();
  const { text } = await client().open();
  assert.match(text, /type='terminate' condition='remote-connection-failed'\/>$/);
  assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 0);
});

// ---- stream restarts

test("bad credentials are told, and the client may try again", async (t) => {
  const { opened } = await bosh(t);
  const { client } = await opened();
  assert.match((await client.authenticate("alice", "wrong")).text, /<not-authorized/);
  assert.match((await client.authenticate()).text, /<success/);
});

test("a client that goes on after the login without xmpp:restart is refused, and its bind does not reach the core", async (t) => {
  const { opened } = await bosh(t);
  const { client, core } = await opened();
  await client.authenticate();
  const { text } = await client.post(bindRequest());
  assert.match(text, /condition='remote-stream-error'.*<bad-format /);
  await core.ended;
  assert.doesNotMatch(core.raw, /<bind/);
});

test("what stands behind <auth/> in the same body belongs to no stream", async (t) => {
  const { opened } = await bosh(t);
  const { client, core } = await opened();
  const token = Buffer.from("\0alice\0pw").toString("base64");
  const auth = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${token}</auth>`;
  assert.match((await client.post(auth + bindRequest())).text, /<success/);
  assert.match((await client.post()).text, /<bad-format /);
  await core.ended;
  assert.doesNotMatch(core.raw, /<bind/);
});

test("a restart before the login, and one too many, end the stream", async (t) => {
  const { opened, login } = await bosh(t);
  const { client: early, core } = await opened();
  assert.match((await early.restart()).text, /<not-well-formed /);
  await core.ended;
  const { client: late, core: bound } = await login();
  assert.match((await late.restart()).text, /<not-well-formed /);
  await bound.ended;
});

test("a stanza in the restart request is ignored, and the stream keeps what the client does not say again", async (t) => {
  const { opened } = await bosh(t);
  const { client, core } = await opened({ from: "alice@localhost" });
  await client.authenticate();
  assert.match((await client.post(message("early"), RESTART)).text, /<bind /);
  await client.bind();
  assert.deepEqual(core.stanzas, []);
  assert.equal(core.headers[1]!["to"], "localhost");
  assert.equal(core.headers[1]!["from"], "alice@localhost");
  assert.equal(core.headers[1]!["version"], "1.0");
});

test("another domain in the restart is refused", async (t) => {
  const { opened } = await bosh(t, { domains: ["localhost", "other.example"] });
  const { client } = await opened();
  await client.authenticate();
  assert.match((await client.restart({ to: "other.example" })).text, /condition='host-unknown'/);
});

// ---- talking

test("a stanza of the core leaves on the held request at once: no timer has to come", async (t) => {
  const { login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  for (let i = 0; i < 5; i++) {
    const held = client.post();
    await client.wire.edge.metrics(); // the request is there
    core.message(`now ${i}`);
    assert.deepEqual(bodies(await held), [`now ${i}`]);
  }
});

test("several stanzas go in one body in both directions, in order", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const held = client.post(message(1) + message(2) + message(3));
  await core.expect(/>3</);
  assert.deepEqual(
    core.stanzas.map((xml) => /<body>(.)/.exec(xml)![1]),
    ["1", "2", "3"],
  );
  core.write("<message from='a@b'><body>x</body></message><presence from='a@b'/><x xmlns='urn:x'/>");
  assert.equal(
    (await held).text,
    "<body xmlns='http://jabber.org/protocol/httpbind'><message xmlns='jabber:client' from='a@b'><body>x</body></message>" +
      "<presence xmlns='jabber:client' from='a@b'/><x xmlns='urn:x'/></body>",
  );
});

// ---- the end

test("a client that ends its session: its last stanza reaches the core, and the oldest request hears of the end", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const held = client.post();
  await until(async () => (await wire.edge.metric("breakwater_connections")) >= 2, "it has come");
  const last = client.post("<presence xmlns='jabber:client' type='unavailable'/>", { type: "terminate" });
  const [first, second] = await Promise.all([held, last]);
  assert.equal(first.text, "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>");
  assert.ok(isEmpty(second) && !second.text.includes("type="));
  assert.equal(await core.ended, "stream-end");
  assert.match(core.stanzas.at(-1)!, /<presence .*type='unavailable'/);
  // It is over, and still repeats its last words; anything new finds no session.
  assert.equal((await client.postAs(client.rid - 1)).text, first.text);
  assert.match((await client.post()).text, /type='terminate' condition='item-not-found'/);
  assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 0);
});

test("what the core still says to a client that ends its session goes with the last answer", async (t) => {
  const { login } = await bosh(t, {
    onElement: (stream, element) => {
      if (element.attrs["type"] === "unavailable") stream.message("good bye");
      return false;
    },
  });
  const { client } = await login();
  const { text } = await client.post("<presence type='unavailable'/>", { type: "terminate" });
  assert.match(text, / type='terminate'><message .*good bye/);
});

test("a client that ends its session before login leaves nothing behind", async (t) => {
  const { wire, opened } = await bosh(t);
  const { client, core } = await opened();
  assert.match((await client.post("", { type: "terminate" })).text, / type='terminate'\/>$/);
  await core.ended;
  assert.equal(await wire.edge.metric("breakwater_links", { transport: "bosh" }), 0);
});

test("a stream error of the core comes behind its last stanzas", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const held = client.post();
  core.message("before");
  core.error("conflict");
  const first = await held;
  const { text } = / type='terminate'/.test(first.text) ? first : await client.post();
  assert.match(first.text, /before/);
  assert.match(text, /condition='remote-stream-error'.*<stream:error [^>]*><conflict /);
  assert.match(text, /^<body [^>]*xmlns:stream='http:\/\/etherx.jabber.org\/streams'/);
});

test("a core that goes away is system-shutdown, also for a request that comes later", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const held = client.post(message("x"));
  await core.expect(/>x</);
  core.cut();
  assert.match((await held).text, / type='terminate' condition='system-shutdown'\/>$/);
  const { client: away, core: second } = await login();
  second.cut();
  await until(async () => (await away.wire.edge.metric("breakwater_links", { transport: "bosh" })) === 0, "it is over");
  assert.match((await away.post()).text, / type='terminate' condition='system-shutdown'\/>$/);
});

test("a session that is resumed elsewhere: the old one hears of the conflict, and nothing is lost", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const enabled = await client.post("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  const id = /<enabled [^>]*id='([^']+)'/.exec(enabled.text)![1]!;
  core.message("seen nowhere");
  const held = client.post();
  const seen = bodies(await held);
  assert.deepEqual(seen, ["seen nowhere"]); // and never acknowledged
  const waiting = client.post();
  const { client: tcp } = await wire.authenticated({ user: "alice" });
  tcp.send(`<resume xmlns='urn:xmpp:sm:3' previd='${id}' h='0'/>`);
  assert.equal((await tcp.expect(/<resumed/)).name, "resumed");
  assert.equal((await tcp.expect(/<message/)).text("body"), "seen nowhere");
  assert.match((await waiting).text, /condition='remote-stream-error'.*<conflict /);
});

test("a stopping edge tells held requests, and does not wait for connections that it has answered", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const held = client.post(message("x"));
  await core.expect(/>x</);
  const pipe = new Pipe(wire.edge.http);
  await pipe.send(opening(1, { to: "elsewhere.example" }));
  // The clock stands still: only an edge that is empty can stop.
  await wire.edge.breakwater.stop();
  assert.match((await held).text, / type='terminate' condition='system-shutdown'\/>$/);
  await pipe.closed;
});
