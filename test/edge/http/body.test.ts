import assert from "node:assert/strict";
import { createServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { Janitor } from "../../../src/base/janitor.ts";
import { silentLog } from "../../../src/base/log.ts";
import { Admission } from "../../../src/edge/admission.ts";
import { readBody } from "../../../src/edge/http/body.ts";
import { HttpPort } from "../../../src/edge/http/http-port.ts";
import { answer } from "../../../src/edge/http/route.ts";
import { httpOptions } from "../../../src/edge/options.ts";
import { TurnedClock } from "../../support/clock.ts";
import { RawHttp } from "../../support/raw-http.ts";
import { until } from "../../support/wire.ts";

/** A port with one route that takes 10 bytes and answers with them. */
async function port(t: TestContext) {
  const clock = new TurnedClock();
  const janitor = new Janitor(clock);
  const admission = new Admission({ maxConnections: 10, maxConnectionsPerIp: 0 });
  const options = httpOptions.parse({});
  const http = new HttpPort({ clock, janitor, admission, log: silentLog, options: () => options });
  const bodies: string[] = [];
  const { promise: asked, resolve: tell } = Promise.withResolvers<void>();
  http.add({
    path: "/echo",
    methods: ["POST"],
    handle: (request, response) => {
      readBody(request, { maxBytes: 10 }, (body) => {
        bodies.push(String(body));
        if (body === "too-large") answer(response, 413, "too large", { Connection: "close" });
        else if (body !== "aborted") answer(response, 200, body.toString());
      });
      tell();
    },
  });
  const here = { address: "127.0.0.1", port: 0 };
  const server: Server = createServer((socket) => {
    http.take(socket, { client: here, server: here, secure: true, forwarded: null });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const client = await RawHttp.connect({ port: (server.address() as { port: number }).port });
  t.after(() => client.drop());
  return { client, clock, asked, bodies, http };
}

const POST = "POST /echo HTTP/1.1\nHost: localhost";
const wire = (text: string) => text.replaceAll("\n", "\r\n");

test("a body comes whole, by length or in chunks, and requests may be pipelined", async (t) => {
  const { client } = await port(t);
  client.write(wire(`${POST}\nContent-Length: 5\n\nfirst${POST}\nTransfer-Encoding: chunked\n\n3\nsec\n3\nond\n0\n\n`));
  await client.expect(/200 OK[\s\S]*\r\n\r\nfirst\n[\s\S]*200 OK[\s\S]*\r\n\r\nsecond\n/);
  client.write(wire(`${POST}\nContent-Length: 0\n\n`));
  await client.expect(/200 OK/);
});

test("a body that is or becomes too large is refused, and the connection closed", async (t) => {
  for (const request of [
    `${POST}\nContent-Length: 11\n\n`,
    `${POST}\nTransfer-Encoding: chunked\n\n8\n12345678\n8\n12345678\n`,
  ]) {
    const { client, bodies } = await port(t);
    client.write(wire(request));
    await client.expect(/413 [\s\S]*connection: close/i);
    await client.closed;
    assert.deepEqual(bodies, ["too-large"]);
  }
});

test("a body that takes too long ends the connection; a request that is being answered has all the time", async (t) => {
  const { client, clock, asked, bodies } = await port(t);
  client.write(wire(`${POST}\nContent-Length: 5\n\nfir`));
  await asked; // from here on it is the body's time, no longer the header's
  clock.advance({ seconds: 25 });
  await client.closed;
  await until(() => bodies.length > 0, "the reader is told");
  assert.deepEqual(bodies, ["aborted"]);
});

test("when the port stops, idle connections are closed and no other is kept", async (t) => {
  const { client, http } = await port(t);
  client.write(wire(`${POST}\nContent-Length: 2\n\nok`));
  await client.expect(/ok\n/);
  http.stop();
  await client.closed;
});
