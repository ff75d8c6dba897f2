import assert from "node:assert/strict";
import { test } from "node:test";
import { meter } from "../../src/base/meter.ts";
import { Secret } from "../../src/base/secret.ts";
import { startRedis, until } from "../support/redis.ts";
import {
  granted,
  named,
  open,
  openReady,
  ready,
  redisOptionsOf,
  rightsOf,
  stanzas,
  taken,
  touch,
  unready,
} from "./support.ts";

const TIMEOUT_MS = 500;
/** Operations that are asked for at once. */
const AT_ONCE = 50;
/** A machine may be busy: "at once" is what comes before any deadline. */
const LONG_TIMEOUT_MS = 10_000;

async function milliseconds(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}

/** How many operations and probes have been sent to Redis and are over, with an answer or without. */
function sentSoFar(): number {
  const series = [...meter.all()].find((metric) => metric.name === "breakwater_store_seconds");
  if (!series || !("counts" in series)) throw new Error("no times of operations");
  return series.count;
}

/** The value that a scrape would show. */
function shown(name: string, labels: Record<string, string> = {}): number {
  const series = [...meter.all()].find((metric) => metric.name === name);
  if (!series || !("cells" in series)) throw new Error(`no metric ${name}`);
  const wanted = JSON.stringify(labels);
  return [...series.cells()].find((entry) => JSON.stringify(entry.labels) === wanted)?.cell.value ?? 0;
}

test("a Redis that is killed and started again, empty: unavailable at once, then a claim begins anew", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store, log } = await openReady(t, redisOptionsOf(server, { timeout: LONG_TIMEOUT_MS / 1000 }));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  await store.append(named("a"), epoch, 1, stanzas(1, 2), 60);
  assert.equal(shown("breakwater_store_up"), 1);

  await server.kill();
  const took = await milliseconds(async () => {
    assert.equal(await touch(store, epoch), "unavailable");
    assert.equal(await store.load(named("a"), 1, 1, 1000), "unavailable");
  });
  assert.ok(took < LONG_TIMEOUT_MS, `${took} ms`);
  await unready(store, /^Redis at 127\.0\.0\.1:\d+: .*ECONNREFUSED.*is Redis up/);
  assert.equal(shown("breakwater_store_up"), 0);
  assert.ok(shown("breakwater_store_errors_total", { operation: "append", reason: "disconnected" }) >= 1);

  await server.start();
  await ready(store);
  assert.equal(await store.append(named("a"), epoch, 3, stanzas(3, 3), 60), "lost");
  assert.equal(await taken(store, "a"), null);
  assert.match(log(), /"event":"store unavailable"/);
  assert.match(log(), /"event":"store available"/);
});

test("a Redis that hangs: unavailable within the timeout, later at once, and whole again when it goes on", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server, { timeout: TIMEOUT_MS / 1000 }));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));

  server.freeze();
  const first = await milliseconds(async () => {
    const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => touch(store, epoch)));
    assert.deepEqual(new Set(answers), new Set(["unavailable"]));
  });
  assert.ok(first >= TIMEOUT_MS - 5, `${first} ms`);
  assert.ok(first < (AT_ONCE * TIMEOUT_MS) / 2, `${first} ms: they waited for each other`);
  await unready(store, /no answer within 500 ms/);
  const before = sentSoFar();
  for (let i = 0; i < 1000; i++) assert.equal(await store.load(named("a"), 1, 1, 1000), "unavailable");
  const sent = sentSoFar() - before;
  assert.ok(sent < 1000, `${sent} of 1000 refusals were sent first`);

  server.thaw();
  await ready(store);
  assert.equal(await touch(store, epoch), "stored");
});

test("a connection that stays silent is given up for a new one", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server, { timeout: 0.1 }));
  const ofTheEdge = async () => /id=(\d+) .*name=breakwater/.exec(await server.cli("client", "list"))?.[1];
  const before = await ofTheEdge();
  assert.ok(before);
  server.freeze();
  await unready(store, /Socket timeout/);
  server.thaw();
  await ready(store);
  assert.notEqual(await ofTheEdge(), before);
});

test("a Redis that has become a replica refuses writes; reads go on, and it heals with its role", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));

  await server.cli("replicaof", "127.0.0.1", "1");
  assert.equal(await touch(store, epoch), "unavailable");
  await unready(store, /READONLY.*point store\.redis\.nodes at the master/);
  await until(
    async () => (await store.load(named("a"), epoch, 1, 1000)) !== "unavailable",
    "the connection is there again",
  );
  assert.equal(granted(await store.load(named("a"), epoch, 1, 1000)).stanzas.length, 0);

  await server.cli("replicaof", "no", "one");
  await ready(store);
  assert.equal(await touch(store, epoch), "stored");
});

