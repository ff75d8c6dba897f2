import { messageOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { start } from "../breakwater.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { tellMistakes, warningsOf } from "./check.ts";
import { drainingOf } from "./draining.ts";
import { EXIT } from "./exit-codes.ts";
import { Life } from "./life.ts";
import { Office } from "./office.ts";
import { PidFile } from "./pid-file.ts";
import { Reloader } from "./reloader.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { supervise } from "./supervisor.ts";
import { surviveErrors } from "./survive.ts";
import { fixedOf, mistakesAgainst } from "./upgrade/fixed.ts";
import { follow } from "./upgrade/follow.ts";
import { Forerunner } from "./upgrade/forerunner.ts";
import { EdgeGiver } from "./upgrade/giver.ts";
import { Upgrade } from "./upgrade/upgrade.ts";
import { version } from "./version.ts";

export interface RunArguments {
  readonly config: string;
  readonly pidFile?: string | undefined;
}

/**
 * `breakwater run`: the edge, until a signal ends it. SIGTERM and SIGINT drain and stop it, a second one stops at once;
 * SIGHUP reloads the configuration and the certificates; SIGUSR2 puts a new process in its place. Resolves with an exit
 * code when it could not start, and otherwise never: the signal ends the process.
 */
export async function run({ config: configFile, pidFile }: RunArguments): Promise<number> {
  const before = Forerunner.find();
  const loaded = loadConfig(configFile);
  if (loaded instanceof ConfigMistakes) {
    await before?.refuse(`the configuration is wrong: ${loaded.lines().join("; ")}`);
    return tellMistakes(loaded);
  }
  const log = createLog({ level: loaded.config.log.level });
  surviveErrors(log);
  for (const warning of warningsOf(loaded)) log.warn("configuration", { warning });

  const life = new Life(log);
  await before?.meet();
  const unlike = before?.fixed ? mistakesAgainst(before.fixed, loaded) : null;
  if (unlike !== null) {
    await before?.refuse(`the configuration does not fit: ${unlike.lines().join("; ")}`);
    return tellMistakes(unlike);
  }
  const pid = new PidFile(pidFile ?? null);
  if (loaded.config.workers > 1) return await supervise(loaded, life, log, pid, before);
  try {
    await serve(loaded, life, log, pid, before);
  } catch (error) {
    await before?.refuse(messageOf(error));
    return tellStartTrouble(error);
  }
  return new Promise(() => {});
}

/** The edge in one process, with all that stands around it. */
async function serve(
  loaded: LoadedConfig,
  life: Life,
  log: Log,
  pid: PidFile,
  before: Forerunner | null,
): Promise<void> {
  const { config, file } = loaded;
  const breakwater = await start({ config, log, ...(before !== null && { before }) });
  const office = new Office({ path: config.ops.control, pid, log });
  const upgrade = new Upgrade({
    giver: new EdgeGiver(breakwater),
    fixed: fixedOf(config),
    log,
    release: () => office.release(),
    regain: () => void office.regain(),
    end: () => life.end(),
  });
  office.obey(drainingOf(breakwater), upgrade);
  if (before !== null) upgrade.follows(before);
  if (before === null) await office.take();
  else office.writePid();
  const reloader = new Reloader((next) => breakwater.reload(next.config), loaded, log);
  await before?.serves();
  await life.began({
    reload: () => reloader.reload(),
    upgrade: () => upgrade.begin(null),
    stop: async () => {
      await upgrade.stop();
      await breakwater.stop();
      return EXIT.ok;
    },
  });
  const facts = { version: version(), pid: process.pid, config: file };
  log.info("breakwater started", { ...facts, ...(before !== null && { in_place_of: before.pid }) });
  if (before !== null) await follow(before, { upgrade, office, log, over: (how) => breakwater.inherited(how) });
}
