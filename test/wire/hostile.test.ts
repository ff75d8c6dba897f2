import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import type { RawClient } from "../support/clients/raw-client.ts";
import { until, Wire } from "../support/wire.ts";

const SM3 = "urn:xmpp:sm:3";
const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='localhost'>";

/** Nobody else has noticed anything, and no mistake of the edge's own came to light. */
async function unharmed(wire: Wire, bystander: { client: RawClient }): Promise<void> {
  await bystander.client.fence();
  assert.equal(await wire.edge.metric("breakwater_internal_errors_total"), 0);
  assert.equal(await wire.edge.metric("breakwater_uncaught_errors_total"), 0);
}

/**
 * Writes `flood` again and again to a client's connection until nobody takes it any more, and asserts that this came soon. The
 * kernel's buffers on the way take some megabytes; an edge that goes on reading takes everything.
 */
async function floodUnread(client: RawClient, flood: string): Promise<void> {
  const bytes = Buffer.from(flood);
  let written = 0;
  let taken = 0;
  for (let still = 0; still < 40 && taken < 400_000_000; ) {
    if (client.socket.writableLength < 4 * bytes.length) {
      client.write(bytes);
      written += bytes.length;
    }
    const before = taken;
    await new Promise((resolve) => setTimeout(resolve, 10));
    taken = written - client.socket.writableLength;
    still = taken === before || client.isClosed ? still + 1 : 0;
  }
  assert.ok(taken < 60_000_000, `${taken} bytes were read`);
}

for (const [what, bytes] of [
  ["a huge attribute", `<message x='${"y".repeat(300_000)}'/>`],
  ["deep nesting", `<message>${"<x>".repeat(200)}`],
  ["a bomb of elements", `<message>${"<x/>".repeat(20_000)}`],
  ["a bomb of attributes", `<message ${Array.from({ length: 200 }, (_, i) => `a${i}=''`).join(" ")}/>`],
  [
    "a bomb of namespace declarations",
    `<message ${Array.from({ length: 200 }, (_, i) => `xmlns:a${i}='u'`).join(" ")}/>`,
  ],
  ["an endless name", `<${"x".repeat(300_000)}`],
  ["an endless text", `<message>${"x".repeat(300_000)}`],
  ["an endless CDATA section", `<message><![CDATA[${"x".repeat(300_000)}`],
] as const) {
  test(`${what} ends the one stream with policy-violation, before and after login, and is counted`, async (t) => {
    const wire = await Wire.start(t);
    const bystander = await wire.managed({ user: "bob" });
    const counted = async () =>
      (await wire.edge.metric("breakwater_connections_refused_total", { reason: "limit-exceeded" })) +
      (await wire.edge.metric("breakwater_sessions_closed_total", { reason: "limit-exceeded" }));
    const before = await counted();
    for (const start of [wire.opened, wire.authenticated, wire.managed]) {
      const { client } = await start.call(wire);
      client.write(bytes);
      assert.ok((await client.take(({ name }) => name === "error", "the error")).child("policy-violation"));
      assert.equal(await client.closed, "stream-end");
    }
    assert.equal(await counted(), before + 3);
    await unharmed(wire, bystander);
  });
}

for (const bytes of [
  "<!DOCTYPE x [<!ENTITY a 'b'>]>",
  "<!-- c -->",
  "<?pi?>",
  "&a;",
  "<a:b/>",
  "</x>",
  "\x00",
  "\xff\xfe",
  "<m\u0301 a=1/>",
  "<message>]]></message>",
  "<message>&#0;</message>",
  "<message a='<'/>",
]) {
  test(`${JSON.stringify(bytes)} ends one stream and nothing else`, async (t) => {
    const wire = await Wire.start(t);
    const bystander = await wire.managed({ user: "bob" });
    for (const start of [wire.opened, wire.authenticated, wire.managed]) {
      const { client } = await start.call(wire);
      client.write(Buffer.from(bytes, "latin1"));
      await client.take(({ name }) => name === "error", "the error");
      assert.equal(await client.closed, "stream-end");
    }
    await unharmed(wire, bystander);
  });
}

