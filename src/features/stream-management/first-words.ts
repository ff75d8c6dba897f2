import type { Attentive } from "../../base/janitor.ts";
import type { Session } from "../../session/session.ts";
import { type Frame, frameOver, isStanza, KIND } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import { type QueueBudget, UnackedQueue } from "../../xmpp/unacked-queue.ts";

/** A client that says no more than usual is waited for; memory is not to be had this way. */
const MOST = { maxBytes: 16 * 1024, maxStanzas: 100 };
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
  readonly #late: () => void;
  // One buffer: a flood of the smallest stanzas costs no more than their bytes.
  readonly #kept: UnackedQueue;
  #until: number;

  /** `boundAt`: of the clock, in ms. `late`: once, when the moment has passed, unless they are said before. */
  constructor(session: Session, budget: QueueBudget, boundAt: number, late: () => void) {
    this.#session = session;
    this.#late = late;
    this.#kept = new UnackedQueue(MOST, budget);
    const now = session.host.clock.now();
    this.#until = now + Math.min(MOST_MS, now - boundAt + LEAST_MS);
    session.host.janitor.soon(this);
  }

  /** False: it is not kept, and what is must go on before it. */
  keep(frame: Frame): boolean {
    return isStanza(frame) && this.#kept.append(frame.bytes, frame.start, frame.end, 0, 0);
  }

  /** It has enabled XEP-0198; only when to ask the core is not decided. */
  waitOn(): void {
    this.#until = Number.POSITIVE_INFINITY;
  }

  /** What is kept goes on, in order, each stanza borrowed until `say` returns; nothing is kept any more. */
  sayAll(say: (stanza: Frame) => void): void {
    this.#kept.forEach((bytes, start, end) => {
      const stanza = frameOver(bytes, start, end);
      stanza.kind = KIND[peek.name(stanza) as "message" | "presence" | "iq"];
      say(stanza);
    });
    this.forget();
  }

  /** May be called twice. */
  forget(): void {
    this.#until = Number.POSITIVE_INFINITY;
    this.#kept.clear();
  }

  attend(now: number): void {
    if (this.#until === Number.POSITIVE_INFINITY) return;
    if (now < this.#until) return this.#session.host.janitor.soon(this);
    // A process that was busy looks at its clock first: what has arrived meanwhile is read before the next look.
    setImmediate(() => {
      if (this.#until < Number.POSITIVE_INFINITY) this.#late();
    });
  }
}
