import type { Clock, Timer } from "../base/clock.ts";
import { meter } from "../base/meter.ts";
import { JITTER } from "../base/pacer.ts";
import type { Link } from "./ports.ts";

const waiting = meter.gauge(
  "breakwater_returns_waiting",
  "Links of clients whose core's connection is gone, before they are cut so that the clients return",
);

/**
 * Links whose sessions have lost their core's connection: each is cut when its turn comes, so that the clients return to the
 * core one after the other and not as a herd. Until then a client believes itself connected; what it sends is not read,
 * and sent again when it has returned (XEP-0198 §5).
 */
export class Returns {
  readonly #clock: Clock;
  readonly #rate: () => number;
  #links: Link[] = [];
  #timer: Timer | null = null;
  // Before then nobody else has a turn.
  #dueAt = 0;

  /** `rate`: links a second. */
  constructor(clock: Clock, rate: () => number) {
    this.#clock = clock;
    this.#rate = rate;
    waiting.collect = () => waiting.set(this.#links.length);
  }

  /** Takes the link over. */
  add(link: Link): void {
    link.fence();
    this.#links.push(link);
    if (this.#timer === null) this.#go();
  }

  /** Cuts all of them now. */
  hurry(): void {
    this.#timer?.cancel();
    this.#timer = null;
    for (const link of this.#links.splice(0)) link.drop();
  }

  #go(): void {
    this.#timer = null;
    const now = this.#clock.now();
    if (now >= this.#dueAt) {
      this.#links.shift()?.drop();
      this.#dueAt = now + (1000 / this.#rate()) * (1 + JITTER * Math.random());
    }
    if (this.#links.length > 0) this.#timer = this.#clock.after(this.#dueAt - now, () => this.#go());
  }
}
