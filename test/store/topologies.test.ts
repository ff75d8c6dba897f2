import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, test } from "node:test";
import { Secret } from "../../src/base/secret.ts";
import { testAuthority } from "../support/certificates.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import {
  granted,
  named,
  open,
  openReady,
  ready,
  redisOptionsOf,
  rightsOf,
  stanzas,
  touch,
  unready,
} from "./support.ts";

const nodesOf = (servers: readonly RedisServer[]) => servers.map(({ host, port }) => ({ host, port }));

test("Sentinel: when the master hangs, its replica takes over with every session that had reached it", async (t) => {
  const master = await startRedis();
  t.after(() => master.stop());
  const replica = await startRedis({ config: [`replicaof ${master.host} ${master.port}`] });
  t.after(() => replica.stop());
  await until(
    async () => (await replica.cli("info", "replication")).includes("master_link_status:up"),
    "they replicate",
  );
  // On a busy machine a master may be silent for a moment without being dead.
  const sentinel = await startRedis({
    sentinelOf: master,
    config: ["sentinel down-after-milliseconds main 2000"],
  });
  t.after(() => sentinel.stop());
  await until(
    async () => (await sentinel.cli("sentinel", "replicas", "main")).includes(String(replica.port)),
    "the Sentinel knows the replica",
  );
  const rights = rightsOf(/Sentinels \(in their own ACL\) `([^`]+)`/);
  await sentinel.cli("acl", "setuser", "edge", "on", ">pass-for-edge", ...rights.split(" "));
  const login = { sentinel_username: "edge", sentinel_password: new Secret("pass-for-edge") };
  const mode = { ...login, mode: "sentinel", master_name: "main", nodes: nodesOf([sentinel]), timeout: 2 };
  const { store } = await openReady(t, redisOptionsOf(master, mode));
  const { epoch } = granted(await store.claim(named("a"), "edge-a", 60));
  await store.append(named("a"), epoch, 1, stanzas(1, 3), 60);
  await until(
    async () => (await replica.cli("dbsize")) === (await master.cli("dbsize")),
    "the replica has the session",
  );

  master.freeze();
  assert.equal(await touch(store, epoch), "unavailable");
  await until(async () => (await touch(store, epoch)) === "stored", "the new master saves");
  assert.match(await replica.cli("role"), /^master/);
  assert.deepEqual(granted(await store.load(named("a"), epoch, 1, 1e6)).stanzas, stanzas(1, 3));
  await ready(store);

  master.thaw(); // it still believes in itself
  assert.equal(await touch(store, epoch), "stored");
  assert.equal(granted(await store.claim(named("a"), "edge-b", 60)).record?.owner, "edge-a");
  assert.match(await replica.cli("hgetall", String(await replica.cli("keys", "*}a"))), /edge-b/);
});

test("Sentinel: none that answers, and a master that they do not know, are told", async (t) => {
  const master = await startRedis();
  t.after(() => master.stop());
  const options = { mode: "sentinel", master_name: "main", nodes: [{ host: "127.0.0.1", port: 1 }] };
  const { store } = open(t, redisOptionsOf(master, options));
  await unready(store, /All sentinels are unreachable.*check store\.redis\.nodes and master_name/);
});

test("Cluster: sessions are spread over its masters, all keys of an account together, and follow their slots", async (t) => {
  const servers = await theCluster();
  const { store } = await openReady(t, redisOptionsOf(servers[0]!, { mode: "cluster", nodes: nodesOf(servers) }));
  const ids = Array.from({ length: 12 }, (_, i) => `session ${i}`);
  for (const id of ids) {
    const name = named(id, "phone", id);
    const { epoch } = granted(await store.claim(name, "edge-a", 60));
    assert.equal(await touch(store, epoch, name), "stored");
    assert.equal(await store.append(name, epoch, 1, stanzas(1, 2), 60), "stored");
    assert.deepEqual(granted(await store.load(name, epoch, 1, 1e6)).stanzas, stanzas(1, 2));
    assert.equal(granted(await store.inherit(id, "phone", null, "edge-b")).length, 1);
  }
  for (const server of servers) {
    const keys = (await server.cli("keys", "*{*")).split("\n").filter((key) => !/[q}]$/.test(key));
    assert.ok(keys.length > 0, "each master has some");
    // a cluster answers for several keys only when they are in one slot
    for (const key of keys) {
      assert.equal(await server.cli("exists", key, `${key}q`, key.slice(0, key.indexOf("}") + 1)), "3");
    }
  }

  // an empty slot changes its master while the client believes in the old one
  const [from, to] = servers as [RedisServer, RedisServer];
  const [source, target] = [await from.cli("cluster", "myid"), await to.cli("cluster", "myid")];
  const fresh = await emptySlotOf(from);
  const slot = String(fresh.slot);
  await to.cli("cluster", "setslot", slot, "importing", source);
  await from.cli("cluster", "setslot", slot, "migrating", target);
  for (const server of [to, from]) await server.cli("cluster", "setslot", slot, "node", target);
  assert.equal(granted(await store.claim(named("a", "phone", fresh.id), "edge-a", 60)).record, null);
  assert.equal(await to.cli("cluster", "countkeysinslot", slot), "1");
});

test("Cluster: an ACL user with the rights of docs/store.md can do everything", async (t) => {
  const servers = await theCluster();
  const rights = `${rightsOf(/user breakwater on ><password> (.+)/)} ${rightsOf(/A Cluster needs `([^`]+)`/)}`;
  for (const server of servers)
    await server.cli("acl", "setuser", "edge", "on", ">pass-for-edge", ...rights.split(" "));
  const login = { username: "edge", password: new Secret("pass-for-edge") };
  const { store } = await openReady(
    t,
    redisOptionsOf(servers[0]!, { mode: "cluster", nodes: nodesOf(servers), ...login }),
  );
  for (const id of ["a", "b", "c", "d", "e"])
    assert.notEqual(await store.claim(named("a", "phone", id), "edge-a", 60), "unavailable");
});

