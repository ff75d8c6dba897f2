import { createLog } from "../base/log.ts";
import { type Breakwater, start } from "../breakwater.ts";
import { loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { openControl } from "../ops/control.ts";
import { tellMistakes, warningsOf } from "./check.ts";
import { EXIT } from "./exit-codes.ts";
import { Life } from "./life.ts";
import { Reloader } from "./reloader.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { supervise } from "./supervisor.ts";
import { surviveErrors } from "./survive.ts";
import { version } from "./version.ts";

/**
 * `breakwater run`: the edge, until a signal ends it. SIGTERM and SIGINT drain and stop it, a second one stops at once;
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
  if (loaded.config.workers > 1) return supervise(loaded, life, log);
  let breakwater: Breakwater;
  try {
    breakwater = await start({ config: loaded.config, log });
    const { control } = loaded.config.ops;
    if (control !== undefined) await openControl(control, breakwater.drainer);
  } catch (error) {
    return tellStartTrouble(error);
  }
  const reloader = new Reloader((next) => breakwater.reload(next.config), loaded, log);
  await life.began({ reload: () => reloader.reload(), stop: () => breakwater.stop().then(() => EXIT.ok) });
  log.info("breakwater started", { version: version(), pid: process.pid, config: configFile });
  return new Promise(() => {});
}
