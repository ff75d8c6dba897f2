import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { bodies, bosh, isEmpty, message, Pipe, requestHead } from "./peer.ts";

const NS = "http://jabber.org/protocol/httpbind";

// What a bound client sends instead of its next request; "@" stands for the attributes that a request needs.
const MALFORMED: readonly (readonly [string, string | Buffer, string])[] = [
  ["nothing", "", "unknown"],
  ["white space", " \n", "unknown"],
  ["text", "hello", "unknown"],
  ["JSON", '{"body":{}}', "unknown"],
  ["form data", `body=<body @/>`, "unknown"],
  ["a DTD", `<!DOCTYPE body [<!ENTITY x "y">]><body @/>`, "unknown"],
  ["a comment first", `<!-- x --><body @/>`, "unknown"],
  ["a processing instruction first", `<?php x?><body @/>`, "unknown"],
  ["another name", `<Body @/>`, "bad-request"],
  ["another namespace", `<body @/>`.replace("@", "xmlns='jabber:client' rid='#' sid='$'"), "bad-request"],
  ["no namespace", "<body rid='#' sid='$'/>", "bad-request"],
  ["a prefix that nobody declares", "<b:body rid='#' sid='$'/>", "unknown"],
  ["an attribute twice", `<body @ rid='1'/>`, "unknown"],
  ["an attribute without quotes", `<body @ x=1/>`, "unknown"],
  ["an entity in an attribute", `<body @ x='&y;'/>`, "unknown"],
  ["no end tag", `<body @>`, "bad-request"],
  ["half an end tag", `<body @></bod`, "bad-request"],
  ["another end tag", `<body @></other>`, "bad-request"],
  ["two bodies", `<body @/><body @/>`, "bad-request"],
  ["something behind", `<body @/>x`, "bad-request"],
  ["another encoding", `<?xml version='1.0' encoding='ISO-8859-1'?><body @/>`, "unknown"],
  ["a start tag of 5000 bytes", `<body @ x='${"x".repeat(5000)}'/>`, "unknown"],
  ["60 attributes", `<body @${Array.from({ length: 60 }, (_, i) => ` a${i}=''`).join("")}/>`, "unknown"],
  ["a start tag without end", `<body @`, "unknown"],
  ["invalid UTF-8 in an attribute", Buffer.from("<body @ x='\xff'/>", "latin1"), "unknown"],
  ["zero bytes", Buffer.alloc(100), "unknown"],
];

const REFUSED: readonly (readonly [string, string, string])[] = [
  ["text between elements", `<presence/>x<presence/>`, "bad-format"],
  ["text alone", `hello`, "bad-format"],
  ["a comment", `<!-- x -->`, "restricted-xml"],
  ["a processing instruction", `<?x y?>`, "restricted-xml"],
  ["a DTD", `<!DOCTYPE x>`, "restricted-xml"],
  ["CDATA", `<![CDATA[x]]>`, "restricted-xml|not-well-formed|bad-format"],
  ["an entity", `<message><body>&x;</body></message>`, "restricted-xml|not-well-formed"],
  ["an element without end", `<message><body>x`, "not-well-formed"],
  ["a start tag without end", `<message to='x`, "not-well-formed"],
  ["wrong nesting", `<message><a><b></a></b></message>`, "not-well-formed"],
  ["the end of the stream", `</stream:stream>`, "not-well-formed|bad-format"],
  ["the end of the body", `</body>`, "not-well-formed|bad-format"],
  ["an opening tag", `<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>`, "unsupported-stanza-type"],
  ["a prefix that nobody declares", `<x:y/>`, "bad-namespace-prefix|not-well-formed|invalid-namespace"],
  ["deep nesting", `<message>${"<a>".repeat(200)}${"</a>".repeat(200)}</message>`, "policy-violation"],
  ["too many elements", `<message>${"<a/>".repeat(20_000)}</message>`, "policy-violation"],
  [
    "too many attributes",
    `<message${Array.from({ length: 200 }, (_, i) => ` a${i}=''`).join("")}/>`,
    "policy-violation",
  ],
  ["a stanza that is too large", message("x".repeat(262_144)), "policy-violation"],
  ["invalid UTF-8", "<message><body>\xff\xfe</body></message>", "not-well-formed|bad-format"],
  ["a control character", "<message><body>\x01</body></message>", "not-well-formed"],
];

function fill(body: string | Buffer, rid: number, sid: string): Buffer {
  const text = Buffer.from(body).toString("latin1");
  return Buffer.from(
    text.replaceAll("@", `xmlns='${NS}' rid='#' sid='$'`).replaceAll("#", String(rid)).replaceAll("$", sid),
    "latin1",
  );
}

