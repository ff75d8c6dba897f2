import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { Janitor } from "../../../src/base/janitor.ts";
import { silentLog } from "../../../src/base/log.ts";
import { Admission } from "../../../src/edge/admission.ts";
import { HttpPort } from "../../../src/edge/http/http-port.ts";
import { httpRefused } from "../../../src/edge/http/route.ts";
import { httpOptions } from "../../../src/edge/options.ts";
import { TurnedClock } from "../../support/clock.ts";
import { RawHttp } from "../../support/raw-http.ts";
import { until } from "../../support/wire.ts";

const SIZE = 16 * 1024 * 1024;

/** A port that answers with more than any socket holds; `pending` is what the edge still has of it. */
async function port(t: TestContext) {
  const clock = new TurnedClock();
  const options = httpOptions.parse({ write_timeout: 30 });
  const admission = new Admission({ maxConnections: 10, maxConnectionsPerIp: 0 });
  const janitor = new Janitor(clock);
  const http = new HttpPort({ clock, janitor, admission, log: silentLog, options: () => options });
  http.add({ path: "/large", methods: ["GET"], handle: (_, response) => void response.end(Buffer.alloc(SIZE, "x")) });
  const here = { address: "127.0.0.1", port: 0 };
  let pending = () => 0;
  let destroyed = () => false;
  const server = createServer((socket) => {
    pending = () => socket.writableLength;
    destroyed = () => socket.destroyed;
    http.take(socket, { client: here, server: here, secure: true, forwarded: null });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const client = await RawHttp.connect({ port: (server.address() as { port: number }).port });
  t.after(() => client.drop());
  client.write("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.expect(/200 OK/);
  client.socket.pause();
  return { clock, client, pending: () => pending(), destroyed: () => destroyed() };
}

/** Until the kernel takes no more. */
async function settled(pending: () => number): Promise<void> {
  let before = -1;
  await until(async () => {
    const same = pending() === before;
    before = pending();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    return same && pending() === before;
  }, "nothing moves");
}

test("an answer that nobody takes ends its connection after write_timeout", async (t) => {
  const { clock, client, pending, destroyed } = await port(t);
  const counted = httpRefused.cell("write_timeout").value;
  await settled(pending);
  assert.ok(pending() > 0);
  const seconds = 30 + pending() / 2000;
  clock.advance({ seconds: seconds - 1 });
  assert.equal(destroyed(), false);
  clock.advance({ seconds: 4 });
  assert.equal(destroyed(), true);
  assert.equal(httpRefused.cell("write_timeout").value - counted, 1);
  client.socket.resume();
  await client.closed;
});

test("a client that takes its answer slowly gets all of it", async (t) => {
  const { clock, client, pending, destroyed } = await port(t);
  await settled(pending);
  while (client.received.length < SIZE) {
    const { length } = client.received;
    client.socket.once("data", () => client.socket.pause());
    client.socket.resume();
    await until(() => client.received.length > length, "some of it was taken");
    clock.advance({ seconds: pending() > 0 ? 20 : 1 });
  }
  assert.equal(destroyed(), false);
});
