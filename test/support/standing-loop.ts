import type { Loop } from "../../src/edge/turnstile.ts";

/** An event loop that stands as the turnstile sees it, until the test turns it. */
export class StandingLoop implements Loop {
  #cpu = 0;
  #due: (() => void) | null = null;

  cpu(): number {
    return this.#cpu;
  }

  endOfTurn(run: () => void): void {
    this.#due = run;
  }

  afterThis(run: () => void): void {
    run();
  }

  /** Whether the turnstile looks at its turns. */
  get watched(): boolean {
    return this.#due !== null;
  }

  /** So many turns, each with other work of so many ms of CPU. */
  turn(count = 1, ms = 0): void {
    for (let i = 0; i < count; i++) {
      this.#cpu += ms;
      const due = this.#due;
      this.#due = null;
      due?.();
    }
  }
}
