import { meter } from "../../base/meter.ts";
import type { Verdict } from "../../session/part.ts";
import type { Session } from "../../session/session.ts";
import { type Frame, KIND } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import type { QueueBudget } from "../../xmpp/unacked-queue.ts";
import { CoreSide } from "./core-side.ts";
import { type SmNamespace, smEnable } from "./nonza.ts";

const returned = meter.counter(
  "breakwater_sm_returned_stanzas_total",
  "Stanzas that clients without stream management had not got when they left, and that their core was left with",
);

const BATCH = 25;

/**
 * Acknowledges to the core in the place of a client that does not (XEP-0198): what the client has as far as its link can
 * tell. So what never reached it is the core's when the session ends, and the core keeps it for the next login or gives it
 * to another resource. Holds no stanzas, only where in the link each begins, as long as the link has not got rid of it.
 */
export class StandIn {
  readonly #session: Session;
  readonly #budget: QueueBudget;
  // Bytes in the link that were counted in the budget.
  #budgeted = 0;
  // What the link may hold, and what is usual.
  readonly #room: number;
  readonly #usualRoom: number;
  // Stanzas that the core may be left with.
  readonly #most: number;
  // Stanzas after which the core is told without waiting for the next second.
  readonly #batch: number;
  // `session.stanzasToCore` when our `<enable/>` was written.
  readonly #sentBase: number;
  #coreSide: CoreSide | null = null;
  #answered = false;
  // Of each stanza that may still be in the link, oldest first: where in it it begins, and its number at the core.
  #starts: number[] = [];
  #sequences: number[] = [];
  #first = 0;
  // Where the newest of them ends; what follows is none.
  #end = 0;
  // The newest that came are kept in this process, so many.
  #held = 0;
  #ended = false;

  /** Before the client's first presence: what is stored for it follows at once. `maxBytes`: what its link may hold. */
  constructor(session: Session, xmlns: SmNamespace, budget: QueueBudget, maxBytes: number) {
    this.#session = session;
    this.#budget = budget;
    this.#usualRoom = session.linkRoom;
    // What the edge does not read a core counts all the same, and some end the session over it: it is read for longer.
    const { maxUnacked, pastMaxUnacked } = session.core.traits;
    const ends = pastMaxUnacked === "ends";
    this.#most = ends ? Math.ceil(maxUnacked / 2) : maxUnacked;
    this.#batch = Math.min(BATCH, Math.ceil(this.#most / 4));
    this.#room = ends ? Math.max(maxBytes, session.linkRoom) : session.linkRoom;
    this.#sentBase = session.stanzasToCore;
    const enable = smEnable(xmlns, null);
    session.core.write(enable, 0, enable.length);
  }

  /** The core's side of XEP-0198; null as long as it has not agreed. */
  get coreSide(): CoreSide | null {
    return this.#coreSide;
  }

  /** Whether the core has said `<enabled/>` or `<failed/>`. */
  get answered(): boolean {
    return this.#answered;
  }

  /** `<enabled/>`, `<failed/>`, `<r/>` or `<a/>` of the core. False when it counts more than was sent. */
  heard(frame: Frame, h: number | null): boolean {
    if (frame.kind === KIND.smAnswer) return this.#coreSide === null || (h !== null && this.#coreSide.acknowledge(h));
    if (frame.kind === KIND.smRequest) this.#coreSide?.owe();
    else if (!this.#answered) {
      const name = peek.name(frame);
      this.#answered = name === "enabled" || name === "failed";
      if (name === "enabled") this.#coreSide = CoreSide.enabled(this.#session, frame, this.#sentBase, false);
    }
    return true;
  }

