import assert from "node:assert/strict";
import { test } from "node:test";
import { RawHttp } from "../../support/raw-http.ts";
import { until, Wire } from "../../support/wire.ts";

const SIZE = 100_000;
const HEADER = `POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: ${SIZE}\r\n\r\n`;

test("a body may come at 2 KB/s, and one that stands still ends its connection", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const timeouts = () => wire.edge.metric("breakwater_http_refused_total", { reason: "body_timeout" });
  const before = await timeouts();
  const slow = await RawHttp.connect({ port: wire.edge.http });
  t.after(() => slow.drop());
  const still = await RawHttp.connect({ port: wire.edge.http });
  slow.write(HEADER);
  still.write(`${HEADER}x`);
  // The next request on another connection is answered: what was written before it has been read.
  const other = async () => {
    const http = await RawHttp.connect({ port: wire.edge.http });
    assert.equal((await http.request("GET / HTTP/1.1\nHost: localhost")).status, 404);
    http.drop();
  };
  await other();
  for (let sent = 0; sent < SIZE - 10_000; sent += 10_000) {
    slow.write("x".repeat(10_000));
    await other();
    await other();
    wire.clock.advance({ seconds: 5 });
  }
  await still.closed;
  assert.equal((await timeouts()) - before, 1);
  slow.write("x".repeat(10_000));
  await until(() => slow.received.length > 0, "it is answered");
});

test("a body that comes slower than that is given up", async (t) => {
  const wire = await Wire.start(t, { turned: true });
  const slow = await RawHttp.connect({ port: wire.edge.http });
  slow.write(HEADER);
  const sending = setInterval(() => {
    slow.write("x");
    wire.clock.advance({ seconds: 1 });
  }, 10);
  t.after(() => clearInterval(sending));
  await slow.closed;
});
