import { isDeepStrictEqual } from "node:util";
import type { LoadedConfig } from "../../config/load.ts";
import { ConfigMistakes } from "../../config/mistakes.ts";
import type { OptionPath } from "../../config/option-tree.ts";
import type { Config } from "../../config/schema.ts";
import { ConfigSource } from "../../config/source.ts";

/** What two processes that follow each other must have in common: where stanzas wait, and how many processes there are. */
export interface Fixed {
  readonly workers: number;
  readonly store: string;
  /** Where `store` is redis. */
  readonly redis: Readonly<Record<(typeof REDIS)[number], unknown>> | null;
}

/** Another value of these is another place. Of the others none is: a password, a timeout. */
const REDIS = ["mode", "nodes", "master_name", "db", "key_prefix"] as const;

export function fixedOf({ workers, store }: Config): Fixed {
  const nodes = store.redis.nodes.map(({ host, port }) => `${host}:${port}`);
  const values = { ...store.redis, nodes };
  const redis = Object.fromEntries(REDIS.map((key) => [key, values[key] ?? null])) as Fixed["redis"];
  return { workers, store: store.driver, redis: store.driver === "redis" ? redis : null };
}

/** What of a configuration cannot take the place of one with `before`; null: it can. */
export function mistakesAgainst(before: Fixed, { config, file, text }: LoadedConfig): ConfigMistakes | null {
  const now = fixedOf(config);
  const changed: [OptionPath, unknown, string][] = [];
  if (now.workers !== before.workers) changed.push([["workers"], before.workers, WORKERS]);
  if (now.store !== before.store) changed.push([["store", "driver"], before.store, STORE]);
  else if (before.redis !== null) {
    for (const key of REDIS)
      if (!isDeepStrictEqual(now.redis![key], before.redis[key]))
        changed.push([["store", "redis", key], before.redis[key], STORE]);
  }
  if (changed.length === 0) return null;
  const source = new ConfigSource(text);
  const hint = "keep it for the upgrade; to change it, stop the edge (SIGTERM drains it) and start it anew";
  return new ConfigMistakes(
    file,
    changed.map(([path, value, why]) => source.at(path, `the running edge has ${textOf(value)}, ${why}: ${hint}`)),
  );
}

const WORKERS = "and each worker gives its sessions to the one with its number";
const STORE = "and stanzas of sleeping clients wait there";

function textOf(value: unknown): string {
  return value === null ? "none" : JSON.stringify(value);
}
