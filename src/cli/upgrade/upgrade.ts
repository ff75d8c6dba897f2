import { isAbsolute } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { UpgradeState, Upgrading } from "../../ops/control.ts";
import { ChildHeir } from "./channel.ts";
import type { Fixed } from "./fixed.ts";
import type { Forerunner } from "./forerunner.ts";
import type { Giver } from "./giver.ts";
import type { Report } from "./messages.ts";
import { programFor } from "./program.ts";
import { Successor } from "./successor.ts";

const upgrades = meter.counter("breakwater_upgrades_total", "Upgrades to a new process, by result", ["result"]);

export interface UpgradeInit {
  readonly giver: Giver;
  readonly fixed: Fixed;
  readonly log: Log;
  /** Lets go of what the new process takes over under the same name: the control socket. */
  release(): void;
  /** This process serves again: the pid file, for one. */
  regain(): void;
  /** Nothing is left: this process ends. */
  end(): void;
}

/**
 * Puts a new process in the place of this one, while this one serves: starts it, hands it the ports and the dormant
 * sessions, lets the connected clients go to it at `drain.rate`, and ends. Whatever happens to the new process before
 * that, this one goes on with what it still has.
 */
export class Upgrade implements Upgrading {
  readonly #init: UpgradeInit;
  #phase: UpgradeState["phase"] = "none";
  #heir: Successor | null = null;
  #beganAt = 0;
  #trouble: string | null = null;
  #stopping = false;
  #over: Promise<void> = Promise.resolve();
  // In the new process: who was here before, and how that went.
  #before: Forerunner | null = null;
  #report: Report | null = null;

  constructor(init: UpgradeInit) {
    this.#init = init;
  }

  /** Whether another process is about to take this one's place, or this one another's. */
  get isUnderWay(): boolean {
    return this.#heir !== null || (this.#before !== null && this.#phase === "draining");
  }

  async state(): Promise<UpgradeState> {
    const progress = this.#report === null ? await this.#init.giver.progress() : { ...this.#report, left: 0, total: 0 };
    const { pid, version } = this.#heir ?? {};
    const report = this.#report;
    return {
      phase: this.#phase,
      pid: process.pid,
      ...(pid !== undefined && { heir: pid }),
      ...(version && { version }),
      ...(this.#before !== null && { from: this.#before.pid }),
      dormant: progress.dormant,
      handedOver: progress.handedOver,
      left: progress.left,
      total: progress.total,
      seconds: report?.seconds ?? (performance.now() - this.#beganAt) / 1000,
      ...(report !== null && { how: report.how }),
      ...(this.#trouble !== null && { trouble: this.#trouble }),
    };
  }

  begin(launcher: string | null): string | null {
    const trouble = this.#whyNot(launcher);
    if (trouble !== null) {
      this.#init.log.warn("no upgrade is begun", { reason: trouble });
      return trouble;
    }
    this.#phase = "starting";
    this.#trouble = null;
    this.#before = null;
    this.#report = null;
    this.#beganAt = performance.now();
    const program = programFor(launcher);
    this.#init.log.info("upgrade begins", { program: program.file });
    const { giver } = this.#init;
    const heir = new Successor(new ChildHeir(program), (id) => giver.claim(id));
    this.#heir = heir;
    heir.fixed = this.#init.fixed;
    giver.meets(heir);
    this.#over = this.#run(heir);
    return null;
  }

  /** The process stops. What has begun to go is let go within the time of a drain; what has not stays. Then resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#phase === "draining") await this.#init.giver.hurry();
    else this.#heir?.kill();
    await this.#over;
  }

  /** This process has taken another one's place: it is busy with that until `Forerunner.over`. */
  follows(before: Forerunner): void {
    this.#before = before;
    this.#phase = "draining";
  }

  /** That is over. */
  followed(report: Report | null): void {
    this.#report = report;
    this.#phase = "done";
    upgrades.inc(report === null ? "lost" : "done");
  }

  #whyNot(launcher: string | null): string | null {
    if (launcher !== null && !isAbsolute(launcher)) return `--launcher ${launcher}: expected an absolute path`;
    if (this.#stopping) return "the edge is stopping";
    if (this.#before !== null && this.#phase === "draining") {
      return `this process has just taken the place of ${this.#before.pid}, which still lets its clients go`;
    }
    if (this.#heir !== null) return `an upgrade is under way, to process ${this.#heir.pid ?? "…"}`;
    return this.#init.giver.busy;
  }

  async #run(heir: Successor): Promise<void> {
    const { giver, log } = this.#init;
    try {
      await heir.ready(giver.openPorts);
      // Clients that come meanwhile wait in the ports.
      this.#phase = "handing-over";
      await giver.offer(heir);
      await heir.open();
      giver.commit();
    } catch (error) {
      return await this.#failed(heir, error);
    }
    this.#phase = "draining";
    const { pid, version } = heir;
    let report: Report;
    try {
      log.info("the new process serves", { pid, version, dormant: (await giver.progress()).dormant });
      await Promise.race([giver.letGo(), heir.gone.then((why) => Promise.reject(new Error(why)))]);
      this.#init.release();
      report = await this.#reportOf();
      await heir.farewell(report);
    } catch (error) {
      return await this.#failed(heir, error);
    }
    const { how, ...facts } = report;
    log.info("upgraded, this process ends", { ...facts, ...how, pid, version });
    if (!this.#stopping) this.#init.end();
  }

  async #failed(heir: Successor, error: unknown): Promise<void> {
    const { giver, log } = this.#init;
    heir.kill();
    await heir.gone; // its ports are free then
    const why = heir.blamed ?? messageOf(error);
    upgrades.inc("failed");
    this.#trouble = why;
    const { handedOver } = await giver.progress();
    const facts = { reason: why, during: this.#phase, gone_with_it: handedOver };
    log.error("upgrade failed, this process goes on", facts);
    try {
      await giver.takeBack(this.#stopping);
    } catch (cause) {
      log.error("clients cannot be let in again: restart the edge", { error: messageOf(cause) });
    }
    this.#heir = null;
    this.#phase = "failed";
    this.#init.regain();
  }

  async #reportOf(): Promise<Report> {
    const { dormant, handedOver, how } = await this.#init.giver.progress();
    return { seconds: (performance.now() - this.#beganAt) / 1000, dormant, handedOver, how };
  }
}
