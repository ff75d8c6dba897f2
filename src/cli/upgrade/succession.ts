import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Breakwater, Handover } from "../../breakwater.ts";
import type { Progress, Step } from "./messages.ts";
import type { RelayHeir } from "./relay.ts";
import { Successor } from "./successor.ts";

/**
 * A worker gives its place to another one. It goes as in a single process (upgrade.ts), but its supervisor says when each
 * step is due, so that all workers are in the same one, and what is to become of those who are left when the heir ends.
 */
export class Succession {
  readonly #breakwater: Breakwater;
  readonly #log: Log;
  readonly #channel: RelayHeir;
  readonly #heir: Successor;
  readonly #beganAt = performance.now();
  #handover: Handover | null = null;
  #dormant = 0;
  #step: Step | null = null;
  #taken: Promise<string | null> = Promise.resolve(null);
  #isOver = false;
  /** Resolves when nothing is left to give: with true when this process ends, with false when it goes on. */
  readonly over: Promise<boolean>;
  readonly #end: (ends: boolean) => void;

  constructor(breakwater: Breakwater, channel: RelayHeir, log: Log) {
    this.#breakwater = breakwater;
    this.#log = log;
    this.#channel = channel;
    this.#heir = new Successor(channel, (id) => this.#handover?.claim(id) ?? Promise.resolve(false));
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.over = promise;
    this.#end = resolve;
  }

  /** Whether the heir may have sessions that this process has, too: nobody but the supervisor knows whose they are. */
  get isUndecided(): boolean {
    return this.#handover !== null;
  }

  get progress(): Progress {
    const { left, total, how } = this.#breakwater.drainer.state;
    return { dormant: this.#dormant, handedOver: this.#handover?.handedOver ?? 0, left, total, how };
  }

  /** Null: done. Else why not; then the supervisor ends the heir and tells it (`heirGone`). */
  take(step: Step, rate: number | null): Promise<string | null> {
    this.#step = step;
    this.#taken = this.#take(step, rate);
    return this.#taken;
  }

  async #take(step: Step, rate: number | null): Promise<string | null> {
    try {
      if (step === "meet") await this.#heir.ready(this.#breakwater.openPorts);
      else if (step === "offer") await this.#offer();
      else if (step === "open") await this.#heir.open();
      else this.#commit(rate);
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  heirSaid: RelayHeir["onWord"] = (word) => this.#channel.onWord(word);

  /** `serve`: everything is as before; else its ports are others' by now, and who is left is let go as in any drain. */
  async heirGone(why: string, serve: boolean): Promise<void> {
    if (this.#isOver) return;
    if (!serve) this.#handover?.alone();
    this.#isOver = serve;
    this.#channel.ended(why);
    if (!serve) return;
    await this.#taken;
    try {
      if (this.#handover !== null) await this.#breakwater.takeBack();
    } catch (error) {
      this.#log.error("clients cannot be let in again: restart the edge", { error: messageOf(error) });
    }
    this.#handover = null;
    this.#end(false);
  }

  /** The process stops: within the time of a drain if its clients go already, else all that was offered comes back first. */
  async stop(): Promise<void> {
    if (this.#step === "commit") await this.#breakwater.drainer.stop();
    else this.#heir.kill();
    await this.over;
  }

  async #offer(): Promise<void> {
    this.#handover = this.#breakwater.handOver(this.#heir);
    this.#dormant = await this.#handover.offerDormant();
  }

  #commit(rate: number | null): void {
    this.#handover!.commit();
    this.#breakwater.drainer.begin(rate === null ? {} : { rate }, this.#handover);
    void this.#letGo();
  }

  async #letGo(): Promise<void> {
    await this.#breakwater.drainer.finished();
    if (this.#isOver) return;
    // One that has ended has nothing to hear.
    await this.#handover!.settled().catch(() => {});
    if (this.#isOver) return;
    const { handedOver, dormant, how } = this.progress;
    const facts = { seconds: (performance.now() - this.#beganAt) / 1000, handedOver, dormant };
    await this.#heir.farewell({ ...facts, how }).catch(() => {});
    if (this.#isOver) return;
    this.#isOver = true;
    this.#log.info("this worker has let its clients go, another has its place", { ...facts, ...how });
    this.#end(true);
  }
}
