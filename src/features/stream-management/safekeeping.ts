import type { Session } from "../../session/session.ts";
import type { StoredName } from "../../session/stanza-store.ts";
import type { UnackedQueue } from "../../xmpp/unacked-queue.ts";
import type { SafekeepingEstate } from "./estate.ts";
import { type Kept, type Safe, sealed } from "./safe.ts";

const BATCH_BYTES = 512 * 1024;
const BATCH_STANZAS = 1000;
const NOTHING = -1;
// So much of what a core keeps may wait there before it is stored; the rest is for what comes until the store has answered.
const KEEP_SHARE = 0.25;
// A core that minds for how long stanzas wait does so from about this many on.
const OLD_STANZAS = 10;
// The store counts in doubles and never wraps; a session that has come so far keeps to its core's patience.
const MAX_SEQUENCE = 0x7fff_ffff;

export interface SafekeepingInit {
  readonly safe: Safe;
  readonly session: Session;
  readonly name: StoredName;
  readonly queue: UnackedQueue;
  /** Stanzas that came from the core so far. */
  readonly received: () => number;
  /** More is safe than before: the core may be told, and the queue hold more. */
  readonly moved: () => void;
}

/**
 * Keeps the stanzas of one portable session in the store, so that its core need not wait for the client's acknowledgement
 * (a core bounds what it keeps, and past that loses or bounces all of it). What is stored stays in the queue, too: this
 * process needs the store only to be allowed to acknowledge, and the next owner finds it there.
 *
 * The core counts what the client counts (`Session.portable`), so a stanza's number is the same for all.
 */
export class Safekeeping {
  readonly #init: SafekeepingInit;
  readonly #from: number;
  #epoch: number | null = null;
  // The store has the core's numbers from `first` up to and without `next`; equal: nothing.
  #first = 0;
  #next = 0;
  // The last that was ever stored: the core has been told, so this never goes back.
  #through = NOTHING;
  #busy = false;
  #full = false;
  // Until the next tick: the store would not.
  #triedTrim = false;
  #ended = false;
  #refreshAt = Number.POSITIVE_INFINITY;

  constructor(init: SafekeepingInit) {
    this.#init = init;
    const { maxUnacked } = init.session.core.traits;
    this.#from = Math.ceil(Math.min(maxUnacked, init.queue.limits.maxStanzas) * KEEP_SHARE);
  }

  /** After a takeover: what the store has already. */
  adopt({ epoch, first, next }: Kept): void {
    this.#epoch = epoch;
    this.#first = first;
    this.#next = next;
    this.#through = next - 1;
    this.#refreshLater();
  }

