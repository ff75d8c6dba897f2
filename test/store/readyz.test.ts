import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis, until } from "../support/redis.ts";
import { Wire } from "../support/wire.ts";

test("an edge whose Redis is gone is not ready and says why, serves its clients, and heals", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const wire = await Wire.start(t, {
    config: `stream_management: { resume_secret: what all edges know and nobody else }\nstore:\n  driver: redis\n  redis: { nodes: ["${server.address}"], probe_interval: 1 }\n`,
  });
  const ask = () => fetch(`http://127.0.0.1:${wire.edge.breakwater.ops.port}/readyz`);
  await until(async () => (await ask()).status === 200, "the edge is ready");
  assert.equal(await wire.edge.metric("breakwater_store_up"), 1);

  await server.kill();
  await until(async () => (await ask()).status === 503, "the edge is not ready");
  assert.match(await (await ask()).text(), /store.*Redis at 127\.0\.0\.1:\d+: .*is Redis up/);
  assert.equal(await wire.edge.metric("breakwater_store_up"), 0);
  await wire.managed();

  await server.start();
  await until(async () => (await ask()).status === 200, "the edge is ready again");
});

test("an edge starts without its Redis and is not ready yet", async (t) => {
  const config =
    'stream_management: { resume_secret: what all edges know and nobody else }\nstore:\n  driver: redis\n  redis: { nodes: ["127.0.0.1:1"] }\n';
  const wire = await Wire.start(t, { config });
  const answer = await fetch(`http://127.0.0.1:${wire.edge.breakwater.ops.port}/readyz`);
  assert.equal(answer.status, 503);
  assert.match(await answer.text(), /store/);
});
