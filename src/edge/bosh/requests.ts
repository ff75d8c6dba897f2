import { RECOVERABLE } from "./answers.ts";
import type { Exchange } from "./exchange.ts";

/** A client may ask for one lost answer again and again, but not for ever. */
const MAX_REPEATS = 10;
/** Of answers that are not remembered any more, so much may still be on its way to a client that reads slowly. */
const MAX_UNTAKEN_BYTES = 256 * 1024;

/** What a request is, by its `rid` (XEP-0124 §14). */
export type Place =
  /** In the window, and not seen before. */
  | "new"
  /** Seen before: it has had the same answer again, or gets it when there is one. */
  | "repeated"
  /** Above the window, or below what is remembered. */
  | "outside"
  /** Repeated too often. */
  | "abuse";

interface Answered {
  readonly exchange: Exchange;
  readonly bytes: Buffer;
  /** Bytes of stanzas in it that nothing shows to have reached the client. */
  unproven: number;
  readonly at: number;
}

/**
 * The requests of one session in the order of their `rid`: those that came before their turn, those that wait for an
 * answer, and the last answers, for a client that has not got them.
 */
export class Requests {
  /** How many a client may have open at once; as many `rid`s lie in the window. */
  readonly #window: number;
  #rid: number;
  readonly #early = new Map<number, Exchange>();
  readonly #held: Exchange[] = [];
  #answered: Answered[] = [];
  #untaken: Answered[] = [];
  #repeats = 0;

  /** `rid`: of the request before the first. */
  constructor(rid: number, window: number) {
    this.#rid = rid;
    this.#window = window;
  }

  /** The highest `rid` up to which all requests have had their turn. */
  get rid(): number {
    return this.#rid;
  }

  /** The requests that wait for an answer, oldest first. */
  get held(): readonly Exchange[] {
    return this.#held;
  }

  /** Bytes of stanzas in answers that the client may not have. */
  get unprovenBytes(): number {
    let bytes = 0;
    for (const { unproven } of this.#answered) bytes += unproven;
    return bytes;
  }

  receive(exchange: Exchange, now: number): Place {
    const { rid } = exchange;
    this.#proveBy(exchange);
    if (rid > this.#rid + this.#window + (isExtra(exchange) ? 1 : 0)) return "outside";
    const waiting = this.#early.get(rid) ?? this.#held.find((one) => one.rid === rid);
    const before = this.#answered.findIndex((one) => one.exchange.rid === rid);
    if (waiting === undefined && before < 0) {
      if (rid <= this.#rid) return "outside";
      this.#early.set(rid, exchange);
      return "new";
    }
    // XEP-0124 §15: the same request has the same key.
    if ((waiting ?? this.#answered[before]!.exchange).key !== exchange.key) return "outside";
    if (++this.#repeats > MAX_REPEATS) return "abuse";
    if (waiting !== undefined) waiting.replacedBy(exchange, RECOVERABLE);
    else this.#answerAgain(before, exchange, now);
    return "repeated";
  }

  #answerAgain(index: number, exchange: Exchange, now: number): void {
    const before = this.#answered[index]!;
    exchange.gzipFrom = before.exchange.gzipFrom;
    exchange.answer(before.bytes);
    this.#answered[index] = { ...before, exchange, at: now };
    this.#forget(before);
  }

  /** The next request in order, when it has come. */
  get due(): Exchange | null {
    return this.#early.get(this.#rid + 1) ?? null;
  }

  /** `due` has its turn: it waits for an answer from now on. */
  hold(): void {
    const exchange = this.due!;
    this.#early.delete(exchange.rid);
    this.#rid = exchange.rid;
    this.#held.push(exchange);
    this.#repeats = 0;
  }

  /** Answers the oldest that waits, and remembers the answer. `payload`: bytes of stanzas in it. How many bytes went. */
  answer(bytes: Buffer, now: number, payload: number, status = 200): number {
    const exchange = this.#held.shift()!;
    const sent = exchange.answer(bytes, status);
    this.#answered.push({ exchange, bytes, unproven: payload, at: now });
    while (this.#answered.filter(({ exchange }) => !isExtra(exchange)).length > this.#window) {
      this.#forget(this.#answered.shift()!);
    }
    return sent;
  }

  // Who asks for more and more and takes nothing of it loses connections.
  #forget(...answered: Answered[]): void {
    this.#untaken = [...this.#untaken, ...answered].filter(({ exchange }) => !exchange.closed);
    let bytes = this.#untaken.reduce((sum, one) => sum + one.bytes.length, 0);
    while (bytes > MAX_UNTAKEN_BYTES) {
      const oldest = this.#untaken.shift()!;
      bytes -= oldest.bytes.length;
      oldest.exchange.drop();
    }
  }

  /** The client has the answers up to `rid`, whether it says so or could not have sent what it did. */
  prove(rid: number): void {
    for (const answered of this.#answered) if (answered.exchange.rid <= rid) answered.unproven = 0;
  }

  // Answers of one connection are read in their order: who asks anew on it has them. Not so of a proxy's.
  #proveBy({ connection }: Exchange): void {
    if (connection === null) return;
    for (const answered of this.#answered) if (answered.exchange.connection === connection) answered.unproven = 0;
  }

  /** What the client may not have is not repeated any more. */
  forgetUnproven(): void {
    this.#forget(...this.#answered.filter(({ unproven }) => unproven > 0));
    this.#answered = this.#answered.filter(({ unproven }) => unproven === 0);
  }

  /** The client has said that it has the answers up to `rid`. If it lacks the next one: since when that is under way. */
  acknowledge(rid: number): { readonly rid: number; readonly at: number } | null {
    const taken = this.#answered.findLastIndex(({ exchange }) => exchange.rid <= rid) + 1;
    this.#forget(...this.#answered.splice(0, taken));
    const missing = this.#answered.find(({ exchange }) => exchange.rid === rid + 1);
    return missing === undefined ? null : { rid: rid + 1, at: missing.at };
  }

  /** The session ends: whatever has come is answered now, in order. */
  holdAll(): void {
    for (const rid of [...this.#early.keys()].sort((a, b) => a - b)) {
      this.#held.push(this.#early.get(rid)!);
      this.#rid = rid;
    }
    this.#early.clear();
  }

  /** Drops every connection that has not taken its answer. */
  drop(): void {
    for (const exchange of [...this.#held, ...this.#early.values()]) exchange.drop();
    for (const { exchange } of [...this.#answered, ...this.#untaken]) exchange.drop();
  }
}

/** XEP-0124 §11, §14.3: one more may be open, and is not counted, where it pauses or ends the session. */
function isExtra(exchange: Exchange): boolean {
  return exchange.terminates || exchange.pause !== null;
}
