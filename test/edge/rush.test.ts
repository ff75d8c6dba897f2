// All clients are back at once, and an edge that has other things to do: real clients with TLS, and a loop that the test turns.
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { StandingLoop } from "../support/standing-loop.ts";
import { until, Wire, type WireOptions } from "../support/wire.ts";

const TURNS = "breakwater_handshake_turns_total";
const WAITING = "breakwater_handshakes_waiting";
const HANDSHAKES = "breakwater_tls_handshakes_total";

class Guest {
  readonly tcp: Socket;
  readonly tls: TLSSocket;
  secure = false;
  closed = false;
  saw = "";

  constructor(t: TestContext, wire: Wire, port: number, alpn: string, preamble = "") {
    this.tcp = connect({ host: "127.0.0.1", port });
    this.tcp.on("error", () => {}).once("close", () => (this.closed = true));
    if (preamble !== "") this.tcp.write(preamble);
    const ours = { rejectUnauthorized: false, servername: wire.core.domain, ALPNProtocols: [alpn] };
    this.tls = connectTls({ socket: this.tcp, ...ours });
    this.tls.on("error", () => {}).on("data", (chunk: Buffer) => (this.saw += chunk));
    this.tls.once("secureConnect", () => (this.secure = true));
    t.after(() => this.tcp.destroy());
  }
}

async function setUp(t: TestContext, options: WireOptions = {}) {
  const loop = new StandingLoop();
  const wire = await Wire.start(t, { loop, ...options });
  // Of this process: other tests have counted, too.
  const count = async (name: string, labels: Record<string, string> = {}) => {
    const before = await wire.edge.metric(name, labels);
    return async () => (await wire.edge.metric(name, labels)) - before;
  };
  const waits = (number: number, state = "ready") =>
    until(async () => (await wire.edge.metric(WAITING, { state })) === number, `${number} wait`);
  const enter = (count: number, port = wire.edge.tls, alpn = "xmpp-client", preamble = "") =>
    Array.from({ length: count }, () => new Guest(t, wire, port, alpn, preamble));
  return { loop, wire, count, waits, enter };
}

test("clients that gave up while they waited cost no handshake, and all others come in", async (t) => {
  const { loop, count, waits, enter } = await setUp(t);
  const all = await count(HANDSHAKES);
  const failed = await count(HANDSHAKES, { result: "failed" });
  const waited = await count(TURNS, { result: "waited" });
  const left = await count(TURNS, { result: "left" });
  const guests = enter(40);
  await waits(39);
  await until(() => guests.some(({ secure }) => secure), "the first of them is in");
  const waiting = guests.filter(({ secure }) => !secure);
  const gone = waiting.slice(0, 30);
  for (const [i, guest] of gone.entries()) {
    if (i % 2 === 0) guest.tcp.destroy();
    else guest.tcp.resetAndDestroy();
  }
  await until(async () => (await left()) === 30, "the edge has noticed that they left");
  assert.equal(await all(), 1);
  const rest = waiting.slice(30);
  loop.turn(20);
  await until(() => rest.every(({ secure }) => secure), "the others are in");
  assert.equal(await waited(), 9);
  assert.equal(await all(), 10);
  assert.equal(await failed(), 0);
  await waits(0);
});

test("handshakes are made one per turn, and what a client has said before its turn is not lost", async (t) => {
  const { loop, wire, count, waits, enter } = await setUp(t);
  const all = await count(HANDSHAKES);
  const guests = enter(6);
  await waits(5);
  loop.turn(); // in this one they came
  for (let turns = 1; turns <= 5; turns++) {
    loop.turn();
    await until(() => guests.filter(({ secure }) => secure).length === turns + 1, `${turns + 1} are in`);
    assert.equal(await all(), turns + 1);
  }
  for (const { tls } of guests) {
    tls.write(
      `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${wire.core.domain}'>`,
    );
  }
  await until(() => guests.every(({ saw }) => saw.includes("</stream:features>")), "each has its stream");
});

