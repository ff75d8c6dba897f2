import type { Exchange } from "./exchange.ts";

/** Requests in a row that came too fast: networks bunch what clients have spread. */
const MAX_HASTY = 5;

/** Whether a client asks for nothing more often than it may (XEP-0124 §11, §12). */
export class Pace {
  #at = Number.NEGATIVE_INFINITY;
  #wasEmpty = false;
  #hasty = 0;

  /**
   * Takes note of a new request. `forNothing`: the one before it is unanswered (or, where the client polls, was answered
   * with nothing). False: too fast for too long.
   */
  holds(exchange: Exchange, now: number, pollingMs: number, polls: boolean, forNothing: boolean): boolean {
    const isEmpty = !exchange.matters && exchange.pause === null && !exchange.terminates;
    const tooSoon = now - this.#at < pollingMs;
    const isHasty = isEmpty && tooSoon && forNothing && (!polls || this.#wasEmpty);
    this.#hasty = isHasty ? this.#hasty + 1 : 0;
    this.#at = now;
    this.#wasEmpty = isEmpty;
    return this.#hasty <= MAX_HASTY;
  }
}
