import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { changesNeedingRestart } from "../config/changes.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { warningsOf } from "./check.ts";

const reloads = meter.counter("breakwater_config_reloads_total", "Reloads of the configuration, by result", ["result"]);

/** Reloads one at a time. A configuration that cannot be used is logged, and the one in use stays. */
export class Reloader {
  readonly #apply: (loaded: LoadedConfig) => Promise<void>;
  readonly #log: Log;
  /** What the process started with: options that need a restart still have these values. */
  readonly #started: LoadedConfig;
  #busy = false;
  #again = false;

  /** `apply` rejects when the configuration cannot be used. */
  constructor(apply: (loaded: LoadedConfig) => Promise<void>, started: LoadedConfig, log: Log) {
    this.#apply = apply;
    this.#started = started;
    this.#log = log;
  }

  /** Never rejects. A call during a reload leads to one more behind it. */
  async reload(): Promise<void> {
    this.#again = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#again) {
      this.#again = false;
      reloads.inc(await this.#once());
    }
    this.#busy = false;
  }

  async #once(): Promise<"reloaded" | "refused"> {
    try {
      const loaded = loadConfig(this.#started.file);
      if (loaded instanceof ConfigMistakes) {
        this.#log.error("reload refused, the old configuration stays", { mistakes: loaded.lines() });
        return "refused";
      }
      for (const warning of warningsOf(loaded)) this.#log.warn("configuration", { warning });
      await this.#apply(loaded);
      const waiting = changesNeedingRestart(this.#started.config, loaded.config);
      if (waiting.length > 0) this.#log.warn("these changes wait for a restart", { options: waiting });
      this.#log.info("configuration reloaded");
      return "reloaded";
    } catch (error) {
      this.#log.error("reload refused, the old configuration stays", { mistakes: [messageOf(error)] });
      return "refused";
    }
  }
}
