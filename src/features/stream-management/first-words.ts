import type { Attentive } from "../../base/janitor.ts";
import type { Session } from "../../session/session.ts";
import { type Frame, frameOver, isStanza, retain } from "../../xmpp/frame.ts";
import type { QueueBudget } from "../../xmpp/unacked-queue.ts";

/** A client that says no more than usual is waited for; memory is not to be had this way. */
const MOST_BYTES = 16 * 1024;
const LEAST_MS = 100;
const MOST_MS = 1000;

/**
 * What a client says from its first presence on, kept until it has enabled XEP-0198 or a moment has passed. Some enable it only
 * behind their presence, as xmpp.js does where presence is sent on its `online`; the core can be asked once only, and for a client
 * without XEP-0198 it is asked for something else (`StandIn`).
 *
 * The moment is a round trip of this client and a little: its two words may come in two packets, of which Nagle's algorithm
 * sends the second when the first has arrived. It is taken from how long the client took from its bind to its presence.
 */
export class FirstWords implements Attentive {
  readonly #session: Session;
  readonly #budget: QueueBudget;
  readonly #late: () => void;
  readonly #kept: Frame[] = [];
  #bytes = 0;
  #until: number;

  /** `boundAt`: of the clock, in ms. `late`: once, when the moment has passed; `take` forestalls it. */
  constructor(session: Session, budget: QueueBudget, boundAt: number, late: () => void) {
    this.#session = session;
    this.#budget = budget;
    this.#late = late;
    const now = session.host.clock.now();
    this.#until = now + Math.min(MOST_MS, now - boundAt + LEAST_MS);
    session.host.janitor.soon(this);
  }

  /** False: it is not kept, and what is must go on before it. */
  keep(frame: Frame): boolean {
    const size = frame.end - frame.start;
    if (!isStanza(frame) || this.#bytes + size > MOST_BYTES || this.#budget.used + size > this.#budget.max)
      return false;
    this.#kept.push(frameOver(retain(frame), 0, size, frame.kind));
    this.#bytes += size;
    this.#budget.used += size;
    return true;
  }

  /** It has enabled XEP-0198; only when to ask the core is not decided. */
  waitOn(): void {
    this.#until = Number.POSITIVE_INFINITY;
  }

  /** In order; they are the caller's, and nothing is kept any more. */
  take(): readonly Frame[] {
    this.#until = Number.POSITIVE_INFINITY;
    this.#budget.used -= this.#bytes;
    this.#bytes = 0;
    return this.#kept.splice(0);
  }

  attend(now: number): void {
    if (now >= this.#until) this.#late();
    else if (this.#until < Number.POSITIVE_INFINITY) this.#session.host.janitor.soon(this);
  }
}
