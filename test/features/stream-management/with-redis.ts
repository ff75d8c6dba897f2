// For tests of what is stored: a Redis, a view of what is in it, and edges that use it. One per test file.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, beforeEach, type TestContext } from "node:test";
import { systemClock } from "../../../src/base/clock.ts";
import { silentLog } from "../../../src/base/log.ts";
import { Secret } from "../../../src/base/secret.ts";
import { ResumeTokens } from "../../../src/features/stream-management/resume-token.ts";
import { sealed, storedName } from "../../../src/features/stream-management/safe.ts";
import { RedisStore } from "../../../src/store/redis-store.ts";
import { NS } from "../../../src/xmpp/ns.ts";
import { redisOptionsOf } from "../../store/support.ts";
import type { StreamManagement } from "../../support/clients/raw-client.ts";
import { type RedisServer, startRedis } from "../../support/redis.ts";
import { until, Wire } from "../../support/wire.ts";

const SECRET = "what all edges know and nobody else";
const SENT = 0x6000_0000; // a second in the past, so that it is told when a stanza was due

export let redis: RedisServer;
export let store: RedisStore;
before(async () => {
  redis = await startRedis();
  store = new RedisStore(redisOptionsOf(redis), { clock: systemClock, log: silentLog });
  await until(() => store.readiness() === true, "the test has its store");
});
beforeEach(async () => void (await redis.cli("flushall")));
after(async () => {
  store.close();
  await redis.stop();
});

/** `patience`: stanzas that the core keeps. `timeout`: seconds that Redis has for an answer. Further YAML: of the store, and of stream management. */
export async function edgeWithRedis(
  t: TestContext,
  { patience = 40, store = "", sm = "", timeout = 1 } = {},
): Promise<Wire> {
  const wire = await Wire.start(t, {
    config: `
stream_management: { resume_secret: "${SECRET}", hold_time: 300, ${sm} }
store: { driver: redis, redis: { nodes: ["${redis.address}"], timeout: ${timeout}, probe_interval: 1 }, ${store} }`,
    coreConfig: `    max_unacked: ${patience}`,
  });
  await storeUp(wire);
  return wire;
}

export function storeUp(wire: Wire): Promise<void> {
  return until(async () => (await wire.edge.metric("breakwater_store_up")) === 1, "the edge has its store");
}

export const message = (body: string) => Buffer.from(`<message from='bob@localhost/x'><body>${body}</body></message>`);
export const bodies = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);
export const nameOf = (id: string, resource = "phone") => storedName("alice@localhost", resource, id);

function keyOf(id: string): string {
  const { account, session } = nameOf(id);
  return `breakwater:{${createHash("sha256").update(account).digest("base64url").slice(0, 24)}}${session}`;
}

/** The numbers that are stored for the session with this resume id; null: nothing is. */
export async function range(id: string) {
  const [first, next] = (await redis.cli("hmget", keyOf(id), "f", "n")).split("\n");
  return first ? { first: Number(first), next: Number(next) } : null;
}

/** Who owns it: an epoch. */
export const ownerOf = (id: string): Promise<string> => redis.cli("hget", keyOf(id), "e");
export const forgotten = (id: string): Promise<void> =>
  until(async () => (await redis.cli("exists", keyOf(id))) === "0", "the store has forgotten it");

/** The resume id of a session of alice's phone that another edge had; so many stanzas came before its `<enable/>`. */
export function token(beforeClient = 0): string {
  return new ResumeTokens(new Secret(SECRET), 30 * 86_400, systemClock).seal({
    core: "main",
    coreId: "core's own",
    xmlns: NS.sm,
    jid: "alice@localhost/phone",
    maxSeconds: 300,
    beforeClient,
  });
}

/** What a client knows of it that has handled so many stanzas. */
export function held(id: string, handled: number): StreamManagement {
  return { ns: NS.sm, id, max: 300, handled, acked: 0, unacked: [] };
}

/** Stores the stanzas from `first` on, as the other edge did, for a session that is alive for `seconds`. */
export async function stored(
  id: string,
  first: number,
  stanzas: readonly Buffer[],
  { resource = "phone", seconds = 60 } = {},
): Promise<void> {
  const name = nameOf(id, resource);
  const claim = await store.claim(name, "another edge", seconds);
  assert.notEqual(claim, "unavailable");
  const { epoch } = claim as { epoch: number };
  const whole = stanzas.map((bytes) => sealed(bytes, 0, bytes.length, SENT));
  assert.equal(await store.append(name, epoch, first, whole, seconds), "stored");
}
