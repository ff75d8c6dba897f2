import type { Clock, Timer } from "./clock.ts";

/** Up to so much of each gap is chance, on top of it: those who return do not march in step. */
export const JITTER = 0.2;
/** A turn that came late is made up for by this much at most: after a standstill nobody is flooded. */
export const CATCH_UP_MS = 100;

export interface PacerInit<T> {
  readonly clock: Clock;
  /** Items a second. */
  readonly rate: number;
  readonly items: Iterable<T>;
  /** An item's turn. False: it cost nothing, and the next one has its turn at once. */
  letGo(item: T): boolean;
  /** The last one has gone; not after `abort`. */
  onEnd(): void;
  /** From 0 to 1; default `Math.random`. */
  random?: () => number;
}

/**
 * Lets items go one after the other, in their order: the first when it begins, and each further one 1/rate later at the
 * soonest and `JITTER` of that more at the latest. So never more than the rate, and a tenth less on average.
 */
export class Pacer<T> {
  readonly total: number;
  readonly #init: PacerInit<T>;
  readonly #items: readonly T[];
  #rate: number;
  #next = 0;
  #dueAt: number;
  #timer: Timer | null = null;
  #over = false;

  constructor(init: PacerInit<T>) {
    this.#init = init;
    this.#items = [...init.items];
    this.total = this.#items.length;
    this.#rate = init.rate;
    this.#dueAt = init.clock.now();
  }

  /** Items that have not had their turn. */
  get left(): number {
    return this.total - this.#next;
  }

  get rate(): number {
    return this.#rate;
  }

  /** Holds from the next turn on. */
  set rate(perSecond: number) {
    this.#rate = perSecond;
  }

  begin(): void {
    this.#go();
  }

  /** All that are left have their turn now. */
  hurry(): void {
    if (this.#over) return;
    this.#timer?.cancel();
    while (this.#next < this.total) this.#init.letGo(this.#items[this.#next++]!);
    this.#end();
  }

  /** Those that are left stay. */
  abort(): void {
    this.#over = true;
    this.#timer?.cancel();
  }

  #go(): void {
    const { clock, random = Math.random } = this.#init;
    const now = clock.now();
    this.#dueAt = Math.max(this.#dueAt, now - CATCH_UP_MS);
    while (this.#next < this.total && this.#dueAt <= now) {
      const cost = this.#init.letGo(this.#items[this.#next++]!);
      if (this.#over) return;
      if (cost) this.#dueAt += (1000 / this.#rate) * (1 + JITTER * random());
    }
    if (this.#next === this.total) this.#end();
    else this.#timer = clock.after(this.#dueAt - now, () => this.#go());
  }

  #end(): void {
    this.#over = true;
    this.#init.onEnd();
  }
}