test("what is no <body/> is bad-request; it ends the session whose sid it names, and no other", async (t) => {
  const { login } = await bosh(t);
  const { client: other, core: others } = await login({ user: "bob" });
  for (const [what, body] of MALFORMED) {
    const { client, core } = await login();
    const held = client.post(message("held"));
    await core.expect(/held/);
    const { status, text } = await client.channel.send(fill(body, client.rid + 1, client.sid));
    assert.equal(status, 200, what);
    assert.equal(text, `<body xmlns='${NS}' type='terminate' condition='bad-request'/>`, what);
    // Where no sid could be read the session goes on, else it is over.
    core.message("still here");
    const first = await held;
    if (/terminate/.test(first.text)) await core.ended;
    else assert.deepEqual(bodies(first), ["still here"], what);
    assert.equal(core.stanzas.length, 1, what);
    client.channel.drop();
  }
  const held = other.post(message("whole"));
  await others.expect(/whole/);
  others.message("x");
  assert.deepEqual(bodies(await held), ["x"]);
});

test("what no stream may hold ends the session with the stream error, and the rest does not reach the core", async (t) => {
  const { login } = await bosh(t);
  const { client: other, core: others } = await login({ user: "bob" });
  for (const [what, payload, condition] of REFUSED) {
    const { client, core } = await login();
    const body = Buffer.from(client.request(++client.rid, `${payload}${message("behind")}`), "latin1");
    const { text, status } = await client.channel.send(body);
    if (status === 413) assert.equal(what, "a stanza that is too large");
    else assert.match(text, new RegExp(`condition='remote-stream-error'.*<stream:error [^>]*><(${condition}) `), what);
    await core.ended;
    assert.doesNotMatch(core.raw, /behind/, what);
  }
  const held = other.post(message("whole"));
  await others.expect(/whole/);
  others.message("x");
  assert.deepEqual(bodies(await held), ["x"]);
});

for (const [what, write, expected] of [
  [
    "an XML declaration and white space",
    (a: string) => `<?xml version="1.0" encoding="utf-8"?>\n<body ${a}><presence/>\n</body>\n`,
    /^<presence\/>$/,
  ],
  [
    "a prefix of its own",
    (a: string) => `<b:body ${a.replace("xmlns=", "xmlns:b=")}><presence/></b:body>`,
    /^<presence\/>$/,
  ],
  [
    "a default namespace beside it",
    (a: string) => `<b:body xmlns='jabber:client' ${a.replace("xmlns=", "xmlns:b=")}><presence/></b:body>`,
    /^<presence\/>$/,
  ],
  [
    "no namespace on the stanza",
    (a: string) => `<body ${a}><message><body>x</body></message></body>`,
    /^<message><body>x/,
  ],
  [
    "a prefix for the payload",
    (a: string) => `<body ${a} xmlns:x='urn:x&amp;y'><message><x:y/></message></body>`,
    /<message [^>]*xmlns:x='urn:x&amp;y'><x:y\/>/,
  ],
  ["double quotes and >", (a: string) => `<body ${a} x=">'"><presence/></body >`, /^<presence\/>$/],
  [
    "further attributes",
    (a: string) => `<body ${a} stream='x' route='y' to='elsewhere' hold='9'><presence/></body>`,
    /^<presence\/>$/,
  ],
  [
    "the stream prefix declared",
    (a: string) => `<body ${a} xmlns:stream='http://etherx.jabber.org/streams'><presence/></body>`,
    /^<presence\/>$/,
  ],
] as const) {
  test(`a body with ${what} is read`, async (t) => {
    const { login } = await bosh(t);
    const { client, core } = await login();
    const held = client.channel.send(write(`xmlns='${NS}' rid='${++client.rid}' sid='${client.sid}'`));
    const { xml } = await core.expect(/<(message|presence)/);
    assert.match(xml, expected);
    core.message("x");
    assert.deepEqual(bodies(await held), ["x"]);
  });
}

test("a prefix that one body declares is not known in the next", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  core.message("x");
  await client.post("<message><x:y/></message>", { "xmlns:x": "urn:x" });
  await core.expect(/urn:x/);
  assert.match((await client.post("<message><x:y/></message>")).text, /<stream:error/);
});

// ---- sizes

test("before login a body is small, by its length and in chunks, and a stranger's is not read on", async (t) => {
  const { wire, opened } = await bosh(t);
  const chunk = "x".repeat(4096);
  for (const chunked of [false, true]) {
    const { client, core } = await opened();
    const pipe = new Pipe(wire.edge.http);
    const start = client
      .request(client.rid + 1, `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>`)
      .replace("</body>", "");
    const headers: Record<string, string> = chunked ? { "Transfer-Encoding": "chunked" } : {};
    const answer = pipe.write(requestHead(chunked ? null : 1_000_000, headers));
    const piece = (text: string) => (chunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
    pipe.socket.write(piece(start));
    for (let i = 0; i < 6; i++) pipe.socket.write(piece(chunk));
    const { status, head } = await answer;
    assert.equal(status, 413);
    assert.match(head, /^connection: close\r$/im);
    await core.ended;
    assert.match((await client.post()).text, /<policy-violation /);
  }
  const stranger = new Pipe(wire.edge.http);
  const answer = stranger.write(requestHead(250_000));
  stranger.socket.write("y".repeat(25_000));
  assert.equal((await answer).status, 413);
});

test("after login a body may be as large as a stanza, by its length and in chunks", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const text = "x".repeat(250_000);
  const large = client.post(message(text));
  assert.equal((await core.expect(/<message/)).text("body"), text);
  core.message("one");
  assert.deepEqual(bodies(await large), ["one"]);
  const pipe = new Pipe(wire.edge.http);
  const body = client.request(++client.rid, message(text));
  const answer = pipe.write(requestHead(null, { "Transfer-Encoding": "chunked" }));
  for (let i = 0; i < body.length; i += 10_000) {
    const part = body.slice(i, i + 10_000);
    pipe.socket.write(`${part.length.toString(16)}\r\n${part}\r\n`);
  }
  pipe.socket.write("0\r\n\r\n");
  assert.equal((await core.expect(/<message/)).text("body"), text);
  core.message("two");
  assert.deepEqual(bodies(await answer), ["two"]);
});

