import type { StoreOptions } from "./options.ts";

/**
 * When a session whose stanzas have not changed is refreshed: at a random moment in the last two thirds of
 * `refresh_interval`, so that sessions which began together do not refresh together.
 */
export function refreshDelayMs({ refresh_interval }: StoreOptions, random = Math.random): number {
  return (refresh_interval / 3) * (1 + 2 * random()) * 1000;
}

/** How long a session counts as alive without a refresh: a store that is away for one whole interval costs nobody their session. */
export function recordSeconds({ refresh_interval }: StoreOptions, holdSeconds: number): number {
  return 2 * refresh_interval + holdSeconds;
}
