import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Unavailable } from "../session/stanza-store.ts";
import { storeErrors, storeSeconds, storeUp } from "./metrics.ts";
import { type Trouble, troubleOf } from "./redis-trouble.ts";

/** Bytes that may be on their way to Redis at once: a burst of logins fits, a Redis that hangs does not take the memory. */
const MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024;
/** What a command costs beside the bytes that it carries. */
const COMMAND_BYTES = 1024;
/** How often a Redis is tried that does not take writes. */
const RETRY_MS = 1000;

export interface GuardOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly timeoutMs: number;
  readonly probeMs: number;
  /** Where Redis is, for the log. */
  readonly place: string;
  /** Rejects unless Redis does everything that sessions need. */
  readonly probe: () => Promise<unknown>;
}

/**
 * Stands before Redis: every operation ends within the timeout, with an answer or with `unavailable`, and what is on its
 * way is bounded. A probe, and nothing else, decides whether the store counts as up; an operation that fails asks for one
 * at once. While a probe goes unanswered, operations are refused without being sent.
 */
export class RedisGuard {
  readonly #options: GuardOptions;
  readonly #ticker: Timer;
  #down: Trouble | null = { reason: "disconnected", text: "no connection has come about yet" };
  #downSince: number;
  /** What the operator has read of this outage. */
  readonly #told = new Set<string>();
  #connection: Trouble | null = null;
  #probing = false;
  #probeAt = 0;
  #inFlight = 0;
  #closed = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#downSince = options.clock.now();
    this.#probeAt = this.#downSince + RETRY_MS;
    this.#ticker = options.clock.every(RETRY_MS, () => this.#tick());
    storeUp.set(0);
  }

  readiness(): true | string {
    return this.#down === null ? true : `Redis at ${this.#options.place}: ${this.#down.text}`;
  }

  /** What the client says about its connection: until there is one again, this is why operations fail. */
  connectionFailed(error: unknown): void {
    this.#connection = troubleOf(error);
    storeErrors.inc("connect", this.#connection.reason);
    if (this.#down !== null) this.#found(this.#connection);
  }

  connectionClosed(): void {
    if (this.#down === null) this.#probeSoon();
  }

  connected(): void {
    this.#connection = null;
    this.#probeSoon();
  }

  /** `bytes`: what the operation carries. */
  async run<T>(operation: string, bytes: number, send: () => Promise<T>): Promise<T | Unavailable> {
    const refused = this.#refusal(bytes);
    if (refused !== null) {
      storeErrors.inc(operation, refused);
      return "unavailable";
    }
    try {
      return await this.#timed(bytes + COMMAND_BYTES, send);
    } catch (error) {
      const trouble = this.#troubleOf(error);
      storeErrors.inc(operation, trouble.reason);
      this.#options.log.debug("store operation failed", { operation, reason: trouble.reason, error: trouble.text });
      if (this.#down === null) this.#probeSoon();
      return "unavailable";
    }
  }

  close(): void {
    this.#closed = true;
    this.#ticker.cancel();
  }

  #refusal(bytes: number): string | null {
    if (this.#closed) return "closed";
    if (this.#down?.reason === "timeout") return "timeout";
    return this.#inFlight + bytes + COMMAND_BYTES > MAX_IN_FLIGHT_BYTES ? "busy" : null;
  }

  async #timed<T>(cost: number, send: () => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#options;
    const began = clock.now();
    let timer: Timer | undefined;
    this.#inFlight += cost;
    const answer = send().finally(() => {
      this.#inFlight -= cost; // not before: a command without an answer still takes its memory
    });
    answer.catch(() => {}); // it may fail after the deadline, when nobody listens any more
    const deadline = new Promise<never>((_, reject) => {
      timer = clock.after(timeoutMs, () => reject(new NoAnswer(timeoutMs)));
    });
    try {
      return await Promise.race([answer, deadline]);
    } finally {
      timer?.cancel();
      storeSeconds.observe((clock.now() - began) / 1000);
    }
  }

  #troubleOf(error: unknown): Trouble {
    if (error instanceof NoAnswer) return this.#connection ?? { reason: "timeout", text: error.message };
    const trouble = troubleOf(error);
    // "the connection is closed" says less than why it is
    return trouble.reason === "disconnected" && this.#connection !== null ? this.#connection : trouble;
  }

  #tick(): void {
    if (this.#down !== null || this.#options.clock.now() >= this.#probeAt) this.#probeSoon();
  }

  #probeSoon(): void {
    if (!this.#probing && !this.#closed) void this.#probe();
  }

  async #probe(): Promise<void> {
    this.#probing = true;
    this.#probeAt = this.#options.clock.now() + this.#options.probeMs;
    try {
      await this.#timed(COMMAND_BYTES, this.#options.probe);
      this.#found(null);
    } catch (error) {
      const trouble = this.#troubleOf(error);
      storeErrors.inc("probe", trouble.reason);
      this.#found(trouble);
    } finally {
      this.#probing = false;
    }
  }

  #found(trouble: Trouble | null): void {
    if (this.#closed) return;
    const { clock, log, place } = this.#options;
    const before = this.#down;
    this.#down = trouble;
    storeUp.set(trouble === null ? 1 : 0);
    if (trouble === null) {
      this.#connection = null;
      this.#told.clear();
      if (before === null) return;
      log.info("store available", { redis: place, down_s: Math.round((clock.now() - this.#downSince) / 1000) });
      return;
    }
    if (before === null) this.#downSince = clock.now();
    // each reason once: what the operator has to do is another then
    if (this.#told.has(trouble.reason)) return;
    this.#told.add(trouble.reason);
    log.warn("store unavailable", { redis: place, reason: trouble.reason, error: trouble.text });
  }
}

class NoAnswer extends Error {
  constructor(timeoutMs: number) {
    super(
      `no answer within ${timeoutMs} ms: it hangs, is overloaded or the network loses packets; see its SLOWLOG and its host`,
    );
  }
}
