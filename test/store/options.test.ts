import assert from "node:assert/strict";
import { test } from "node:test";
import { refreshDelayMs } from "../../src/store/refresh.ts";
import { loaded, mistakesOf, SMALL } from "../config/support.ts";

const SECRET = "stream_management: { resume_secret: what all edges know and nobody else }\n";
const withStore = (...lines: string[]) => `${SMALL}${SECRET}store:\n${lines.map((line) => `  ${line}\n`).join("")}`;

/** What is told of `store`, without its place. */
const told = (...lines: string[]) => mistakesOf(withStore(...lines)).map((line) => line.replace(/^[\d:]+ /, ""));

test("without a section the store is this process's memory", () => {
  assert.equal(loaded(SMALL).config.store.driver, "memory");
});

test("a Redis of one line is a whole configuration", () => {
  const { redis } = loaded(withStore("driver: redis", "redis: { nodes: [redis.internal:6380] }")).config.store;
  assert.deepEqual(redis.nodes, [{ host: "redis.internal", port: 6380 }]);
});

test("a Redis without the secret with which its stanzas are found again is told", () => {
  assert.deepEqual(
    mistakesOf(withStore("driver: redis").replace(SECRET, "")).map((line) => line.replace(/^[\d:]+ /, "")),
    ["store.driver: redis needs `stream_management.resume_secret`: without it nobody could find what is stored"],
  );
});

test("a node without a port is told with what is expected", () => {
  assert.match(told("redis: { nodes: [redis.internal] }")[0]!, /^store\.redis\.nodes\[0\]: expected "host:port"/);
});

test("what does not fit the mode is told with what to do", () => {
  assert.deepEqual(told("redis: { nodes: [a:1, b:2] }"), [
    "store.redis.nodes: has several, as for `mode: sentinel` or `mode: cluster`; a single Redis is one",
  ]);
  assert.deepEqual(told("redis: { mode: sentinel }"), [
    "store.redis.mode: needs `master_name`: how the Sentinels call the master",
  ]);
  assert.deepEqual(told("redis: { mode: cluster, db: 3, master_name: x }"), [
    "store.redis.db: a Redis Cluster has only 0, not 3",
    "store.redis.master_name: has no use: the mode is cluster, not sentinel",
  ]);
  assert.deepEqual(told("redis: { mode: sentinel, master_name: x, nodes: [a:1, b:2] }"), []);
});

test("a user without a password, and halves of a certificate, are told", () => {
  assert.deepEqual(told("redis: { username: edge }"), ["store.redis.username: needs `password` beside it"]);
  assert.deepEqual(told("redis: { tls: { ca: ca.pem } }"), [
    "store.redis.tls.ca: has no use: `enabled` beside it is false",
  ]);
  assert.deepEqual(told("redis: { tls: { enabled: true, key: a.key } }"), [
    "store.redis.tls.key: needs `certificate` beside it",
  ]);
});

test("an unencrypted Redis at a public address is warned of, and files that cannot be read", () => {
  const visible = loaded(withStore("driver: redis", "redis: { mode: cluster, nodes: [8.8.8.8:6379, 10.0.0.1:6379] }"));
  assert.deepEqual(
    visible.warnings.map(({ path }) => path).filter((path) => path.startsWith("store")),
    ["store.redis.nodes[0]"],
  );
  const { warnings: files } = loaded(withStore("redis: { tls: { enabled: true, ca: nowhere.pem } }"));
  assert.match(files.find(({ path }) => path === "store.redis.tls.ca")!.message, /nowhere\.pem/);
});

test("refreshes are spread over 10 to 30 minutes by default", () => {
  const { store } = loaded(SMALL).config;
  assert.deepEqual([refreshDelayMs(store, () => 0), refreshDelayMs(store, () => 1)], [600_000, 1_800_000]);
});
