import assert from "node:assert/strict";
import { test } from "node:test";
import { RawBosh } from "../../support/clients/raw-bosh.ts";
import { until } from "../../support/wire.ts";
import { bodies, bosh, message, opening, Pipe, requestHead } from "./peer.ts";

test("pages of the served domains and of listed origins may ask, others may not", async (t) => {
  const { wire } = await bosh(t, { config: 'http: { origins: ["https://chat.example.com"] }' });
  for (const [origin, allowed] of [
    ["https://localhost", true],
    ["https://localhost:8443", true],
    ["https://chat.example.com", true],
    ["http://localhost", false],
    ["https://chat.example.com.evil.example", false],
    ["https://evil.example", false],
    ["null", false],
  ] as const) {
    const asked = new Pipe(wire.edge.http);
    const preflight = await asked.write(
      `OPTIONS /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n` +
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
    );
    const answer = await new Pipe(wire.edge.http).send(opening(1), { Origin: origin, Connection: "close" });
    assert.equal(preflight.status, allowed ? 204 : 403, origin);
    assert.equal(answer.status, allowed ? 200 : 403, origin);
    for (const { head } of [preflight, answer]) {
      assert.equal(/^access-control-allow-origin: (.*)\r$/im.exec(head)?.[1], allowed ? origin : undefined, origin);
    }
    if (!allowed) continue;
    assert.match(preflight.head, /^access-control-allow-methods: POST, OPTIONS\r$/im);
    assert.match(preflight.head, /^access-control-allow-headers: Content-Type, Content-Encoding\r$/im);
    assert.match(answer.head, /^vary: origin\r$/im);
    asked.drop();
  }
  assert.ok((await wire.edge.metric("breakwater_http_refused_total", { reason: "origin" })) >= 8);
});

test("a client without an origin is no page and may ask; every answer to a page has its origin, errors too", async (t) => {
  const { wire } = await bosh(t);
  const pipe = new Pipe(wire.edge.http);
  assert.doesNotMatch((await pipe.send(opening(1))).head, /access-control/i);
  const page = { Origin: "https://localhost" };
  for (const body of ["nonsense", opening(1, { to: "x.example" }), opening(1, { sid: "x" })]) {
    assert.match((await pipe.send(body, page)).head, /^access-control-allow-origin: https:\/\/localhost\r$/im);
  }
  const large = pipe.write(requestHead(1_000_000, page));
  pipe.socket.write("x".repeat(30_000));
  const { status, head } = await large;
  assert.equal(status, 413);
  assert.match(head, /^access-control-allow-origin: https:\/\/localhost\r$/im);
});

test("only POST is spoken here: no GET, and no script syntax", async (t) => {
  const { wire } = await bosh(t);
  for (const request of [
    "GET /http-bind HTTP/1.1",
    `GET /http-bind?${encodeURIComponent(opening(1))} HTTP/1.1`,
    "PUT /http-bind HTTP/1.1\r\nContent-Length: 0",
  ]) {
    const pipe = new Pipe(wire.edge.http);
    const { status, head } = await pipe.write(`${request}\r\nHost: localhost\r\n\r\n`);
    assert.equal(status, 405);
    assert.match(head, /^allow: POST, OPTIONS\r$/im);
    pipe.drop();
  }
  assert.deepEqual(wire.core.streams, []);
});

test("a client logs in on each port for browsers, over TLS and behind a balancer", async (t) => {
  const { wire } = await bosh(t);
  const { http, https, all, ca } = wire.edge;
  for (const where of [{ port: http }, { port: https, ca }, { port: all, ca }]) {
    const client = await RawBosh.login({ ...where, user: "alice", password: "pw" });
    assert.match(client.jid, /^alice@localhost\//);
    assert.match((await client.post("", { type: "terminate" })).text, / type='terminate'/);
    client.drop();
  }
});

test("two clients behind one pipelined connection do not touch each other", async (t) => {
  const { wire, login } = await bosh(t);
  const pipe = new Pipe(wire.edge.http);
  const { client: alice, core: alices } = await login({ channel: pipe });
  const { client: bob, core: bobs } = await login({ channel: pipe, user: "bob" });
  for (let i = 0; i < 20; i++) {
    const answers = [alice.post(message(`a${i}`)), bob.post(message(`b${i}`))];
    await Promise.all([alices.expect(new RegExp(`>a${i}<`)), bobs.expect(new RegExp(`>b${i}<`))]);
    bobs.message(`to b${i}`);
    alices.message(`to a${i}`);
    assert.deepEqual((await Promise.all(answers)).map(bodies), [[`to a${i}`], [`to b${i}`]]);
  }
  const [last, other] = [alice.postAs(alice.rid + 9), bob.post(message("still"))];
  assert.match((await last).text, /item-not-found/);
  await bobs.expect(/still/);
  bobs.message("here");
  assert.deepEqual(bodies(await other), ["here"]);
});

test("HTTP/1.0 is enough", async (t) => {
  const { wire } = await bosh(t);
  const pipe = new Pipe(wire.edge.http);
  const body = opening(1);
  const { status, text } = await pipe.write(
    `POST /http-bind HTTP/1.0\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  assert.equal(status, 200);
  assert.match(text, /<mechanisms/);
  await pipe.closed;
});

test("a client whose requests need no Content-Type and come byte by byte is served like any other", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  const body = client.request(++client.rid, message("slow"));
  const text = `POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const answer = pipe.write(text.slice(0, 1));
  for (const byte of text.slice(1)) await new Promise((resolve) => pipe.socket.write(byte, resolve));
  await core.expect(/slow/);
  core.message("x");
  assert.deepEqual(bodies(await answer), ["x"]);
});

test("a body that does not come in time ends its connection and not the session", async (t) => {
  const { wire, login } = await bosh(t, { turned: true });
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  void pipe.write(requestHead(100_000) + client.request(client.rid + 1, message("x")).slice(0, -20));
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 3, "it is there");
  await until(() => {
    wire.clock.advance({ seconds: 5 });
    return pipe.isClosed;
  }, "it is closed");
  const held = client.post(message("y"));
  await core.expect(/>y</);
  core.message("z");
  assert.deepEqual(bodies(await held), ["z"]);
});

test("one connection may have sixteen requests in progress; with more it is closed, and the sessions go on", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  void pipe.send(client.request(++client.rid, message("held")));
  await core.expect(/held/);
  for (let i = 0; i < 15; i++) void pipe.send(opening(1, { to: "elsewhere.example" }));
  core.message("x"); // the first answer: all others may follow
  await until(() => !pipe.busy, "all are answered");
  assert.equal(pipe.isClosed, false);
  const last = pipe.send(client.request(++client.rid, message("again")));
  await core.expect(/again/);
  for (let i = 0; i < 16; i++) void pipe.send(opening(1, { to: "elsewhere.example" }));
  await assert.rejects(last);
  await pipe.closed;
  assert.ok((await wire.edge.metric("breakwater_http_refused_total", { reason: "pipelined" })) > 0);
  core.message("y");
  assert.deepEqual(bodies(await client.postAs(client.rid, message("again"))), ["y"]);
});
