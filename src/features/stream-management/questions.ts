import type { Session } from "../../session/session.ts";
import type { CoreSide } from "./core-side.ts";

// A client's `<r/>` waits for the core's own acknowledgement, but no longer: an answer must not be withheld (§4).
const CORE_ANSWER_MS = 1000;

// Of a client that asks more than this the rest is answered with these.
const MOST = 1000;

/** `<r/>` of the client that wait for the core's answer to ours (XEP-0198 §4). */
export class Questions {
  readonly #session: Session;
  // Of each the number of our question (`CoreSide.request`), whose answer is its answer; 0 before there is one.
  #waiting: number[] = [];
  // Since when the oldest does.
  #since = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Came before `<enabled/>` had left; `takeAll` later. */
  keep(): void {
    if (this.#waiting.length < MOST) this.#waiting.push(0);
  }

  takeAll(): number {
    return this.#waiting.splice(0).length;
  }

  /** The core's own acknowledgement is the answer: asks for it behind the stanzas that it is about. */
  askCore(coreSide: CoreSide): void {
    if (this.#waiting.length >= MOST) return;
    if (this.#waiting.length === 0) this.#since = this.#session.host.clock.now();
    this.#waiting.push(coreSide.request());
  }

  /** The core has answered. True: one question of the client is answered by it. */
  answered(coreSide: CoreSide): boolean {
    if (this.#waiting.length === 0 || this.#session.link === null || !coreSide.hasAnswered(this.#waiting[0]!))
      return false;
    this.#waiting.shift();
    this.#since = this.#session.host.clock.now();
    return true;
  }

  /** The core takes its time: the client has to hear what is known so far. */
  isOverdue(now: number): boolean {
    return this.#waiting.length > 0 && now - this.#since >= CORE_ANSWER_MS;
  }
}
