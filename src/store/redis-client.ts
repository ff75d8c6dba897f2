import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { type RedisOptions as ClientOptions, Cluster, Redis } from "ioredis";
import type { Clock } from "../base/clock.ts";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import type { RedisOptions } from "./options.ts";

export type RedisClient = Redis | Cluster;

const RETRY_MS = { first: 100, most: 5000 };
// What a node may stay silent while it owes answers: then the connection is dead, whatever TCP believes.
const SILENCE_TIMEOUTS = 3;
const READONLY_RECONNECT_MS = 1000;

/**
 * The library's client, set to fail fast: nothing waits in a queue for a connection and nothing is sent twice. It connects
 * at once and again for ever. Throws when a file of `tls` cannot be read.
 */
export function createRedisClient(options: RedisOptions, clock: Clock): RedisClient {
  const { mode, nodes, db, timeout, connect_timeout } = options;
  const tls = options.tls.enabled ? tlsOptions(options.tls) : undefined;
  const timeoutMs = timeout * 1000;
  const common = {
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password.reveal() }),
    ...(tls === undefined ? {} : { tls }),
    protocol: 2 as const, // nothing of the newer one is needed, and every server has it
    connectionName: "breakwater",
    disableClientInfo: true,
    connectTimeout: connect_timeout * 1000,
    socketTimeout: timeoutMs * SILENCE_TIMEOUTS,
    disconnectTimeout: timeoutMs,
    enableReadyCheck: false, // our own probe asks for more
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
  } satisfies ClientOptions;
  if (mode === "cluster") {
    const { enableOfflineQueue: _, ...redisOptions } = common;
    return new Cluster([...nodes], {
      redisOptions,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryDelay,
      clusterNodeRetryStrategy: retryDelay,
      slotsRefreshTimeout: timeoutMs,
      slotsRefreshInterval: 30_000,
      maxRedirections: 6,
      // certificates carry names: they must not become addresses first
      ...(tls === undefined ? {} : { dnsLookup: (host, use) => use(null, host) }),
    });
  }
  const single = {
    ...common,
    db,
    retryStrategy: retryDelay,
    reconnectOnError: oncePerWhile(clock),
  } satisfies ClientOptions;
  if (mode === "single") return new Redis({ ...single, ...nodes[0]! });
  return new Redis({
    ...single,
    sentinels: nodes.map(({ host, port }) => ({ host, port })),
    name: options.master_name!,
    sentinelRetryStrategy: retryDelay,
    sentinelCommandTimeout: timeoutMs,
    failoverDetector: true,
    ...(options.sentinel_username === undefined ? {} : { sentinelUsername: options.sentinel_username }),
    ...(options.sentinel_password === undefined ? {} : { sentinelPassword: options.sentinel_password.reveal() }),
    ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
  });
}

/** Twice as long each time, and a random half of it, so that edges do not come back together. */
export function retryDelay(attempt: number): number {
  const longest = Math.min(RETRY_MS.first * 2 ** Math.min(attempt, 20), RETRY_MS.most);
  return Math.round(longest * (0.5 + Math.random() / 2));
}

// A master that has become a replica: the name, or the Sentinels, may lead to the new one by now.
function oncePerWhile(clock: Clock): (error: Error) => boolean {
  let last = -Infinity;
  return (error) => {
    if (!error.message.startsWith("READONLY") || clock.now() - last < READONLY_RECONNECT_MS) return false;
    last = clock.now();
    return true;
  };
}

function tlsOptions({ ca, servername, certificate, key }: RedisOptions["tls"]): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca: read("ca", ca) }),
    ...(certificate === undefined ? {} : { cert: read("certificate", certificate) }),
    ...(key === undefined ? {} : { key: read("key", key) }),
    ...(servername === undefined ? {} : { servername }),
  };
}

function read(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new BreakwaterError("BW_STORE_FILE", `store.redis.tls.${option}: ${messageOf(error)}`, { cause: error });
  }
}
