import type { Clock, Timer } from "../base/clock.ts";
import { meter } from "../base/meter.ts";
import { STREAM_END } from "../xmpp/stream-error.ts";
import type { Link } from "./ports.ts";
import type { Turns } from "./turns.ts";

const waiting = meter.gauge(
  "breakwater_returns_waiting",
  "Links of clients whose core's connection is gone, before they are cut so that the clients return",
);

interface Returning {
  readonly link: Link;
  readonly farewell: Buffer | null;
}

/**
 * Links whose sessions have lost their core's connection: each is cut when its turn comes, so that the clients return to the
 * core one after the other and not as a herd. Until then a client believes itself connected; what it sends is not read,
 * and sent again when it has returned (XEP-0198 §5).
 */
export class Returns {
  readonly #clock: Clock;
  readonly #turns: Turns;
  #links: Returning[] = [];
  #timer: Timer | null = null;

  constructor(clock: Clock, turns: Turns) {
    this.#clock = clock;
    this.#turns = turns;
    waiting.collect = () => waiting.set(this.#links.length);
  }

  /** Takes the link over. `farewell`: the stream error for a client that has to log in anew; null: cut without a word. */
  add(link: Link, farewell: Buffer | null): void {
    link.fence();
    this.#links.push({ link, farewell });
    if (this.#timer === null) this.#go();
  }

  /** Cuts one that has no turn to wait for. */
  cut(link: Link, farewell: Buffer | null): void {
    link.fence();
    cut({ link, farewell });
  }

  /** Cuts all of them now. */
  hurry(): void {
    this.#timer?.cancel();
    this.#timer = null;
    for (const returning of this.#links.splice(0)) cut(returning);
  }

  #go(): void {
    this.#timer = null;
    if (this.#turns.wait === 0) {
      const next = this.#links.shift();
      if (next !== undefined) cut(next);
      this.#turns.take();
    }
    if (this.#links.length > 0) this.#timer = this.#clock.after(this.#turns.wait, () => this.#go());
  }
}

function cut({ link, farewell }: Returning): void {
  if (farewell === null) return link.drop();
  link.write(farewell, 0, farewell.length);
  link.write(STREAM_END, 0, STREAM_END.length);
  link.end();
}