test("a node of a cluster that is used as a single Redis is told", async (t) => {
  const servers = await theCluster();
  const { store } = open(t, redisOptionsOf(servers[0]!));
  await unready(store, /set store\.redis\.mode to cluster/);
});

test("Cluster: when a master dies the store says so, and heals when it is back", async (t) => {
  const servers = await theCluster();
  const options = { mode: "cluster", nodes: nodesOf(servers) };
  const { store } = await openReady(t, redisOptionsOf(servers[0]!, options));
  await servers[1]!.kill();
  await unready(store, /cluster|ECONNREFUSED|no answer/i);
  assert.equal(await store.claim(named("a"), "edge-a", 60), "unavailable");
  await servers[1]!.start();
  await ready(store);
  await until(async () => (await store.claim(named("a"), "edge-a", 60)) !== "unavailable", "a claim is answered");
});

test("a single Redis that is used as a cluster is told", async (t) => {
  const server = await startRedis();
  t.after(() => server.stop());
  const { store } = open(t, redisOptionsOf(server, { mode: "cluster" }));
  await unready(store, /cluster support disabled.*check store\.redis\.mode/);
});

test("TLS: with the right authority and a certificate of its own the edge is let in", async (t) => {
  const server = await startRedis({ tls: true });
  t.after(() => server.stop());
  const { cert, key, ca } = testAuthority().issue(["edge.example"]);
  const tls = { enabled: true, ca, certificate: cert, key, servername: "localhost" };
  const { store } = await openReady(t, redisOptionsOf(server, { tls }));
  assert.equal(granted(await store.claim(named("a"), "edge-a", 60)).record, null);
});

test("TLS: a stranger's certificate, a wrong name, no certificate of one's own and a plain port are told", async (t) => {
  const server = await startRedis({ tls: true });
  t.after(() => server.stop());
  const plain = await startRedis();
  t.after(() => plain.stop());
  const { cert, key, ca } = testAuthority().issue(["edge.example"]);
  const own = { enabled: true, certificate: cert, key };
  const said = (tls: object, at = server) => open(t, redisOptionsOf(at, { tls, connect_timeout: 0.5 })).store;
  await unready(said({ ...own, servername: "localhost" }), /certificate.*check store\.redis\.tls/);
  await unready(said({ ...own, ca, servername: "other.example" }), /altnames.*check store\.redis\.tls/);
  await unready(said({ enabled: true, ca, servername: "localhost" }), /certificate required.*check store\.redis\.tls/);
  await unready(said({ ...own, ca, servername: "localhost" }, plain), /are store\.redis\.nodes and tls right/);
  await unready(said({ enabled: false }), /are store\.redis\.nodes and tls right/);
});

test("TLS: a file that cannot be read is refused with its option", async (t) => {
  const tls = { enabled: true, ca: "/nowhere/ca.pem" };
  const options = redisOptionsOf({ host: "127.0.0.1", port: 1 } as RedisServer, { tls });
  assert.throws(() => open(t, options), /store\.redis\.tls\.ca: .*\/nowhere\/ca\.pem/);
});

const servers: RedisServer[] = [];
after(async () => {
  for (const server of servers) await server.stop();
});

/** One for all tests here: three masters. */
async function theCluster(): Promise<RedisServer[]> {
  if (servers.length > 0) return servers;
  for (const range of [
    ["0", "5460"],
    ["5461", "10922"],
    ["10923", "16383"],
  ]) {
    const server = await startRedis({ cluster: true });
    servers.push(server);
    await server.cli("cluster", "addslotsrange", ...range);
    await server.cli("config", "set", "cluster-announce-ip", server.host);
    const first = servers[0]!;
    if (server !== first) await server.cli("cluster", "meet", first.host, String(first.port), String(first.busPort));
  }
  const agreed = async (server: RedisServer) => {
    const info = await server.cli("cluster", "info");
    return info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3");
  };
  for (const server of servers) await until(() => agreed(server), "the cluster is one");
  return servers;
}

/** An id whose slot is on `server` and holds no key yet. */
async function emptySlotOf(server: RedisServer): Promise<{ id: string; slot: number }> {
  for (let i = 0; ; i++) {
    const id = `fresh ${i}`;
    const tag = createHash("sha256").update(id).digest("base64url").slice(0, 24);
    const slot = Number(await server.cli("cluster", "keyslot", tag));
    if (slot <= 5460 && (await server.cli("cluster", "countkeysinslot", String(slot))) === "0") return { id, slot };
  }
}