test("a full Redis takes nothing new, but what shrinks it goes on", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  await store.append(named("a"), epoch, 1, stanzas(1, 5), 60);

  await server.cli("config", "set", "maxmemory", "1");
  assert.equal(await store.append(named("a"), epoch, 6, stanzas(6, 6), 60), "unavailable");
  await unready(store, /OOM.*raise its maxmemory/);
  assert.ok(shown("breakwater_store_errors_total", { operation: "append", reason: "full" }) >= 1);
  assert.deepEqual(granted(await store.load(named("a"), epoch, 1, 1e6)).stanzas, stanzas(1, 5));
  assert.equal(await store.release(named("a"), epoch), "released");

  await server.cli("config", "set", "maxmemory", "0");
  await ready(store);
  assert.equal(granted(await store.claim(named("a"), "edge-a", 60)).record, null);
});

test("a trim and an append to a full Redis leave the stanzas whole", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  await store.append(named("a"), epoch, 1, stanzas(1, 5), 60);
  await server.cli("config", "set", "maxmemory", "1");
  const trimmed = await store.trim(named("a"), epoch, 2);
  await store.append(named("a"), epoch, 6, stanzas(6, 6), 60);
  await server.cli("config", "set", "maxmemory", "0");
  const from = trimmed === "trimmed" ? 3 : 1;
  assert.deepEqual(granted(await store.load(named("a"), epoch, 1, 1e6)).stanzas, stanzas(from, 5));
});

test("forgotten scripts are sent again", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  await server.cli("script", "flush");
  assert.equal(await touch(store, epoch), "stored");
});

test("connections that Redis closes come back", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  await server.cli("client", "kill", "type", "normal");
  await until(async () => (await store.load(named("a"), 1, 1, 1000)) === "lost", "a load is answered again");
});

test("a wrong password is told without being shown, and the right one heals it", async (t) => {
  const server = await startRedis({ config: ["requirepass the-right-one"] });
  t.after(() => server.stop());
  const { store, log } = open(t, redisOptionsOf(server, { password: new Secret("hunter2-wrong") }));
  await unready(store, /WRONGPASS.*check store\.redis\.username and store\.redis\.password/);
  assert.equal(await store.claim(named("a"), "edge-a", 60), "unavailable");
  await server.cli("-a", "the-right-one", "--no-auth-warning", "config", "set", "requirepass", "hunter2-wrong");
  await ready(store);
  assert.ok(!log().includes("hunter2"));
});

test("no password where one is needed is told", async (t) => {
  const server = await startRedis({ config: ["requirepass the-right-one"] });
  t.after(() => server.stop());
  const { store } = open(t, redisOptionsOf(server));
  await unready(store, /NOAUTH.*check store\.redis\.username/);
});

/** The rights that docs/store.md tells operators to give. */
const RIGHTS = rightsOf(/user breakwater on ><password> (.+)/);

test("an ACL user with the rights of docs/store.md can do everything", async (t) => {
  const server = await startRedis({ config: [`user edge on >pass-for-edge ${RIGHTS}`] });
  t.after(() => server.stop());
  const options = redisOptionsOf(server, { username: "edge", password: new Secret("pass-for-edge"), db: 3 });
  const { store } = await openReady(t, options);
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  assert.equal(await touch(store, epoch), "stored");
  assert.equal(await store.append(named("a"), epoch, 1, stanzas(1, 3), 60), "stored");
  assert.equal(await store.trim(named("a"), epoch, 1), "trimmed");
  assert.equal(granted(await store.load(named("a"), epoch, 1, 1e6)).stanzas.length, 2);
  assert.equal(await store.release(named("a"), epoch), "released");
});

for (const lacking of RIGHTS.split(" ").filter((right) => /^\+(?!client|select)/.test(right))) {
  test(`an ACL user without ${lacking} is told before a session needs it`, async (t) => {
    const server = await startRedis();
    t.after(() => server.stop());
    await server.cli(
      "acl",
      "setuser",
      "edge",
      "reset",
      "on",
      ">pass-for-edge",
      ...RIGHTS.split(" "),
      `-${lacking.slice(1)}`,
    );
    const { store } = open(t, redisOptionsOf(server, { username: "edge", password: new Secret("pass-for-edge") }));
    await unready(store, /(NOPERM|can't run|No permissions).*the ACL user lacks a right: docs\/store\.md/i);
  });
}

test("after its end a store answers unavailable and does not connect again", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = await openReady(t, redisOptionsOf(server));
  store.close();
  assert.equal(await store.load(named("a"), 1, 1, 1000), "unavailable");
  await until(async () => !(await server.cli("client", "list")).includes("breakwater"), "its connection is gone");
});
