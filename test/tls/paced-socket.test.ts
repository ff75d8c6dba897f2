import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { type TlsServer, tlsServer } from "./support.ts";

/** A client that has read the greeting, and the server's socket for it. */
async function pair(
  t: TestContext,
  server: TlsServer,
  port = server.port,
): Promise<{ client: TLSSocket; socket: TLSSocket }> {
  const client = connect({ port, host: "127.0.0.1", ca: server.ca, servername: "chat.example" });
  client.on("error", () => {});
  t.after(() => client.destroy());
  await once(client, "data");
  client.pause();
  return { client, socket: server.sockets.at(-1)! };
}

async function receive(client: TLSSocket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let got = 0; got < bytes; ) {
    client.resume();
    const [chunk] = (await once(client, "data")) as [Buffer];
    client.pause();
    chunks.push(chunk);
    got += chunk.length;
  }
  return Buffer.concat(chunks);
}

/** Every byte that passes from the server to its client, still encrypted. */
async function wiretap(t: TestContext, server: TlsServer): Promise<{ port: number; heard: () => Buffer }> {
  const heard: Buffer[] = [];
  const relay = createServer((near) => {
    const far = connectTcp(server.port, "127.0.0.1");
    for (const one of [near, far]) one.on("error", () => {});
    near.pipe(far);
    far.on("data", (chunk) => heard.push(chunk)).pipe(near);
    t.after(() => [near, far].forEach((one) => void one.destroy()));
  }).listen(0, "127.0.0.1");
  await once(relay, "listening");
  t.after(() => relay.close());
  return { port: (relay.address() as AddressInfo).port, heard: () => Buffer.concat(heard) };
}

/** The lengths of the TLS records in `bytes`, headers included (RFC 8446 §5.1). */
function recordLengths(bytes: Buffer): number[] {
  const lengths: number[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += lengths.at(-1)!) lengths.push(5 + bytes.readUInt16BE(at + 3));
  return lengths;
}

test("a write of any length arrives whole and in order, and its callback comes", async (t) => {
  const { client, socket } = await pair(t, await tlsServer(t));
  for (const length of [1, 989, 990, 991, 1980, 1981, 5000, 100_000, 300_000, 100_000]) {
    const bytes = randomBytes(length);
    const taken = new Promise((resolve) => socket.write(bytes, resolve));
    assert.deepEqual(await receive(client, length), bytes);
    await taken;
    assert.equal(socket.writableLength, 0);
  }
});

test("writes that queue up behind a long one keep their order", async (t) => {
  const { client, socket } = await pair(t, await tlsServer(t));
  const parts = Array.from({ length: 40 }, (_, i) => randomBytes(i % 3 === 0 ? 20_000 : 100));
  for (const part of parts) socket.write(part);
  const all = Buffer.concat(parts);
  assert.deepEqual(await receive(client, all.length), all);
});

test("the caller may reuse its buffer as soon as a write to an idle socket has returned", async (t) => {
  const { client, socket } = await pair(t, await tlsServer(t));
  const bytes = randomBytes(30_000);
  const copy = Buffer.from(bytes);
  socket.write(bytes);
  bytes.fill(0);
  assert.deepEqual(await receive(client, copy.length), copy);
});

test("a socket that ends after a long write sends all of it first", async (t) => {
  const { client, socket } = await pair(t, await tlsServer(t));
  const bytes = randomBytes(200_000);
  socket.end(bytes);
  assert.deepEqual(await receive(client, bytes.length), bytes);
  client.resume();
  await once(client, "end");
});

test("a client that leaves in the middle of a long write fails it", async (t) => {
  const { client, socket } = await pair(t, await tlsServer(t));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const failed = new Promise<unknown>((resolve) => socket.write(randomBytes(50_000_000), resolve));
  client.destroy();
  assert.ok((await failed) instanceof Error);
  await closed;
});

test("long writes leave in records of 1 KiB at most while a connection sends little", async (t) => {
  const server = await tlsServer(t);
  const tap = await wiretap(t, server);
  const { client, socket } = await pair(t, server, tap.port);
  const before = tap.heard().length;
  socket.write(randomBytes(20_000));
  await receive(client, 20_000);
  const lengths = recordLengths(tap.heard().subarray(before));
  assert.equal(lengths.length, 21);
  assert.ok(Math.max(...lengths) <= 1024, `${lengths}`);
});

test("a connection that sends much goes over to larger records, never above half of Node's buffer", async (t) => {
  const server = await tlsServer(t);
  const tap = await wiretap(t, server);
  const { client, socket } = await pair(t, server, tap.port);
  socket.write(randomBytes(400_000));
  await receive(client, 400_000);
  const before = tap.heard().length;
  socket.write(randomBytes(80_000));
  await receive(client, 80_000);
  assert.deepEqual(new Set(recordLengths(tap.heard().subarray(before))), new Set([8022]));
});
