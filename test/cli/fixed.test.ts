import assert from "node:assert/strict";
import { test } from "node:test";
import { fixedOf, mistakesAgainst } from "../../src/cli/upgrade/fixed.ts";
import { type LoadedConfig, parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { SMALL } from "../config/support.ts";

const SECRET = "stream_management: { resume_secret: what all edges know and nobody else }\n";

function load(more: string): LoadedConfig {
  const loaded = parseConfig(`${SMALL}${SECRET}${more}`, "breakwater.yaml");
  if (loaded instanceof ConfigMistakes) throw new Error(loaded.lines().join("\n"));
  return loaded;
}

const LINE = SMALL.split("\n").length + 1;
const WHAT_TO_DO = "keep it for the upgrade; to change it, stop the edge (SIGTERM drains it) and start it anew";
const REDIS = "store: { driver: redis, redis: { nodes: ['one:6379'], password: secret } }\n";

/** What is said of a new version with `after` where `before` runs. */
function said(before: string, after: string): string[] {
  return mistakesAgainst(fixedOf(load(before).config), load(after))?.lines() ?? [];
}

test("another store, or another place in it, is refused with its place in the file and what to do", () => {
  const waits = `and stanzas of sleeping clients wait there: ${WHAT_TO_DO}`;
  assert.deepEqual(said(REDIS, "store: { driver: memory }\n"), [
    `breakwater.yaml:${LINE}:18: store.driver: the running edge has "redis", ${waits}`,
  ]);
  assert.deepEqual(said("", REDIS), [
    `breakwater.yaml:${LINE}:18: store.driver: the running edge has "memory", ${waits}`,
  ]);
  assert.match(said(REDIS, "")[0]!, /store\.driver: the running edge has "redis"/);
  const moved = REDIS.replace("one:6379", "two:6379").replace("password", "db: 3, key_prefix: 'b:', password");
  assert.deepEqual(
    said(REDIS, moved).map((line) => line.split(": ").slice(1, 3).join(": ")),
    [
      'store.redis.nodes: the running edge has ["one:6379"], and stanzas of sleeping clients wait there',
      "store.redis.db: the running edge has 0, and stanzas of sleeping clients wait there",
      'store.redis.key_prefix: the running edge has "breakwater:", and stanzas of sleeping clients wait there',
    ],
  );
});

test("what is no other place may change: a password, a timeout, a bound, Redis' address where there is none", () => {
  const mended = REDIS.replace("password: secret", "password: other, timeout: 2").replace(
    "redis,",
    "redis, max_session_stanzas: 20,",
  );
  assert.deepEqual(said(REDIS, mended), []);
  assert.deepEqual(said("", "store: { driver: memory, redis: { nodes: ['two:6379'] } }\n"), []);
});

test("another number of workers is refused", () => {
  assert.deepEqual(said("workers: 2\n", "workers: 4\n"), [
    `breakwater.yaml:${LINE}:10: workers: the running edge has 2, and each worker gives its sessions to the one with its number: ${WHAT_TO_DO}`,
  ]);
  assert.equal(said("workers: 2\n", "").length, 1);
  assert.deepEqual(said("workers: 2\n", "workers: 2\n"), []);
});
