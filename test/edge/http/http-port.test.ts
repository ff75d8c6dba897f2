import assert from "node:assert/strict";
import { test } from "node:test";
import { RawHttp } from "../../support/raw-http.ts";
import { until, Wire } from "../../support/wire.ts";
import { bodies, bosh, message, Pipe } from "../bosh/peer.ts";

test("a path that does not exist is answered 404, and the connection goes on", async (t) => {
  const wire = await Wire.start(t);
  for (const options of [
    { port: wire.edge.http },
    { port: wire.edge.https, ca: wire.edge.ca },
    { port: wire.edge.https, ca: wire.edge.ca, alpn: ["h2", "http/1.1"] },
    { port: wire.edge.all, ca: wire.edge.ca, alpn: ["http/1.1"] },
    { port: wire.edge.all, ca: wire.edge.ca },
  ]) {
    const http = await RawHttp.connect(options);
    assert.equal((await http.request("GET /etc/passwd HTTP/1.1\nHost: localhost")).status, 404);
    assert.equal((await http.request("GET / HTTP/1.1\nHost: localhost")).status, 404);
    http.drop();
  }
  assert.equal((await wire.edge.metric("breakwater_http_refused_total", { reason: "path" })) >= 10, true);
});

test("requests that no browser sends are refused and the connection closed", async (t) => {
  const wire = await Wire.start(t);
  for (const [request, status] of [
    ["GET / HTTP/1.1", 400], // no Host
    ["GET http://alice@localhost/ws HTTP/1.1\nHost: localhost", 400],
    ["GET xmpp://localhost/ws HTTP/1.1\nHost: localhost", 400],
    ["GET http:/// HTTP/1.1\nHost: localhost", 400],
    ["OPTIONS * HTTP/1.1\nHost: localhost", 400],
    ["GET / HTTP/1.1\nHost: localhost\nHost: other", 400],
    ["G@T / HTTP/1.1\nHost: localhost", 400],
    [`GET / HTTP/1.1\nHost: localhost\nX: ${"x".repeat(9000)}`, 431],
  ] as const) {
    const http = await RawHttp.connect({ port: wire.edge.http });
    assert.equal((await http.request(request)).status, status, request.slice(0, 60));
    http.drop();
  }
});

test("only the methods of a path are taken there, and no body where none belongs", async (t) => {
  const wire = await Wire.start(t);
  for (const [request, status, head] of [
    ["POST /.well-known/host-meta HTTP/1.1\nHost: localhost\nContent-Length: 0", 405, /allow: GET, HEAD, OPTIONS/i],
    ["DELETE /ws HTTP/1.1\nHost: localhost", 405, /allow: GET/i],
    ["GET /ws HTTP/1.1\nHost: localhost", 426, /upgrade: websocket/i],
    ["GET http://localhost:5280/ws?x=/y HTTP/1.1\nHost: localhost", 426, /upgrade: websocket/i],
    ["GET HTTPS://localhost?/ws HTTP/1.1\nHost: localhost", 404, /text\/plain/],
    ["GET /ws HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: h2c", 426, /upgrade: websocket/i],
    ["GET /other HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: websocket", 404, /text\/plain/],
    ["GET /.well-known/host-meta HTTP/1.1\nHost: localhost\nContent-Length: 5", 413, /connection: close/i],
    ["GET /.well-known/host-meta HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked", 413, /connection: close/i],
  ] as const) {
    const http = await RawHttp.connect({ port: wire.edge.http });
    const answer = await http.request(request);
    assert.equal(answer.status, status, request);
    assert.match(answer.head, head);
    http.drop();
  }
});