test("a client that sends a byte now and then is sent away by the login's deadline, however busy it looks", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const client = await wire.connect();
  let sent = 0;
  await until(() => {
    client.write(HEADER[sent++ % 20]!);
    wire.clock.advance({ seconds: 1 });
    return client.isClosed;
  }, "it is sent away");
  assert.ok(sent < 40, `${sent}`);
});

test("megabytes of space are read and thrown away", async (t) => {
  const wire = await Wire.start(t);
  const { client, core } = await wire.managed();
  const before = core.raw.length;
  for (let i = 0; i < 64; i++) client.write(Buffer.alloc(256 * 1024, " "));
  client.message("bob@localhost", "behind");
  await core.expect(/behind/);
  assert.ok(core.raw.length - before < 1000);
});

for (const [what, question] of [
  ["<r/>", `<r xmlns='${SM3}'/>`],
  ["<enable/>", `<enable xmlns='${SM3}'/>`],
  ["<compress/>", "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"],
  ["<a/>", `<a xmlns='${SM3}' h='none'/>`],
] as const) {
  test(`a client that floods ${what} and never reads is not read either, and holds little memory`, async (t) => {
    const wire = await Wire.start(t, { config: "stream_management: { request_after_stanzas: 1000 }" });
    const bystander = await wire.managed({ user: "bob" });
    const { client } = await wire.managed();
    client.pause();
    await floodUnread(client, question.repeat(2000));
    await unharmed(wire, bystander);
  });
}

test("a client that floods requests and never reads loses its session when the answers fill its queue", async (t) => {
  const wire = await Wire.start(t, { config: "stream_management: { max_queue_stanzas: 2000 }" });
  const bystander = await wire.managed({ user: "bob" });
  const { client, core } = await wire.managed();
  client.pause();
  client.write("<iq type='get' id='12345' to='localhost'><query xmlns='jabber:iq:roster'/></iq>".repeat(5000));
  assert.equal(await core.ended, "stream-end");
  await unharmed(wire, bystander);
});

test("a client that floods failing resumes before bind, and never reads, is not read either", async (t) => {
  const wire = await Wire.start(t);
  const { client } = await wire.authenticated();
  client.pause();
  await floodUnread(client, `<resume xmlns='${SM3}' previd='x' h='1'/>`.repeat(2000));
});

test("a client without stream management that never reads is given up, and its core waits only so long", async (t) => {
  const wire = await Wire.start(t, { turned: true, config: "keepalive: { write_timeout: 60 }" });
  const { client, core } = await wire.login();
  client.pause();
  const big = "x".repeat(60_000);
  let blocked = false;
  await until(() => {
    if (core.socket.writableLength < 1_000_000) core.message(big);
    else blocked = true;
    return blocked;
  }, "the core is asked to wait");
  wire.clock.advance({ seconds: 50 });
  assert.equal(core.isEnded, false);
  for (let i = 0; i < 20 && !core.isEnded; i++) {
    wire.clock.advance({ seconds: 5 });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await core.ended;
  assert.ok((await wire.edge.metric("breakwater_sessions_closed_total", { reason: "slow-client" })) >= 1);
});

test("a client that never acknowledges fills its own queue at most", async (t) => {
  const wire = await Wire.start(t, { turned: true, config: "stream_management: { max_queue_bytes: 100000 }" });
  const { client, core, sm } = await wire.managed();
  client.autoAck = false;
  for (let i = 0; i < 80; i++) core.message("x".repeat(1000));
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 76_000, "the queue fills");
  wire.clock.advance({ seconds: 2 });
  assert.ok((await client.expect(/<stream:error/)).child("resource-constraint"));
  assert.equal(await client.closed, "stream-end");
  const again = await wire.resume({ ...sm, handled: 0 });
  assert.equal(again.answer.name, "resumed", "it is told and may come back");
});