  /** Null while the store is asked: nobody knows yet what it has. */
  get estate(): SafekeepingEstate | null {
    if (this.#busy) return null;
    return { epoch: this.#epoch, first: this.#first, next: this.#next, through: this.#through };
  }

  /** Goes on where another process left off: the epoch is the session's, whoever has it. */
  restore({ epoch, first, next, through }: SafekeepingEstate): void {
    this.#epoch = epoch;
    this.#first = first;
    this.#next = next;
    this.#through = through;
    if (epoch !== null) this.#refreshLater();
  }

  /** What the core may be told, where the client itself has handled no more than `handled`. */
  atLeast(handled: number): number {
    return Math.max(this.#through, handled);
  }

  /** Stanzas of the queue that are safe. */
  get storedInQueue(): number {
    return Math.min(this.#init.queue.length, Math.max(0, this.#through + 1 - this.#head));
  }

  // The core's number of the oldest stanza in the queue.
  get #head(): number {
    const { queue, received } = this.#init;
    return queue.coreHandled(received()) + 1;
  }

  get #unsafe(): number {
    return this.#init.queue.length - this.storedInQueue;
  }

  /** The queue has grown. */
  grown(): void {
    if (this.#init.queue.length >= this.#from) this.#keep(this.#from);
  }

  /** The client has acknowledged something. True when that may have been something stored: the queue may hold less then. */
  handled(): boolean {
    this.#full = false;
    this.#settle();
    return this.#through !== NOTHING;
  }

  tick(now: number): void {
    this.grown(); // a store that did not answer is asked again
    this.#keepInTime();
    this.#triedTrim = false;
    this.#settle();
    if (now < this.#refreshAt) return;
    this.#refreshLater();
    this.#attempt(() => this.#refresh());
  }

  /**
   * Nothing more is stored here. `over`: nor will the session go on at another edge; what the client has not handled is for
   * the next login.
   */
  end(over: boolean): void {
    this.#ended = true;
    if (this.#epoch === null) return;
    const { safe, name } = this.#init;
    const [epoch, through] = [this.#epoch, this.#head - 1];
    safe.surely(() => safe.store.trim(name, epoch, through, over));
  }

  // Some cores mind for how long stanzas wait, too.
  #keepInTime(): void {
    const { queue, session } = this.#init;
    if (queue.length < OLD_STANZAS) return;
    const second = Math.floor(session.host.clock.wall() / 1000);
    if (second - queue.oldestQueuedAt > session.core.traits.maxUnackedSeconds) this.#keep(1);
  }

  // Stores what is not safe yet, if that is `from` stanzas at least. One attempt at a time.
  #keep(from: number): void {
    if (this.#unsafe < from || this.#full || this.#init.received() > MAX_SEQUENCE) return;
    this.#attempt(() => this.#store());
  }

  #attempt(what: () => Promise<void>): void {
    if (this.#busy || this.#ended) return;
    this.#busy = true;
    void what().finally(() => {
      this.#busy = false;
      this.#settle();
    });
  }

  async #store(): Promise<void> {
    // What is stored lies before the queue: the client has handled it, and there would be a gap.
    if ((this.#epoch === null || this.#next < this.#head) && !(await this.#begin())) return;
    await this.#trim();
    while (!this.#ended && this.#next < this.#head + this.#init.queue.length) if (!(await this.#append())) return;
  }

  async #append(): Promise<boolean> {
    const { safe, name, session } = this.#init;
    const from = this.#next;
    const stanzas = this.#batch(from);
    const result = await safe.store.append(name, this.#epoch!, from, stanzas, safe.seconds(session.holdSeconds));
    if (this.#ended) return false;
    if (result === "stored") {
      safe.counted(stanzas.length);
      this.#next = from + stanzas.length;
      this.#through = Math.max(this.#through, this.#next - 1);
      this.#refreshLater();
      this.#init.moved();
      return true;
    }
    safe.trouble(result);
    if (result === "fenced")
      session.on("coreGone", "core-gone"); // another edge has the session
    else if (result === "full") this.#tooMuch();
    else if (result === "lost") return this.#begin();
    return false;
  }

  // Claims the session, without any stanzas in the store: those of the queue follow.
  async #begin(): Promise<boolean> {
    const { safe, name, session } = this.#init;
    if (this.#epoch !== null && (await safe.store.release(name, this.#epoch)) === "unavailable") return this.#away();
    let claim = await safe.claim(name, session.holdSeconds);
    if (claim === "unavailable") return this.#away();
    if (claim.record?.stanzas != null) {
      if ((await safe.store.release(name, claim.epoch)) === "unavailable") return this.#away();
      claim = await safe.claim(name, session.holdSeconds);
      if (claim === "unavailable") return this.#away();
    }
    this.#epoch = claim.epoch;
    this.#first = this.#next = this.#head;
    return true;
  }

  // What the client has handled must not be there: its next login would get it again.
  async #trim(): Promise<void> {
    const { safe, name } = this.#init;
    const through = this.#head - 1;
    if (this.#first > through || this.#next <= through) return;
    if ((await safe.store.trim(name, this.#epoch!, through)) === "trimmed") this.#first = through + 1;
    else this.#triedTrim = true;
  }

  async #refresh(): Promise<void> {
    if (this.#epoch !== null && (await this.#touch(this.#epoch)) === "lost") await this.#store();
  }

  #touch(epoch: number) {
    const { safe, name, session } = this.#init;
    return safe.store.append(name, epoch, this.#next, [], safe.seconds(session.holdSeconds));
  }

  #batch(from: number): Buffer[] {
    const stanzas: Buffer[] = [];
    let bytes = 0;
    this.#init.queue.forEach((buffer, start, end, queuedAt) => {
      bytes += end - start;
      if (stanzas.length > 0 && (bytes > BATCH_BYTES || stanzas.length >= BATCH_STANZAS)) return;
      stanzas.push(sealed(buffer, start, end, queuedAt));
    }, from - this.#head);
    return stanzas;
  }

  // The store forgets what has been handled, one word at a time, and all of the session when nothing is left.
  #settle(): void {
    if (this.#busy || this.#ended || this.#epoch === null) return;
    if (this.#head < this.#next) {
      if (this.#first < this.#head && !this.#triedTrim) this.#attempt(() => this.#trim());
      return;
    }
    const { safe, name } = this.#init;
    const epoch = this.#epoch;
    this.#epoch = null;
    this.#first = this.#next = 0;
    this.#refreshAt = Number.POSITIVE_INFINITY;
    safe.surely(() => safe.store.release(name, epoch));
  }

  #away(): false {
    this.#init.safe.trouble("unavailable");
    return false;
  }

  #tooMuch(): void {
    this.#full = true;
    const { session } = this.#init;
    session.log.warn("the store takes no more stanzas of this session: it ends when its core's patience does", {
      session: session.id,
      stored: this.storedInQueue,
      remedy: "raise store.max_session_bytes or store.max_session_stanzas",
    });
  }

  #refreshLater(): void {
    const { safe } = this.#init;
    this.#refreshAt = safe.clock.now() + safe.refreshDelay();
  }
}
