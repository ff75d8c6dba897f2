import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Store } from "../session/stanza-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { StoreOptions } from "./options.ts";
import { RedisStore } from "./redis-store.ts";

/**
 * The store that the configuration names. Does not wait for Redis: until it answers, the store is unavailable and
 * `readiness()` says why. Throws a BreakwaterError when a file that the options name cannot be read.
 */
export function openStore(options: StoreOptions, context: { clock: Clock; log: Log }): Store {
  return options.driver === "redis" ? new RedisStore(options, context) : new MemoryStore(options, context);
}
