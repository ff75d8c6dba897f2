import type { Clock, Timer } from "../../src/base/clock.ts";

interface Due {
  at: number;
  readonly every: number | null;
  readonly run: () => void;
}

/** Time that stands still until the test turns it. Timers run in order of their due time, on the way there. */
export class TurnedClock implements Clock {
  #now = 1_000_000;
  #wall = Date.UTC(2026, 0, 1);
  readonly #timers = new Set<Due>();

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#wall;
  }

  after(ms: number, run: () => void): Timer {
    return this.#add({ at: this.#now + ms, every: null, run });
  }

  every(ms: number, run: () => void): Timer {
    return this.#add({ at: this.#now + ms, every: ms, run });
  }

  /** Turns the clock and runs what falls due. */
  advance({ seconds = 0, ms = 0 }: { seconds?: number; ms?: number }): void {
    const until = this.#now + seconds * 1000 + ms;
    for (;;) {
      const next = [...this.#timers].filter((due) => due.at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#turnTo(Math.max(next.at, this.#now));
      if (next.every === null) this.#timers.delete(next);
      else next.at += Math.max(next.every, 1);
      next.run();
    }
    this.#turnTo(until);
  }

  #turnTo(now: number): void {
    this.#wall += now - this.#now;
    this.#now = now;
  }

  #add(due: Due): Timer {
    this.#timers.add(due);
    return { cancel: () => void this.#timers.delete(due) };
  }
}
