import { messageOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Breakwater, start } from "../breakwater.ts";
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { type Control, openControl } from "../ops/control.ts";
import { tellMistakes, warningsOf } from "./check.ts";
import { EXIT } from "./exit-codes.ts";
import { Life } from "./life.ts";
import { PidFile } from "./pid-file.ts";
import { Reloader } from "./reloader.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { supervise } from "./supervisor.ts";
import { surviveErrors } from "./survive.ts";
import { Forerunner } from "./upgrade/forerunner.ts";
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
  const pid = new PidFile(pidFile ?? null);
  if (loaded.config.workers > 1) {
    await before?.refuse("workers cannot take the place of a single process: drain and restart instead");
    return before === null ? await supervise(loaded, life, log, pid) : EXIT.unavailable;
  }
  const edge = new RunningEdge(loaded, log, life, pid, before);
  try {
    await edge.start();
  } catch (error) {
    await before?.refuse(messageOf(error));
    return tellStartTrouble(error);
  }
  return new Promise(() => {});
}

/** The edge in one process, with all that stands around it. */
class RunningEdge {
  readonly #loaded: LoadedConfig;
  readonly #log: Log;
  readonly #life: Life;
  readonly #pid: PidFile;
  readonly #before: Forerunner | null;
  #breakwater: Breakwater | null = null;
  #upgrade: Upgrade | null = null;
  #control: Control | null = null;

  constructor(loaded: LoadedConfig, log: Log, life: Life, pid: PidFile, before: Forerunner | null) {
    this.#loaded = loaded;
    this.#log = log;
    this.#life = life;
    this.#pid = pid;
    this.#before = before;
  }

  async start(): Promise<void> {
    const { config } = this.#loaded;
    const before = this.#before;
    await before?.meet();
    const breakwater = await start({ config, log: this.#log, ...(before !== null && { before }) });
    this.#breakwater = breakwater;
    const upgrade = new Upgrade({
      breakwater,
      log: this.#log,
      release: () => this.#release(),
      regain: () => void this.#regain(),
      end: () => this.#life.end(),
    });
    this.#upgrade = upgrade;
    if (before !== null) upgrade.follows(before);
    else await this.#openControl();
    if (before !== null) this.#writePid();
    else this.#pid.write();
    const reloader = new Reloader((next) => breakwater.reload(next.config), this.#loaded, this.#log);
    await before?.serves();
    await this.#life.began({
      reload: () => reloader.reload(),
      upgrade: () => upgrade.begin(null),
      stop: async () => {
        await upgrade.stop();
        await breakwater.stop();
        return EXIT.ok;
      },
    });
    const facts = { version: version(), pid: process.pid, config: this.#loaded.file };
    this.#log.info("breakwater started", { ...facts, ...(before !== null && { in_place_of: before.pid }) });
    if (before !== null) await this.#follow(before, upgrade);
  }

  // Its clients come one after the other; what both would want to have is still that process's.
  async #follow(before: Forerunner, upgrade: Upgrade): Promise<void> {
    const report = await before.over;
    this.#breakwater!.inherited(report?.how ?? null);
    upgrade.followed(report);
    if (report === null)
      this.#log.error("the process before this one ended before it was through", { pid: before.pid });
    await this.#tryControl();
    await before.settled();
    const { how, ...facts } = report ?? {};
    this.#log.info("took the place of the process before", { pid: before.pid, ...facts, ...how });
  }

  #release(): void {
    this.#control?.close();
    this.#control = null;
  }

  // An upgrade has failed.
  async #regain(): Promise<void> {
    this.#writePid();
    if (this.#control === null) await this.#tryControl();
  }

  // Who serves already does not end for it.
  #writePid(): void {
    try {
      this.#pid.write();
    } catch (error) {
      this.#log.error("the pid file is not this process's", { error: messageOf(error) });
    }
  }

  async #tryControl(): Promise<void> {
    try {
      await this.#openControl();
    } catch (error) {
      this.#log.error("no commands are taken until a restart", { error: messageOf(error) });
    }
  }

  async #openControl(): Promise<void> {
    const { control } = this.#loaded.config.ops;
    if (control !== undefined) this.#control = await openControl(control, this.#breakwater!.drainer, this.#upgrade!);
  }
}
