import type { Clock, Timer } from "./clock.ts";

/** Something whose stamps are compared with the time once a second. */
export interface Sweepable {
  /** Called about once a second with `clock.now()`. Must not throw. */
  sweep(now: number): void;
}

/** Something that asked for one early look. */
export interface Attentive {
  /** Called once, within `SOON_MS` of the request. */
  attend(now: number): void;
}

export const SWEEP_MS = 1000;
export const SOON_MS = 100;

/**
 * Two timers for the whole process instead of some for each session: deadlines, idle and acknowledgement limits are
 * stamps that the janitor compares once a second; what cannot wait that long asks for `soon`.
 */
export class Janitor {
  readonly #clock: Clock;
  readonly #all = new Set<Sweepable>();
  #soon: Attentive[] = [];
  readonly #timers: Timer[];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#timers = [clock.every(SWEEP_MS, () => this.#sweep()), clock.every(SOON_MS, () => this.#attend())];
  }

  add(item: Sweepable): void {
    this.#all.add(item);
  }

  remove(item: Sweepable): void {
    this.#all.delete(item);
  }

  /** Each call leads to one `attend`: whoever asks remembers that they have asked. */
  soon(item: Attentive): void {
    this.#soon.push(item);
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#all.clear();
    this.#soon = [];
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const item of this.#all) item.sweep(now);
  }

  #attend(): void {
    if (this.#soon.length === 0) return;
    const due = this.#soon;
    this.#soon = [];
    const now = this.#clock.now();
    for (const item of due) item.attend(now);
  }
}
