import type { Clock, Timer } from "../../base/clock.ts";
import type { Store } from "../../session/stanza-store.ts";

/** Asks the store; "unavailable" when it has to be asked again. */
export type Errand = () => Promise<string>;

const TICK_MS = 1000;
// When the store is back all edges have errands: none does more of them a second.
const PER_TICK = 50;
const MAX_WAITING = 100_000;

/** Errands to the store that are not done before it has answered. One timer for all of them, and none while it is well. */
export class Errands {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #dropped: () => void;
  readonly #waiting = new Set<Errand>();
  #timer: Timer | null = null;
  #busy = false;

  /** `dropped`: one had no room any more. */
  constructor(store: Store, clock: Clock, dropped: () => void) {
    this.#store = store;
    this.#clock = clock;
    this.#dropped = dropped;
  }

  run(errand: Errand): void {
    void this.#try(errand);
  }

  /** It need not be done any more. */
  cancel(errand: Errand): void {
    this.#waiting.delete(errand);
  }

  async #try(errand: Errand): Promise<boolean> {
    if ((await errand()) !== "unavailable") return true;
    this.#waiting.add(errand);
    if (this.#waiting.size > MAX_WAITING) {
      this.#waiting.delete(this.#waiting.values().next().value!);
      this.#dropped();
    }
    this.#timer ??= this.#clock.every(TICK_MS, () => void this.#tick());
    return false;
  }

  async #tick(): Promise<void> {
    if (this.#busy || this.#store.readiness() !== true) return;
    this.#busy = true;
    for (const errand of [...this.#waiting].slice(0, PER_TICK)) {
      if (this.#waiting.delete(errand)) await this.#try(errand);
    }
    this.#busy = false;
    if (this.#waiting.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }
}