const HANDSHAKE = [
  "GET /ws HTTP/1.1",
  "Host: localhost",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

test("a WebSocket needs the subprotocol xmpp, version 13 and an origin that may connect", async (t) => {
  const wire = await Wire.start(t);
  const good = [...HANDSHAKE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat, xmpp"];
  for (const [lines, status, reason] of [
    [[...HANDSHAKE, "Sec-WebSocket-Version: 13"], 400, "subprotocol"],
    [[...HANDSHAKE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: mqtt"], 400, "subprotocol"],
    [[...HANDSHAKE, "Sec-WebSocket-Version: 8", "Sec-WebSocket-Protocol: xmpp"], 426, "version"],
    [[...good, "Origin: https://evil.example"], 403, "origin"],
    [[...good, "Origin: null"], 403, "origin"],
    [good, 101, null],
    [[...good, "Origin: https://localhost"], 101, null],
  ] as const) {
    const http = await RawHttp.connect({ port: wire.edge.http });
    assert.equal((await http.request(lines.join("\n"))).status, status, lines.join(" | "));
    if (reason !== null) assert.ok((await wire.edge.metric("breakwater_http_refused_total", { reason })) > 0);
    http.drop();
  }
});

test("behind a request that still waits for its answer there is no WebSocket: the answer would end up in it", async (t) => {
  const { wire, login } = await bosh(t);
  const { client, core } = await login();
  const pipe = new Pipe(wire.edge.http);
  const held = pipe.send(client.request(++client.rid, message("held")));
  await core.expect(/held/);
  const good = [...HANDSHAKE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: xmpp"];
  const upgrade = pipe.write(`${good.join("\r\n")}\r\n\r\n`);
  core.message("for the request");
  assert.deepEqual(bodies(await held), ["for the request"]);
  assert.equal((await upgrade).status, 426);
  pipe.drop();
});

test("a connection takes as many requests as the configuration says", async (t) => {
  const wire = await Wire.start(t, { config: "http: { max_requests: 3 }" });
  const http = await RawHttp.connect({ port: wire.edge.http });
  for (let i = 0; i < 3; i++) await http.request("GET / HTTP/1.1\nHost: localhost");
  await http.closed;
});

test("a client behind a balancer has its own limit of connections", async (t) => {
  const listenerConfigs = { http: `    forwarded: { trusted: ["127.0.0.1"] }` };
  const wire = await Wire.start(t, { listenerConfigs, config: "limits: { max_connections_per_ip: 1 }" });
  const all: RawHttp[] = [];
  const ask = async (client: string): Promise<[RawHttp, number]> => {
    const http = await RawHttp.connect({ port: wire.edge.http });
    all.push(http);
    const lines = [
      ...HANDSHAKE,
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: xmpp",
      `X-Forwarded-For: ${client}`,
    ];
    return [http, (await http.request(lines.join("\n"))).status];
  };
  const [first, accepted] = await ask("203.0.113.1");
  assert.equal(accepted, 101);
  assert.equal((await ask("203.0.113.1"))[1], 429);
  assert.equal((await ask("203.0.113.2"))[1], 101);
  first.drop();
  await until(async () => (await ask("203.0.113.1"))[1] === 101, "the first has left");
  for (const http of all) http.drop();
});

test("slow headers and idle connections end, by the clock", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const slow = await RawHttp.connect({ port: wire.edge.http });
  slow.write("GET / HTTP/1.1\r\nHo");
  const idle = await RawHttp.connect({ port: wire.edge.http });
  await idle.request("GET / HTTP/1.1\nHost: localhost");
  wire.clock.advance({ seconds: 12 });
  await slow.closed;
  assert.equal((await idle.request("GET / HTTP/1.1\nHost: localhost")).status, 404);
  wire.clock.advance({ seconds: 80 });
  await idle.closed;
  const handshaking = await RawHttp.connect({ port: wire.edge.https });
  wire.clock.advance({ seconds: 12 });
  await handshaking.closed;
});

test("on one TLS port ALPN or the first byte tells XMPP from HTTP", async (t) => {
  const wire = await Wire.start(t);
  for (const alpn of [["xmpp-client"], []]) {
    const client = await wire.connect({ port: wire.edge.all, tls: "direct", ca: wire.edge.ca, alpn });
    await client.open();
    await client.authenticate({ user: "alice", password: "pw" });
    client.drop();
  }
  await assert.rejects(
    RawHttp.connect({ port: wire.edge.all, ca: wire.edge.ca, alpn: ["h2"] }),
    /alert|reset|disconnect/i,
  );
});

test("a balancer's connections count, and its clients are known by its header", async (t) => {
  const listenerConfigs = { http: `    forwarded: { trusted: ["127.0.0.1"] }` };
  const wire = await Wire.start(t, { listenerConfigs });
  const http = await RawHttp.connect({ port: wire.edge.http });
  assert.equal((await http.request("GET / HTTP/1.1\nHost: localhost\nX-Forwarded-For: 203.0.113.9")).status, 404);
  http.drop();
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 0, "nobody is inside");
});

test("from outside the trusted balancers nobody reaches a port that they are in front of", async (t) => {
  const wire = await Wire.start(t, { listenerConfigs: { http: `    forwarded: { trusted: ["192.0.2.1"] }` } });
  const http = await RawHttp.connect({ port: wire.edge.http });
  await http.closed;
});

test("PROXY headers work in front of HTTP and of TLS that carries it", async (t) => {
  const proxy = `    proxy_protocol: { trusted: ["127.0.0.1"] }`;
  const wire = await Wire.start(t, { listenerConfigs: { http: proxy, all: proxy } });
  const http = await RawHttp.connect({ port: wire.edge.http });
  http.write("PROXY TCP4 203.0.113.7 198.51.100.1 50003 80\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await http.expect(/^HTTP\/1\.1 404/);
  http.drop();
});