  /** A stanza on its way to the client. */
  deliver(frame: Frame): Verdict {
    const { link } = this.#session;
    if (this.#coreSide === null) return "pass";
    // The core has had our last word: this one it gives to somebody else.
    if (this.#ended || link === null) return frame.kind === KIND.message ? "taken" : "pass";
    this.#starts.push(link.writtenBytes);
    this.#sequences.push(this.#coreSide.received);
    return "pass";
  }

  /** How many of the newest stanzas that came are kept. */
  get held(): number {
    return this.#held;
  }

  /** A stanza that is kept before it goes to the client, as all behind it. */
  hold(): void {
    if (this.#coreSide !== null) this.#held++;
  }

  /** The oldest of those goes out now, and so many are behind it. */
  deliverHeld(behind: number): void {
    const { link } = this.#session;
    if (behind >= this.#held || link === null) return; // it came before the core counted
    this.#held = behind;
    this.#starts.push(link.writtenBytes);
    this.#sequences.push(this.#coreSide!.received - behind);
  }

  beforeLinkFlush(): void {
    const { link } = this.#session;
    if (link !== null && this.#starts.length > 0 && this.#starts.at(-1)! >= this.#end) this.#end = link.writtenBytes;
  }

  // Once a second is enough, or after some stanzas: a core that is answered at once asks again with the next stanza.
  beforeCoreFlush(): void {
    const { link } = this.#session;
    if (this.#coreSide === null || this.#ended || link === null) return;
    if (this.#coreSide.received - this.#coreSide.acknowledged >= this.#batch) {
      this.#look();
      this.#coreSide.answer(this.#handled, true);
    } else if (link.pendingBytes > this.#usualRoom / 2) this.#look();
  }

  /** Tells the core what is new since it was told last. Called once a second. */
  tell(): void {
    if (this.#coreSide === null || this.#ended || this.#session.phase === "closed") return;
    this.#look();
    this.#coreSide.answer(this.#handled, true);
    this.#session.core.flush();
  }

  /** The last word to the core. What the client has not got it does not get on this link. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true; // also for a core that agrees only now: it is told nothing any more
    if (this.#coreSide === null) return;
    const { link } = this.#session;
    // What was written in this turn, the reason of the end included, would look like not taken. A BOSH answer proves nothing.
    if (link !== null && link.transport !== "bosh") link.flush();
    this.#look();
    this.#coreSide.answer(this.#handled, true);
    const stanzas = this.#waiting + this.#held;
    if (stanzas === 0) return;
    returned.cell().value += stanzas;
    this.#session.log.info("stanzas go back to the core", { session: this.#session.id, stanzas });
    link?.recall();
  }

  /** Nobody needs it any more. */
  release(): void {
    this.#account(0);
    this.#session.linkRoom = this.#usualRoom;
  }

  // As long as there is room for all links, one may hold more than usual.
  #account(bytes: number): void {
    this.#budget.used += bytes - this.#budgeted;
    this.#budgeted = bytes;
    this.#session.linkRoom = this.#budget.used < this.#budget.max ? this.#room : this.#usualRoom;
  }

  get #waiting(): number {
    return this.#starts.length - this.#first;
  }

  /** Stanzas that the client has, or that the core may not be left with any longer: it ends sessions that leave it too many. */
  get #handled(): number {
    const { received } = this.#coreSide!;
    if (this.#waiting === 0) return received - this.#held;
    return Math.max(this.#sequences[this.#first]! - 1, received - this.#most);
  }

  // A stanza has left when all before the next one has.
  #look(): void {
    const { link } = this.#session;
    if (this.#waiting === 0 || link === null) return;
    const taken = link.takenBytes;
    this.#account(link.writtenBytes - taken);
    const end = this.#end > this.#starts.at(-1)! ? this.#end : link.writtenBytes;
    if (taken >= end) this.#first = this.#starts.length;
    else while (this.#waiting > 1 && this.#starts[this.#first + 1]! <= taken) this.#first++;
    if (this.#first === 0) return;
    if (this.#waiting === 0) {
      this.#starts.length = this.#sequences.length = 0;
    } else if (this.#first * 2 > this.#starts.length) {
      this.#starts = this.#starts.slice(this.#first);
      this.#sequences = this.#sequences.slice(this.#first);
    } else return;
    this.#first = 0;
  }
}
