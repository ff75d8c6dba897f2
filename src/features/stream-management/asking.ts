import type { Attentive } from "../../base/janitor.ts";
import type { Session } from "../../session/session.ts";
import { type SmNamespace, smRequest } from "./nonza.ts";

export interface AskingPace {
  /** Ask after this many stanzas at the latest. */
  readonly request_after_stanzas: number;
  /** And at most so often before that, in ms. */
  readonly request_after: number;
}

/**
 * When the client is asked for an acknowledgement (XEP-0198 §4), and since when it owes the answer. Stamps only; what
 * cannot ride along with a stanza leaves at the janitor's next look.
 */
export class Asking implements Attentive {
  readonly #session: Session;
  readonly #attend: () => void;
  // Stanzas since our last `<r/>`, when the oldest open one was sent (0: none is), when the last one was.
  #unrequested = 0;
  #openSince = 0;
  #lastAt = 0;
  #attended = false;

  /** `attend` runs once, soon after `soon` was called. */
  constructor(session: Session, attend: () => void) {
    this.#session = session;
    this.#attend = attend;
  }

  get open(): boolean {
    return this.#openSince > 0;
  }

  /** `<enabled/>` has left: the first question waits as long as the next ones do. */
  begin(): void {
    this.#lastAt = this.#session.host.clock.now();
  }

  /** A link begins or ends: what was asked on the old one is not owed any more. */
  reset(): void {
    this.#unrequested = 0;
    this.#openSince = 0;
  }

  answered(): void {
    this.#openSince = 0;
    if (this.#unrequested > 0) this.soon();
  }

  /** Stanzas were written to the client. */
  sent(count: number): void {
    this.#unrequested += count;
  }

  /** Before a flush: asks now if it is time, else soon. */
  ride(pace: AskingPace, xmlns: SmNamespace): void {
    if (this.#unrequested === 0) return;
    const now = this.#session.host.clock.now();
    const due =
      this.#unrequested >= pace.request_after_stanzas || (!this.open && now - this.#lastAt >= pace.request_after);
    if (due) this.ask(now, xmlns);
    else this.soon();
  }

  ask(now: number, xmlns: SmNamespace): void {
    const link = this.#session.link;
    if (link === null) return;
    const bytes = smRequest(xmlns);
    link.write(bytes, 0, bytes.length);
    this.#unrequested = 0;
    this.#lastAt = now;
    if (!this.open) this.#openSince = now;
  }

  /** Whether an answer is overdue: neither it nor anything else has come for `seconds`. */
  isOverdue(now: number, heardAt: number, seconds: number): boolean {
    return this.open && now - Math.max(this.#openSince, heardAt) > seconds * 1000;
  }

  soon(): void {
    if (this.#attended) return;
    this.#attended = true;
    this.#session.host.janitor.soon(this);
  }

  attend(): void {
    this.#attended = false;
    this.#attend();
  }
}
