import type { Exchange } from "./exchange.ts";

/** A client may ask for one lost answer again and again, but not for ever. */
const MAX_REPEATS = 10;

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
  at: number;
}

/**
 * The requests of one session in the order of their `rid`: those that came before their turn, those that wait for an
 * answer, and the last answers, for a client that has not got them.
 */
export class Requests {
  /** How many a client may have open at once; as many `rid`s lie in the window. */
  readonly #window: number;
  readonly #recoverable: Buffer;
  #rid: number;
  readonly #early = new Map<number, Exchange>();
  readonly #held: Exchange[] = [];
  #answered: Answered[] = [];
  #repeats = 0;

  /** `rid`: of the request before the first. `recoverable`: what a request is told when it comes again while it waits. */
  constructor(rid: number, window: number, recoverable: Buffer) {
    this.#rid = rid;
    this.#window = window;
    this.#recoverable = recoverable;
  }

  /** The highest `rid` up to which all requests have had their turn. */
  get rid(): number {
    return this.#rid;
  }

  /** The requests that wait for an answer, oldest first. */
  get held(): readonly Exchange[] {
    return this.#held;
  }

  receive(exchange: Exchange, now: number): Place {
    const { rid } = exchange;
    // XEP-0124 §11: one more where it pauses or ends the session.
    const extra = exchange.terminates || exchange.pauses ? 1 : 0;
    if (rid > this.#rid + this.#window + extra) return "outside";
    const waiting = this.#early.get(rid) ?? this.#held.find((one) => one.rid === rid);
    const before = this.#answered.find((one) => one.exchange.rid === rid);
    if (waiting === undefined && before === undefined) {
      if (rid <= this.#rid) return "outside";
      this.#early.set(rid, exchange);
      return "new";
    }
    // XEP-0124 §15: the same request has the same key.
    if ((waiting ?? before!.exchange).key !== exchange.key) return "outside";
    if (++this.#repeats > MAX_REPEATS) return "abuse";
    if (waiting !== undefined) waiting.replacedBy(exchange, this.#recoverable);
    else if (before !== undefined) {
      exchange.gzipFrom = before.exchange.gzipFrom;
      exchange.answer(before.bytes);
      before.at = now;
    }
    return "repeated";
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

  /** Answers the oldest that waits, and remembers the answer. How many bytes went. */
  answer(bytes: Buffer, now: number, status = 200): number {
    const exchange = this.#held.shift()!;
    const sent = exchange.answer(bytes, status);
    this.#answered.push({ exchange, bytes, at: now });
    while (this.#answered.length > this.#window) {
      const { exchange: forgotten } = this.#answered.shift()!;
      // Who has sent so many requests since has given this answer up, or never reads.
      if (!forgotten.closed) forgotten.drop();
    }
    return sent;
  }

  /** The client has the answers up to `rid`. If it lacks the next one: since when that is under way. */
  acknowledge(rid: number): { readonly rid: number; readonly at: number } | null {
    this.#answered = this.#answered.filter(({ exchange }) => exchange.rid > rid);
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
    for (const { exchange } of this.#answered) exchange.drop();
  }
}
