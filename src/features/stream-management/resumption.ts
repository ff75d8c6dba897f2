import type { Link } from "../../session/ports.ts";
import type { Session } from "../../session/session.ts";
import type { UnackedQueue } from "../../xmpp/unacked-queue.ts";
import type { Asking } from "./asking.ts";
import type { ResumptionEstate } from "./estate.ts";
import type { SmNamespace } from "./nonza.ts";
import { Replay } from "./replay.ts";

const CAUTIOUS_AFTER_RESUMES = 3;

/** A resumed link that has not got its `<resumed/>` yet. */
export interface Promised {
  readonly link: Link;
  readonly xmlns: SmNamespace;
  /** The question to the core that has to be answered first (`CoreSide.request`), 0: none. */
  readonly question: number;
}

/**
 * One session's way through its resumes: the promise that waits until the core has confirmed all that the old link
 * delivered, then the replay of what the client missed. Exists from `<enabled/>` on.
 */
export class Resumption {
  readonly #session: Session;
  readonly #queue: UnackedQueue;
  readonly #asking: Asking;
  #promised: Promised | null = null;
  #replay: Replay | null = null;
  // Resumes in a row after which the client's h had not moved.
  #stalled = 0;
  #handledBefore = 0;

  constructor(session: Session, queue: UnackedQueue, asking: Asking, estate: ResumptionEstate | null = null) {
    this.#session = session;
    this.#queue = queue;
    this.#asking = asking;
    this.#stalled = estate?.stalled ?? 0;
    this.#handledBefore = estate?.handledBefore ?? 0;
  }

  get estate(): ResumptionEstate {
    return { stalled: this.#stalled, handledBefore: this.#handledBefore };
  }

  /** Waits for the core; null when nobody resumes, or the replay has begun. */
  get promised(): Promised | null {
    return this.#promised;
  }

  /** The link that a resume was for, or was to be for, is gone. */
  stop(): void {
    this.#promised = null;
    this.#replay = null;
  }

  /** The client has told its `h`: everything behind it is owed again, on a new link. */
  begin(promised: Promised, h: number): void {
    this.#stalled = h === this.#handledBefore && this.#queue.length > 0 ? this.#stalled + 1 : 0;
    this.#handledBefore = h;
    this.#queue.rewind();
    this.#asking.reset();
    this.#promised = promised;
    this.#session.holdClient(true);
  }

  /** `<resumed/>` is written: the replay follows (XEP-0198 §5). */
  replay({ link, xmlns }: Promised): void {
    this.#promised = null;
    this.#replay = new Replay(this.#queue, link, this.#session.jid.domain, this.#stalled >= CAUTIOUS_AFTER_RESUMES);
    this.#session.holdClient(false);
    this.pump(xmlns);
    this.#session.flushLink();
  }

  /** The client has acknowledged something. */
  acknowledged(xmlns: SmNamespace): void {
    this.#replay?.acknowledged(this.#session.host.clock.now());
    this.pump(xmlns);
  }

  /** Sends the next slice if it is time for it; after the last one the session is active. */
  pump(xmlns: SmNamespace): void {
    const { host, link } = this.#session;
    const queue = this.#queue;
    if (link === null || this.#replay === null) return;
    const now = host.clock.now();
    if (this.#replay.pump(now, host.clock.wall())) {
      this.#asking.ask(now, xmlns);
      link.flush();
    }
    // An answer that went ahead still fills the socket: nobody says when a little is gone, so look again soon.
    if (queue.unsent > 0 && !this.#replay.waiting) this.#asking.soon();
    if (queue.unsent > 0) return;
    this.#replay = null;
    this.#session.on("replayed", "resumed");
  }
}