test("a slow client with large stanzas gets all of them", async (t) => {
  const wire = await Wire.start(t, { config: "stream_management: { max_queue_bytes: 67108864 }" });
  const { client, core } = await wire.managed();
  client.pause();
  // More than the kernel keeps for the reader, in stanzas of which one alone does not fill the socket's buffer.
  const count = 400;
  for (let i = 1; i <= count; i++) core.message(`${i} ${"x".repeat(45_000)}`);
  await until(
    async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > count * 45_000,
    "the queue holds all of it",
  );
  const chunks: Buffer[] = [];
  let bytes = 0;
  client.onBytes = (chunk) => {
    chunks.push(chunk);
    bytes += chunk.length;
  };
  client.resumeReading();
  await until(() => bytes > count * 45_000 && chunks.at(-1)!.includes("</message>"), "all of it came");
  const seen = Buffer.concat(chunks)
    .toString("latin1")
    .matchAll(/<body>(\d+) /g);
  assert.deepEqual(
    [...seen].map(([, number]) => Number(number)),
    Array.from({ length: count }, (_, i) => i + 1),
  );
});

test("a thousand connections that come and go at once leave nothing behind", async (t) => {
  const wire = await Wire.start(t);
  const bystander = await wire.managed({ user: "bob" });
  const ports = [wire.edge.plaintext, wire.edge.starttls, wire.edge.tls];
  const attempts = Array.from({ length: 1000 }, (_, i) => {
    const bytes = [HEADER, "", "<", "\x16\x03\x01\x02\x00\x01", HEADER.slice(0, i % HEADER.length)][i % 5]!;
    return new Promise<void>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port: ports[i % 3]! });
      socket.on("error", () => {});
      socket.once("close", () => resolve());
      socket.resume();
      socket.once("connect", () => {
        socket.write(bytes);
        if (i % 2 === 0) socket.end();
        else setTimeout(() => socket.resetAndDestroy(), i % 20);
      });
    });
  });
  await Promise.all(attempts);
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 1, "only the bystander is left");
  for (const phase of ["connecting", "authenticating"]) {
    await until(async () => (await wire.edge.metric("breakwater_sessions", { phase })) === 0, `nobody is ${phase}`);
  }
  assert.equal(wire.core.streams.filter(({ isEnded }) => !isEnded).length, 1);
  await unharmed(wire, bystander);
});

test("garbage in place of TLS records, before, in and after the handshake, ends one connection", async (t) => {
  const wire = await Wire.start(t);
  const bystander = await wire.managed({ user: "bob" });
  for (const bytes of [Buffer.alloc(600, 0), Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.from("160301ffff", "hex")]) {
    const socket = connect({ host: "127.0.0.1", port: wire.edge.tls });
    socket.on("error", () => {});
    socket.write(bytes);
    socket.end();
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
  }
  let inject = (): void => {};
  const between = createServer((down) => {
    const up = connect({ host: "127.0.0.1", port: wire.edge.tls });
    for (const socket of [down, up]) socket.on("error", () => {});
    down.pipe(up).pipe(down);
    inject = () => up.write(Buffer.alloc(600, "x"));
  });
  await new Promise<void>((resolve) => between.listen(0, "127.0.0.1", resolve));
  const { port } = between.address() as { port: number };
  const client = await wire.connect({ port, tls: "direct", ca: wire.edge.ca });
  await client.open();
  inject();
  await client.closed;
  between.close();
  await unharmed(wire, bystander);
});

test("a client that leaves at each step of its login leaves nothing behind", async (t) => {
  const wire = await Wire.start(t);
  const bystander = await wire.managed({ user: "bob" });
  for (const leave of ["drop", "hangUp"] as const) {
    for (const start of [wire.opened, wire.authenticated, wire.login]) {
      const { client, core } = await start.call(wire);
      client[leave]();
      await core.ended;
    }
  }
  await until(async () => (await wire.edge.metric("breakwater_connections")) === 1, "only the bystander is left");
  assert.equal(await wire.edge.metric("breakwater_sessions"), 1);
  await unharmed(wire, bystander);
});
