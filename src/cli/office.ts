import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Control, type Draining, openControl } from "../ops/control.ts";
import type { PidFile } from "./pid-file.ts";
import type { Upgrade } from "./upgrade/upgrade.ts";

export interface OfficeInit {
  /** `ops.control`, if there is one. */
  readonly path: string | undefined;
  readonly pid: PidFile;
  readonly log: Log;
}

/** What only the process that serves has, and gives to the one that takes its place: the pid file and the control socket. */
export class Office {
  readonly #init: OfficeInit;
  #draining: Draining | null = null;
  #upgrade: Upgrade | null = null;
  #control: Control | null = null;

  constructor(init: OfficeInit) {
    this.#init = init;
  }

  /** What commands reach. */
  obey(draining: Draining, upgrade: Upgrade): void {
    this.#draining = draining;
    this.#upgrade = upgrade;
  }

  /** At the start of a process that takes nobody's place. Rejects when one of them cannot be had. */
  async take(): Promise<void> {
    await this.#open();
    this.#init.pid.write();
  }

  /** Who serves already does not end for it. */
  writePid(): void {
    try {
      this.#init.pid.write();
    } catch (error) {
      this.#init.log.error("the pid file is not this process's", { error: messageOf(error) });
    }
  }

  async takeControl(): Promise<void> {
    if (this.#control !== null) return;
    try {
      await this.#open();
    } catch (error) {
      this.#init.log.error("no commands are taken until a restart", { error: messageOf(error) });
    }
  }

  /** Another process has it now. */
  release(): void {
    this.#control?.close();
    this.#control = null;
  }

  /** That process is gone. */
  async regain(): Promise<void> {
    this.writePid();
    await this.takeControl();
  }

  async #open(): Promise<void> {
    const { path } = this.#init;
    if (path !== undefined) this.#control = await openControl(path, this.#draining!, this.#upgrade!);
  }
}
