const FIRST_MS = 500;
const MOST_MS = 30_000;
/** Who lived for so long did not fail at once. */
const GOOD_LIFE_MS = 60_000;

/** How long to wait until a worker that has ended is replaced: twice as long each time, up to half a minute, jittered. */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Milliseconds, after a worker that lived for `livedMs`. */
  next(livedMs: number): number {
    if (livedMs >= GOOD_LIFE_MS) this.#failures = 0;
    const most = Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures++);
    return Math.round(most * (0.5 + this.#random() / 2));
  }
}
