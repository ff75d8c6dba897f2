import type { Clock } from "../../base/clock.ts";
import { bytesToClient } from "../links.ts";
import { answerBody, type Condition, statusFor, terminal } from "./answers.ts";
import { type Body, readNumber } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { Pieces } from "./pieces.ts";
import { Requests } from "./requests.ts";
import type { BoshTerms } from "./terms.ts";
import { Told } from "./told.ts";

/** More than this of what waits for a client does not go with one answer: a lost one is sent again whole. */
const ANSWER_BYTES = 64 * 1024;
/** An answer that is so long under way may be lost: the client is told of it (XEP-0124 §9.2). */
const REPORT_AFTER_MS = 3000;

/** What goes to one client: which of its requests is answered when, and with what. */
export class Responder {
  readonly requests: Requests;
  /** Beside the payload. */
  readonly told = new Told();
  /** When something was answered last. */
  wroteAt: number;
  /** The last answer brought no payload. */
  lastWasEmpty = false;
  readonly #terms: BoshTerms;
  readonly #clock: Clock;
  readonly #out = new Pieces();
  #written = 0;
  // Of these the ones that were forgotten, and that the client does not get.
  #forgotten = 0;
  #reporting = false;
  // The last answer of a session that has ended, until somebody asks for it.
  #last: Buffer | null = null;
  #lastCondition: Condition | null = null;

  constructor(firstRid: number, terms: BoshTerms, clock: Clock) {
    this.requests = new Requests(firstRid - 1, terms.requests);
    this.#terms = terms;
    this.#clock = clock;
    this.wroteAt = clock.now();
  }

  /** Bytes that wait for an answer to go with. */
  get pendingBytes(): number {
    return this.#out.bytes;
  }

  /** All bytes that were ever added, and how many of them the client has. */
  get writtenBytes(): number {
    return this.#written;
  }

  get takenBytes(): number {
    return this.#written - this.#forgotten - this.#out.bytes - this.requests.unprovenBytes;
  }

  /** The connection of a request that waits for an answer is there. */
  get someoneWaits(): boolean {
    return this.requests.held.some((exchange) => !exchange.closed);
  }

  /** Nobody has come yet for the last answer. */
  get owesLast(): boolean {
    return this.#last !== null;
  }

  /** Copies one element. */
  add(bytes: Buffer, start: number, end: number): void {
    this.#written += this.#out.add(bytes, start, end);
  }

  /** As much of what waits as there are requests for it. */
  flush(): void {
    while (this.#out.bytes > 0 && this.someoneWaits) this.answerOldest();
  }

  /** Requests beyond those that may be held, and those that have to tell something now. */
  answerDue(): void {
    const { held } = this.requests;
    while (held.length > this.#terms.hold || (this.#reporting && held.length > 0)) this.answerOldest();
  }

  /** With what waits for the client, if anything. */
  answerOldest(): void {
    const gone = this.requests.held[0]!.closed;
    const before = this.#out.bytes;
    const payload = gone ? [] : this.#out.take(ANSWER_BYTES);
    this.#answer(answerBody(gone ? "" : this.#attributes(), payload), before - this.#out.bytes);
    this.lastWasEmpty = payload.length === 0;
  }

  /** XEP-0124 §10: all requests are answered, the last one, which asks for the pause, with nothing. */
  answerPause(): void {
    while (this.requests.held.length > 1) this.answerOldest();
    this.#answer(answerBody(this.#attributes(), []));
  }

  /** A request of this body has its turn: what does it say of the answers before? */
  acknowledged(due: Exchange, { attributes }: Body): void {
    const { requests, hold, acks } = this.#terms;
    if (!acks) {
      // Who has as many requests open as it may sends no further one; and one for nothing only when none is open.
      const asksForMore = !due.matters && !due.terminates && due.pause === null && hold > 0;
      this.requests.prove(asksForMore && this.requests.held.length === 1 ? due.rid - 1 : due.rid - requests);
      return;
    }
    // No `ack` where one was promised: the client has all answers (XEP-0124 §9.2).
    const ack = attributes.has("ack") ? (readNumber(attributes.get("ack")) ?? 0) : this.requests.rid - 1;
    const missing = this.requests.acknowledge(ack);
    const age = missing === null ? 0 : this.#clock.now() - missing.at;
    if (missing === null || age < REPORT_AFTER_MS) return;
    this.told.add({ report: missing.rid, time: Math.round(age) });
    this.#reporting = true;
  }

  /**
   * Nothing follows; `error` is the stream's, `asked`: by the client. COMPAT: stanza and strophe.js read nothing in a body
   * that ends the session, so what still waits goes before it, as long as there are requests for both.
   */
  end(condition: Condition | null, error: Buffer | null, asked: boolean): void {
    const { held } = this.requests;
    this.requests.holdAll();
    while (this.#out.bytes > 0 && held.length > (asked ? 1 : 0) && this.someoneWaits) this.answerOldest();
    this.#lastCondition = condition;
    const rest = this.#out.take(Number.POSITIVE_INFINITY);
    this.#last = terminal(condition, error === null ? rest : [...rest, error]);
    this.answerLast();
  }

  /** XEP-0124 §13: of all open requests the oldest hears of the end. Who asks later finds no session. */
  answerLast(): void {
    this.requests.holdAll();
    const { held } = this.requests;
    if (held.length === 0) return;
    const condition = this.#last === null ? "item-not-found" : this.#lastCondition;
    const last = this.#last ?? terminal(condition);
    this.#last = null;
    while (held.length > 1 && held[0]!.closed) this.#answer(answerBody("", []));
    this.#answer(last, 0, statusFor(condition, this.#terms.version === null));
    while (held.length > 0) this.#answer(answerBody("", []));
  }

  /** Forgets what waits for the client. */
  clear(): void {
    this.#forgotten += this.#out.bytes;
    this.#out.clear();
  }

  /** And what it may not have. */
  recall(): void {
    this.clear();
    this.#forgotten += this.requests.unprovenBytes;
    this.requests.forgetUnproven();
  }

  #answer(bytes: Buffer, payload = 0, status = 200): void {
    this.wroteAt = this.#clock.now();
    bytesToClient.value += this.requests.answer(bytes, this.wroteAt, payload, status);
  }

  /** What the next answer has to tell; told once. */
  #attributes(): string {
    const { held, rid } = this.requests;
    this.#reporting = false;
    return this.told.take(this.#terms.acks && rid !== held[0]!.rid ? { ack: rid } : {});
  }
}