test("who says nothing holds nobody up, and is closed like those who wait too long", async (t) => {
  const { loop, wire, count, waits, enter } = await setUp(t, { turned: true });
  const silent = await count(TURNS, { result: "silent" });
  const away = await count(TURNS, { result: "turned_away" });
  const all = await count(HANDSHAKES);
  const [first] = enter(1);
  await until(() => first!.secure, "the first is in");
  const loris = Array.from({ length: 5 }, () => connect({ host: "127.0.0.1", port: wire.edge.tls }));
  const closed: Socket[] = [];
  for (const socket of loris)
    socket
      .on("error", () => {})
      .once("close", () => closed.push(socket))
      .resume();
  t.after(() => {
    for (const socket of loris) socket.destroy();
  });
  await waits(5, "silent");
  const [guest] = enter(1);
  await waits(1);
  loop.turn(3);
  await until(() => guest!.secure, "who speaks is in");
  loop.turn(5);
  assert.equal(await all(), 2);
  // Now nothing turns any more.
  assert.ok(!loop.watched);
  const [next, late] = enter(2);
  await until(() => next!.secure || late!.secure, "one of two goes right in");
  await waits(1);
  for (let i = 0; i < 32; i++) wire.clock.advance({ seconds: 1 });
  await until(() => closed.length === 5 && (next!.closed || late!.closed), "they are closed");
  assert.equal(await silent(), 5);
  assert.equal(await away(), 1);
  assert.equal(await all(), 3);
});

test("browsers and clients behind a balancer wait, too, and XMPP and HTTP come in by one port", async (t) => {
  const proxy = `    proxy_protocol: { trusted: ["127.0.0.1"] }`;
  const { loop, wire, waits, enter } = await setUp(t, { listenerConfigs: { tls: proxy } });
  const [first] = enter(1, wire.edge.all, "http/1.1");
  await until(() => first!.secure, "the first is in");
  const [page] = enter(1, wire.edge.https, "http/1.1");
  const [both] = enter(1, wire.edge.all, "xmpp-client");
  const [behind] = enter(1, wire.edge.tls, "xmpp-client", "PROXY TCP4 192.0.2.7 192.0.2.1 40000 5223\r\n");
  await waits(3);
  loop.turn(10);
  await until(() => page!.secure && both!.secure && behind!.secure, "all are in");
  page!.tls.write("GET /.well-known/host-meta.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (const { tls } of [both!, behind!]) {
    tls.write(
      `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='${wire.core.domain}'>`,
    );
  }
  await until(() => page!.saw.startsWith("HTTP/1.1 200"), "the page has its answer");
  await until(() => [both!, behind!].every(({ saw }) => saw.includes("</stream:features>")), "both have their streams");
});

test("STARTTLS waits between <starttls/> and <proceed/>, and a wait that is too long ends with a stream error", async (t) => {
  const { loop, wire, count, waits } = await setUp(t, { turned: true });
  const left = await count(TURNS, { result: "left" });
  const away = await count(TURNS, { result: "turned_away" });
  const options = { port: wire.edge.starttls, ca: wire.edge.ca };
  const clients = await Promise.all(Array.from({ length: 5 }, () => wire.connect(options)));
  for (const client of clients) await client.open();
  const [first, second, gone, hasty, patient] = clients;
  await first!.startTls(); // nobody waits
  for (const client of [second!, gone!, hasty!]) client.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  await waits(3);
  gone!.drop();
  await until(async () => (await left()) === 1, "the edge has noticed that one left");
  hasty!.write(" ");
  assert.match((await hasty!.next()).xml, /policy-violation/);
  // Its time to shake hands begins with its turn.
  for (let i = 0; i < 25; i++) wire.clock.advance({ seconds: 1 });
  loop.turn(5);
  assert.equal((await second!.next()).name, "proceed");
  for (let i = 0; i < 25; i++) wire.clock.advance({ seconds: 1 });
  await second!.secure();
  await second!.open();

  assert.ok(!loop.watched);
  const another = await wire.connect(options);
  await another.open();
  await another.startTls();
  const last = await wire.connect(options);
  await last.open();
  last.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  await waits(1);
  for (let i = 0; i < 32; i++) wire.clock.advance({ seconds: 1 });
  assert.match((await last.next()).xml, /resource-constraint/);
  assert.equal(await away(), 1);
  assert.ok(patient!.isClosed === true || (await patient!.closed) !== "", "who never asked has had its time");
});
