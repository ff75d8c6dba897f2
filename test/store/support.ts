import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { PassThrough } from "node:stream";
import { systemClock } from "../../src/base/clock.ts";
import { createLog } from "../../src/base/log.ts";
import type { SessionRecord, Store, StoredName } from "../../src/session/stanza-store.ts";
import { openStore } from "../../src/store/open.ts";
import { type StoreOptions, storeOptions } from "../../src/store/options.ts";
import { type RedisServer, until } from "../support/redis.ts";

/** Options as from a file: what is not given has its default. `redis` may hold values that a file may not. */
export function optionsWith(given: { store?: object; redis?: object } = {}): StoreOptions {
  const defaults = storeOptions.parse({});
  return { ...defaults, ...given.store, redis: { ...defaults.redis, ...given.redis } };
}

/** With more patience than by default: a busy machine is no fault of Redis. */
export function redisOptionsOf(server: RedisServer, redis: object = {}, store: object = {}): StoreOptions {
  const nodes = [{ host: server.host, port: server.port }];
  return optionsWith({
    store: { driver: "redis", ...store },
    redis: { nodes, probe_interval: 1, timeout: 5, ...redis },
  });
}

/** A store together with what it logs. */
export interface OpenStore {
  readonly store: Store;
  readonly log: () => string;
}

/** Opened but perhaps not connected. Closed at the end of the test. */
export function open(t: { after(run: () => void): void }, options: StoreOptions): OpenStore {
  const lines = new PassThrough();
  let text = "";
  lines.on("data", (chunk) => {
    text += chunk;
  });
  const log = createLog({ level: "debug", destination: lines });
  const store = openStore(options, { clock: systemClock, log });
  t.after(() => store.close());
  return { store, log: () => text };
}

/** The same, and Redis takes writes. */
export async function openReady(t: { after(run: () => void): void }, options: StoreOptions): Promise<OpenStore> {
  const opened = open(t, options);
  await ready(opened.store);
  return opened;
}

export function ready(store: Store): Promise<void> {
  return until(() => store.readiness() === true, "the store is ready");
}

/** Waits until /readyz would say this. */
export async function unready(store: Store, reason: RegExp): Promise<void> {
  await until(() => reason.test(String(store.readiness())), `readiness says ${reason}`).catch((error) => {
    throw new Error(`${error.message}; it says ${store.readiness()}`);
  });
}

/** The answer, which is no refusal. */
export function granted<Answer>(answer: Answer): Exclude<Answer, string> {
  if (typeof answer === "string") throw new Error(`the store answered ${answer}`);
  return answer as Exclude<Answer, string>;
}

/** A session of this name; whose it is makes no difference to most tests. */
export function named(session: string, resource = "phone", account = "alice@localhost"): StoredName {
  return { account, resource, session };
}

/** The refresh: an append of nothing. */
export function touch(store: Store, epoch: number, name = named("a")): ReturnType<Store["append"]> {
  return store.append(name, epoch, 1, [], 60);
}

/** How a session stood before this claim of it. */
export async function taken(store: Store, session: string): Promise<SessionRecord | null> {
  return granted(await store.claim(named(session), "whoever looks", 60)).record;
}

export function stanza(number: number): Buffer {
  return Buffer.from(`<message id='${number}'/>`);
}

export function stanzas(from: number, to: number): Buffer[] {
  return Array.from({ length: to - from + 1 }, (_, i) => stanza(from + i));
}

/** Rights of an ACL user as docs/store.md tells them to operators. */
export function rightsOf(line: RegExp): string {
  const text = readFileSync(resolve(import.meta.dirname, "../../docs/store.md"), "utf8").replaceAll("\n`", " `");
  return line.exec(text)![1]!;
}
