import assert from "node:assert/strict";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { Health } from "../../src/ops/health.ts";
import { type OpsServer, startOpsServer } from "../../src/ops/http.ts";
import { Metrics } from "../../src/ops/metrics.ts";

async function ops(t: TestContext, health = new Health()): Promise<{ server: OpsServer; url: string }> {
  const listen = { host: "127.0.0.1", port: 0 };
  const server = await startOpsServer({ listen, health, metrics: new Metrics() });
  t.after(() => server.close());
  return { server, url: `http://127.0.0.1:${server.address.port}` };
}

test("/healthz answers 200 as long as the loop turns, whatever the checks say", async (t) => {
  const health = new Health();
  health.register("core", () => "unreachable");
  const { url } = await ops(t, health);
  const response = await fetch(`${url}/healthz`);
  assert.equal(response.status, 200);
});

test("/readyz answers 503 with the checks that fail, and 200 when none does", async (t) => {
  const health = new Health();
  let answer: true | string = "core main refuses connections";
  health.register("core main", () => answer);
  health.register("listeners", () => true);
  const { url } = await ops(t, health);
  const failing = await fetch(`${url}/readyz`);
  assert.equal(failing.status, 503);
  assert.deepEqual(await failing.json(), {
    status: "not ready",
    failing: [{ name: "core main", reason: "core main refuses connections" }],
  });
  answer = true;
  const ready = await fetch(`${url}/readyz?verbose`);
  assert.equal(ready.status, 200);
  assert.deepEqual(await ready.json(), { status: "ready" });
});

test("a check that throws counts as failing, and one that is gone is not asked", async (t) => {
  const health = new Health();
  health.register("broken", () => {
    throw new Error("cannot tell");
  });
  const { url } = await ops(t, health);
  assert.deepEqual(health.failures(), [{ name: "broken", reason: "cannot tell" }]);
  health.unregister("broken");
  assert.equal((await fetch(`${url}/readyz`)).status, 200);
});

test("/metrics is Prometheus text; HEAD gives its length without it", async (t) => {
  const { url } = await ops(t);
  const response = await fetch(`${url}/metrics`);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  assert.match(await response.text(), /^# HELP /);
  const head = await fetch(`${url}/metrics`, { method: "HEAD" });
  assert.ok(Number(head.headers.get("content-length")) > 0);
  assert.equal(await head.text(), "");
});

test("other paths are 404 and other methods 405", async (t) => {
  const { url } = await ops(t);
  assert.equal((await fetch(`${url}/`)).status, 404);
  assert.equal((await fetch(`${url}/metrics/../../etc/passwd`)).status, 404);
  const post = await fetch(`${url}/metrics`, { method: "POST", body: "x".repeat(100_000) });
  assert.equal(post.status, 405);
  assert.equal(post.headers.get("allow"), "GET, HEAD");
});

test("a request with headers without end is refused", async (t) => {
  const { server } = await ops(t);
  const answer = await new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect(server.address.port, "127.0.0.1", () => {
      socket.write(`GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n\r\n`);
    });
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    socket.on("close", () => resolve(text)).on("error", reject);
  });
  assert.match(answer, /^HTTP\/1\.1 431 /);
});

test("a port that is taken is told in a sentence that says what to do", async (t) => {
  const { server } = await ops(t);
  const again = startOpsServer({ listen: server.address, health: new Health(), metrics: new Metrics() });
  await assert.rejects(again, {
    code: "BW_OPS_LISTEN",
    message: `ops.listen 127.0.0.1:${server.address.port} cannot be opened: another program listens there; stop it or choose another port`,
  });
});

test("closing drops connections that are kept alive", async () => {
  const listen = { host: "127.0.0.1", port: 0 };
  const server = await startOpsServer({ listen, health: new Health(), metrics: new Metrics({ nodeMetrics: false }) });
  const socket = connect(server.address.port, "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await server.close();
  await closed;
});