// ---- gzip

test("a compressed request is read like any other", async (t) => {
  const { login } = await bosh(t);
  const { client, core } = await login();
  const held = client.channel.send(gzipSync(client.request(++client.rid, message("small"))), {
    "Content-Encoding": "gzip",
  });
  await core.expect(/small/);
  core.message("x");
  assert.deepEqual(bodies(await held), ["x"]);
  for (const name of ["GZIP", "x-gzip"]) {
    const body = gzipSync(client.request(++client.rid, message(name)));
    void client.channel.send(body, { "Content-Encoding": name });
    await core.expect(new RegExp(`>${name}<`));
  }
});

test("compressed bodies that are bombs, cut off, followed by something or no gzip are refused", async (t) => {
  const { wire, login, client: stranger } = await bosh(t);
  const { client, core } = await login();
  const request = client.request(client.rid + 1, message("bomb"));
  const good = gzipSync(request);
  for (const [what, body] of [
    ["a bomb of 10 MB", gzipSync(request.replace("bomb", " ".repeat(10_000_000)))],
    ["cut off", good.subarray(0, good.length - 9)],
    ["followed by text", Buffer.concat([good, Buffer.from("<body/>")])],
    ["followed by half a header", Buffer.concat([good, Buffer.from([0x1f, 0x8b])])],
    ["no gzip", Buffer.from(request)],
    ["empty", Buffer.alloc(0)],
  ] as const) {
    const { text } = await client.channel.send(body, { "Content-Encoding": "gzip" });
    assert.match(text, /condition='bad-request'/, what);
    assert.equal(core.isEnded, false, what);
  }
  for (const encoding of ["deflate", "br", "gzip, gzip"]) {
    const pipe = new Pipe(wire.edge.http);
    assert.equal((await pipe.send("x", { "Content-Encoding": encoding })).status, 415);
    pipe.drop();
  }
  assert.doesNotMatch(core.raw, /bomb/);
  // Before login no more is inflated than may come uncompressed.
  const opening = `<body xmlns='${NS}' rid='1' to='localhost'>${" ".repeat(100_000)}</body>`;
  const { status } = await stranger().channel.send(gzipSync(opening), { "Content-Encoding": "gzip" });
  assert.equal(status, 413);
});

test("answers are compressed after login, where the client takes it and they are large", async (t) => {
  const featuresBefore = `<x xmlns='urn:x'>${"x".repeat(2000)}</x>`;
  const { login, client } = await bosh(t, { featuresBefore });
  const text = "x".repeat(2000);
  const gzipped = (head: string) => /content-encoding: gzip/i.test(head);
  const one = client();
  one.headers = { "Accept-Encoding": "gzip" };
  const { head, text: features } = await one.open();
  assert.ok(features.length > 2000);
  assert.equal(gzipped(head), false);
  for (const [accept, size, expected] of [
    ["gzip", 2000, true],
    ["deflate, GZIP;q=0.5, br", 2000, true],
    ["gzip", 10, false],
    ["gzip;q=0", 2000, false],
    ["gzip; q=0.0", 2000, false],
    ["br", 2000, false],
    ["x-gzip", 2000, false],
    ["*", 2000, false],
  ] as const) {
    const { client: two, core } = await login({ headers: { "Accept-Encoding": accept } });
    const held = two.post(message("x"));
    await core.expect(/>x</);
    core.message(text.slice(0, size));
    const answer = await held;
    assert.equal(gzipped(answer.head), expected, accept);
    assert.deepEqual(bodies(answer), [text.slice(0, size)]);
    if (expected) assert.ok(answer.bytes.length < 300);
    // Repeated on a connection that takes no gzip it is the same document.
    two.headers = {};
    const again = await two.postAs(two.rid, message("x"));
    assert.equal(gzipped(again.head), false);
    assert.equal(again.text, answer.text);
  }
});

test("compress_from: 0 compresses nothing", async (t) => {
  const { login } = await bosh(t, { config: "http: { bosh: { compress_from: 0 } }" });
  const { client, core } = await login({ headers: { "Accept-Encoding": "gzip" } });
  const held = client.post(message("x"));
  await core.expect(/>x</);
  core.message("x".repeat(5000));
  const answer = await held;
  assert.doesNotMatch(answer.head, /content-encoding/i);
  assert.equal(isEmpty(answer), false);
});
