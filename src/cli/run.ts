import { BreakwaterError, messageOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Breakwater, start } from "../breakwater.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { tellMistakes, warningsOf } from "./check.ts";
import { EXIT } from "./exit-codes.ts";
import { Reloader } from "./reloader.ts";
import { surviveErrors } from "./survive.ts";
import { version } from "./version.ts";

/**
 * `breakwater run`: the edge, until a signal ends it. SIGTERM and SIGINT stop it in order, a second one at once;
 * SIGHUP reloads the configuration and the certificates. Resolves with an exit code when it could not start,
 * and otherwise never: the signal ends the process.
 */
export async function run(configFile: string): Promise<number> {
  const loaded = loadConfig(configFile);
  if (loaded instanceof ConfigMistakes) return tellMistakes(loaded);
  const log = createLog({ level: loaded.config.log.level });
  surviveErrors(log);
  for (const warning of warningsOf(loaded)) log.warn("configuration", { warning });

  const life = new Life(log);
  let breakwater: Breakwater;
  try {
    breakwater = await start({ config: loaded.config, log });
  } catch (error) {
    return tellStartTrouble(error);
  }
  await life.began(breakwater, loaded);
  log.info("breakwater started", { version: version(), pid: process.pid, config: configFile });
  return new Promise(() => {});
}

/** What signals do, before, while and after the edge runs. */
class Life {
  readonly #log: Log;
  #running: { breakwater: Breakwater; reloader: Reloader } | null = null;
  #stopping = false;

  constructor(log: Log) {
    this.#log = log;
    process.on("SIGTERM", (signal) => this.#stop(signal));
    process.on("SIGINT", (signal) => this.#stop(signal));
    process.on("SIGHUP", () => this.#running?.reloader.reload());
  }

  /** From now on there is something to stop and to reload. */
  async began(breakwater: Breakwater, loaded: LoadedConfig): Promise<void> {
    this.#running = { breakwater, reloader: new Reloader(breakwater, loaded, this.#log) };
    if (this.#stopping) await this.#end();
  }

  #stop(signal: NodeJS.Signals): void {
    if (this.#stopping) process.exit(signal === "SIGINT" ? 130 : 143);
    this.#stopping = true;
    this.#log.info("stopping; a second signal stops at once", { signal });
    // while it starts there is nothing to stop yet: `began` does it
    if (this.#running) void this.#end();
  }

  async #end(): Promise<void> {
    try {
      await this.#running?.breakwater.stop();
    } catch (error) {
      this.#log.error("stopping went wrong", { error: messageOf(error) });
      process.exit(EXIT.software);
    }
    this.#log.info("stopped");
    process.exit(EXIT.ok);
  }
}

/** Codes of errors that only another configuration mends. */
const CONFIG_CODES: ReadonlySet<string> = new Set([
  "BW_CONFIG",
  "BW_TLS_CERTIFICATE",
  "BW_CORE_UNFIT",
  "BW_CORE_TLS",
  "BW_NETWORK",
]);

function tellStartTrouble(error: unknown): number {
  const known = error instanceof BreakwaterError;
  process.stderr.write(`breakwater: cannot start: ${messageOf(error)}\n`);
  if (!known) return EXIT.software;
  return CONFIG_CODES.has(error.code) ? EXIT.config : EXIT.unavailable;
}
