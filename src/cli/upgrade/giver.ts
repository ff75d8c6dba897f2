import type { Breakwater, Handover, OpenPort } from "../../breakwater.ts";
import type { Progress } from "./messages.ts";
import type { Successor } from "./successor.ts";

/** What a new process takes the place of: the edge in one process, or a supervisor and its workers. */
export interface Giver {
  /** Why no upgrade can begin; null: nothing is in the way. */
  readonly busy: string | null;
  readonly openPorts: readonly OpenPort[];
  /** Called before the heir hears of this process. */
  meets(heir: Successor): void;
  /** The heir's client wants the session with this resume id. True: it is the heir's now. */
  claim(id: string): Promise<boolean>;
  /** Closes the ports and sends the sleeping sessions. Up to `commit` the heir only holds them. Rejects when it is gone. */
  offer(heir: Successor): Promise<void>;
  /** The heir has the ports. */
  commit(): void;
  /** Lets the connected clients go at their pace. Resolves when nothing is left to give. */
  letGo(): Promise<void>;
  /** The same within the time of a drain, as the process stops. */
  hurry(): Promise<void>;
  /** The heir is gone: whoever is left stays, and unless the process stops clients are let in again. */
  takeBack(stopping: boolean): Promise<void>;
  progress(): Progress | Promise<Progress>;
}

/** An edge in one process. */
export class EdgeGiver implements Giver {
  readonly #edge: Breakwater;
  #handover: Handover | null = null;
  #dormant = 0;

  constructor(edge: Breakwater) {
    this.#edge = edge;
  }

  get busy(): string | null {
    const { phase } = this.#edge.drainer.state;
    return phase === "serving" ? null : "the edge drains or is drained: breakwater drain --abort, then upgrade";
  }

  get openPorts(): readonly OpenPort[] {
    return this.#edge.openPorts;
  }

  meets(): void {
    this.#dormant = 0;
  }

  claim(id: string): Promise<boolean> {
    return this.#handover?.claim(id) ?? Promise.resolve(false);
  }

  async offer(heir: Successor): Promise<void> {
    this.#handover = this.#edge.handOver(heir);
    this.#dormant = await this.#handover.offerDormant();
  }

  commit(): void {
    this.#handover!.commit();
  }

  async letGo(): Promise<void> {
    this.#edge.drainer.begin({}, this.#handover);
    await this.#edge.drainer.finished();
    await this.#handover!.settled();
  }

  async hurry(): Promise<void> {
    await this.#edge.drainer.stop();
  }

  async takeBack(stopping: boolean): Promise<void> {
    const handover = this.#handover;
    this.#handover = null;
    // A process that stops lets those go that came back to it; nobody else comes in.
    if (stopping) handover?.rollBack();
    else if (handover !== null) await this.#edge.takeBack();
  }

  progress(): Progress {
    const { left, total, how } = this.#edge.drainer.state;
    return { dormant: this.#dormant, handedOver: this.#handover?.handedOver ?? 0, left, total, how };
  }
}
