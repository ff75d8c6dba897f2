import type { Clock } from "../base/clock.ts";
import { JITTER } from "../base/pacer.ts";

/**
 * Turns at a core's door, for everybody of this process who comes back to it: each 1/rate after the last one at the
 * soonest and `JITTER` of that more at the latest, so that nobody marches in step.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #rate: () => number;
  #dueAt = 0;

  /** `rate`: turns a second. */
  constructor(clock: Clock, rate: () => number) {
    this.#clock = clock;
    this.#rate = rate;
  }

  /** Ms until the next turn; 0: it is there. */
  get wait(): number {
    return Math.max(0, this.#dueAt - this.#clock.now());
  }

  take(): void {
    this.#dueAt = this.#clock.now() + (1000 / this.#rate()) * (1 + JITTER * Math.random());
  }
}
