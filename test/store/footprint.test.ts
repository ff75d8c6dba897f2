import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "../support/redis.ts";
import { granted, named, openReady, redisOptionsOf } from "./support.ts";

const SESSIONS = 1000;
const KIB = 1024;

test("an idle session takes less than 1 KiB of Redis, all of its keys and their expiry included", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server, { timeout: 10 }));
  const used = async () => Number(/used_memory:(\d+)/.exec(await server.cli("info", "memory"))![1]);
  const before = await used();
  // names as long as names get, and counts that need all their digits
  const owner = "edge-with-a-long-name.eu-central-1.chat.example.org";
  const begin = async (id: string) => {
    const { epoch } = granted(await store.claim(named(id), owner, 3600));
    assert.equal(await store.append(named(id), epoch, 2 ** 32, [Buffer.from("<a/>")], 3600), "stored");
    assert.equal(await store.trim(named(id), epoch, 2 ** 32), "trimmed");
  };
  await Promise.all(Array.from({ length: SESSIONS }, (_, i) => begin(`session ${i}`)));
  const keys = (await server.cli("keys", "*{*")).split("\n");
  assert.equal(keys.length, SESSIONS);
  assert.ok(Number(await server.cli("memory", "usage", keys[0]!)) <= KIB);
  const each = ((await used()) - before) / SESSIONS;
  assert.ok(each <= KIB, `${each} bytes of used_memory for each session`);
  t.diagnostic(
    `MEMORY USAGE ${await server.cli("memory", "usage", keys[0]!)}, used_memory ${Math.round(each)} bytes each`,
  );
});

test("whatever is written for a session expires by itself", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 100));
  await store.append(named("a"), epoch, 1, [Buffer.from("<a/>")], 200);
  const keys = (await server.cli("keys", "*")).split("\n");
  assert.equal(keys.length, 3);
  for (const key of keys) assert.ok(Number(await server.cli("ttl", key)) > 100, key);
});
