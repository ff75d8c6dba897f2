import { isAbsolute } from "node:path";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { Breakwater, Handover } from "../../breakwater.ts";
import type { UpgradeState, Upgrading } from "../../ops/control.ts";
import { ChildHeir } from "./channel.ts";
import type { Forerunner } from "./forerunner.ts";
import type { Report } from "./messages.ts";
import { programFor } from "./program.ts";
import { Successor } from "./successor.ts";

const upgrades = meter.counter("breakwater_upgrades_total", "Upgrades to a new process, by result", ["result"]);

export interface UpgradeInit {
  readonly breakwater: Breakwater;
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
  #handover: Handover | null = null;
  #dormant = 0;
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

  get state(): UpgradeState {
    const { pid, version } = this.#heir ?? {};
    const { left, total } = this.#init.breakwater.drainer.state;
    const report = this.#report;
    return {
      phase: this.#phase,
      pid: process.pid,
      ...(pid !== undefined && { heir: pid }),
      ...(version && { version }),
      ...(this.#before !== null && { from: this.#before.pid }),
      dormant: report?.dormant ?? this.#dormant,
      handedOver: report?.handedOver ?? this.#handover?.handedOver ?? 0,
      left,
      total,
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
    this.#dormant = 0;
    this.#beganAt = performance.now();
    const program = programFor(launcher);
    this.#init.log.info("upgrade begins", { program: program.file });
    const heir = new Successor(new ChildHeir(program), (id) => this.#handover?.claim(id) ?? Promise.resolve(false));
    this.#heir = heir;
    this.#over = this.#run(heir);
    return null;
  }

  /** The process stops. What has begun to go is let go within the time of a drain; what has not stays. Then resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#phase === "draining") await this.#init.breakwater.drainer.stop();
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
    const { phase } = this.#init.breakwater.drainer.state;
    return phase === "serving" ? null : "the edge drains or is drained: breakwater drain --abort, then upgrade";
  }

  async #run(heir: Successor): Promise<void> {
    const { breakwater, log } = this.#init;
    try {
      const ports = breakwater.openPorts;
      await heir.ready(ports);
      await this.#give(heir);
    } catch (error) {
      return await this.#failed(heir, error);
    }
    this.#phase = "draining";
    log.info("the new process serves", { pid: heir.pid, version: heir.version, dormant: this.#dormant });
    try {
      breakwater.drainer.begin({}, this.#handover);
      await Promise.race([breakwater.drainer.finished(), heir.gone.then((why) => Promise.reject(new Error(why)))]);
      await this.#handover!.settled();
      this.#init.release();
      await heir.farewell(this.#reportOf());
    } catch (error) {
      return await this.#failed(heir, error);
    }
    const { how, ...facts } = this.#reportOf();
    log.info("upgraded, this process ends", { ...facts, ...how, pid: heir.pid, version: heir.version });
    if (!this.#stopping) this.#init.end();
  }

  /** Ports and dormant sessions. Clients that come meanwhile wait in the ports. */
  async #give(heir: Successor): Promise<void> {
    const { breakwater } = this.#init;
    this.#phase = "handing-over";
    const handover = breakwater.handOver(heir);
    this.#handover = handover;
    this.#dormant = await handover.offerDormant();
    await heir.open();
    handover.commit();
  }

  async #failed(heir: Successor, error: unknown): Promise<void> {
    const { breakwater, log } = this.#init;
    heir.kill();
    await heir.gone; // its ports are free then
    const why = messageOf(error);
    upgrades.inc("failed");
    this.#trouble = why;
    log.error("upgrade failed, this process goes on", {
      reason: why,
      during: this.#phase,
      ...(this.#handover !== null && { gone_with_it: this.#handover.handedOver }),
    });
    try {
      // A process that stops lets those go that came back to it; nobody else comes in.
      if (this.#stopping) this.#handover?.rollBack();
      else if (this.#handover !== null) await breakwater.takeBack();
    } catch (cause) {
      log.error("clients cannot be let in again: restart the edge", { error: messageOf(cause) });
    }
    this.#handover = null;
    this.#heir = null;
    this.#phase = "failed";
    this.#init.regain();
  }

  #reportOf(): Report {
    const { how } = this.#init.breakwater.drainer.state;
    const seconds = (performance.now() - this.#beganAt) / 1000;
    return { seconds, handedOver: this.#handover!.handedOver, dormant: this.#dormant, how };
  }
}
