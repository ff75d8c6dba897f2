import type { Session } from "../../session/session.ts";
import type { Frame } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import type { QueueLimits } from "../../xmpp/unacked-queue.ts";
import type { CoreSideEstate } from "./estate.ts";
import { asksToResume, namespaceOf, readMax, type SmNamespace, smAnswer, smRequest } from "./nonza.ts";
import type { Takeable } from "./resume-token.ts";

/**
 * What the queue towards the client may hold, so that the core never reaches its own limit. A core that merely forgets past
 * it may be exceeded while the client is there, since the edge has all of it; one without XEP-0198 has no such limit.
 * `stored`: stanzas of the queue that the core was told to forget.
 */
export function queueLimits(
  session: Session,
  options: { max_queue_bytes: number; max_queue_stanzas: number },
  coreSide: CoreSide | null,
  stored: number,
): QueueLimits {
  const { maxUnacked, pastMaxUnacked } = session.core.traits;
  const exceed = coreSide === null || (session.link !== null && pastMaxUnacked === "forgets");
  const most = options.max_queue_stanzas;
  return { maxBytes: options.max_queue_bytes, maxStanzas: exceed ? most : Math.min(most, maxUnacked + stored) };
}

/** Of `handled` stanzas at the core those that the client counts; `beforeClient` of the core's are from before it did. */
export function countedByClient(handled: number, beforeClient: number): number {
  return Math.max(0, (handled >>> 0) - beforeClient);
}

interface CoreSideInit {
  readonly xmlns: SmNamespace;
  readonly id: string | null;
  readonly maxSeconds: number | null;
  readonly receivedBase: number;
  readonly sentBase: number;
}

/**
 * XEP-0198 towards the core, where the edge is the client: counts what went to the core and what it has acknowledged,
 * and acknowledges what the real client has.
 *
 * Enabled in the same place of the stream as towards the client, so that both counters are equal unless the edge has
 * answered or added a stanza itself.
 */
export class CoreSide {
  readonly #session: Session;
  readonly xmlns: SmNamespace;
  /** The core's id for its session, null when it is not resumable there. */
  readonly id: string | null;
  readonly maxSeconds: number | null;
  // Counts of the session when the core's `<enabled/>` came, and when our `<enable/>` was written.
  readonly #receivedBase: number;
  readonly #sentBase: number;
  #beforeClient = 0;
  #handled: number;
  #injectedHandled = 0;
  #acknowledged: number;
  #answerOwed = false;
  // Questions so far, answers so far, and when the one was asked that is answered next; or of the last answer.
  #asked = 0;
  #answered = 0;
  #openSince = 0;

  private constructor(session: Session, init: CoreSideInit) {
    this.#session = session;
    this.xmlns = init.xmlns;
    this.id = init.id;
    this.maxSeconds = init.maxSeconds;
    this.#receivedBase = init.receivedBase;
    this.#sentBase = init.sentBase;
    this.#handled = this.#acknowledged = 0;
    this.#openSince = session.host.clock.now();
  }

  /**
   * The core's `<enabled/>` has come; `sentBase`: `session.stanzasToCore` when our `<enable/>` was written. `asked`: to keep
   * the session, too.
   */
  static enabled(session: Session, enabled: Frame, sentBase: number, asked = true): CoreSide {
    session.injectedToCore = session.injectedToCore?.filter((sequence) => sequence > sentBase) ?? null;
    const id = asked && asksToResume(enabled) ? peek.attr(enabled, "id") : null;
    const receivedBase = session.stanzasFromCore;
    return new CoreSide(session, {
      xmlns: namespaceOf(enabled),
      id,
      maxSeconds: readMax(enabled),
      receivedBase,
      sentBase,
    });
  }

  /** The core's `<resumed/>` has come on a stream that nothing was counted on: both counters go on where they were. */
  static resumed(session: Session, of: Takeable, counts: { received: number; handled: number }): CoreSide {
    const { xmlns, coreId: id, maxSeconds, beforeClient } = of;
    const receivedBase = session.stanzasFromCore - counts.received;
    const sentBase = session.stanzasToCore - counts.handled;
    const side = new CoreSide(session, { xmlns, id, maxSeconds, receivedBase, sentBase });
    side.#handled = counts.handled;
    side.#acknowledged = counts.received;
    side.#beforeClient = beforeClient;
    return side;
  }

  /** Goes on where another process left off. */
  static restore(session: Session, estate: CoreSideEstate): CoreSide {
    const side = new CoreSide(session, estate);
    side.#handled = estate.handled;
    side.#injectedHandled = estate.injectedHandled;
    side.#beforeClient = estate.beforeClient ?? 0;
    side.#acknowledged = estate.acknowledged;
    side.#answerOwed = estate.answerOwed;
    side.#asked = estate.asked;
    side.#answered = estate.answered;
    side.#openSince = session.host.clock.now();
    return side;
  }

  get estate(): CoreSideEstate {
    return {
      xmlns: this.xmlns,
      id: this.id,
      maxSeconds: this.maxSeconds,
      receivedBase: this.#receivedBase,
      sentBase: this.#sentBase,
      handled: this.#handled,
      injectedHandled: this.#injectedHandled,
      beforeClient: this.#beforeClient,
      acknowledged: this.#acknowledged,
      answerOwed: this.#answerOwed,
      asked: this.#asked,
      answered: this.#answered,
    };
  }

  /** The h that the core was told last. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Stanzas of the client that the core counts and the client does not: from before its own `<enable/>`. */
  get beforeClient(): number {
    return this.#beforeClient;
  }

  /** The client counts later than the core: `sentBase` is `session.stanzasToCore` when it began. */
  countClientFrom(sentBase: number): void {
    this.#beforeClient = sentBase - this.#sentBase;
  }

  /** Stanzas that came from the core, modulo 2^32. */
  get received(): number {
    return (this.#session.stanzasFromCore - this.#receivedBase) >>> 0;
  }

  /** Stanzas of the client that the core has handled: what the client may be told. */
  get handledOfClient(): number {
    return countedByClient(this.#handled - this.#injectedHandled, this.#beforeClient);
  }

  /** Whether the core has handled everything that was written to it. */
  get settled(): boolean {
    return this.#handled === this.#sent;
  }

  get #sent(): number {
    return (this.#session.stanzasToCore - this.#sentBase) >>> 0;
  }

  /** `<r/>` came: it is answered in this chunk's flush (the core must never wait for a slow client). */
  owe(): void {
    this.#answerOwed = true;
  }

  /** Asks the core to acknowledge; the answer comes through `acknowledge`. The number of this question. */
  request(): number {
    const bytes = smRequest(this.xmlns);
    this.#session.core.write(bytes, 0, bytes.length);
    if (this.#asked === this.#answered) this.#openSince = this.#session.host.clock.now();
    return ++this.#asked;
  }

  /** Asks if the core owes no answer and gave the last one so long ago: whether it is there (`silentFor`). */
  probe(afterMs: number): void {
    if (this.#asked === this.#answered && this.#session.host.clock.now() - this.#openSince >= afterMs) this.request();
  }

  hasAnswered(question: number): boolean {
    return this.#answered >= question;
  }

  /** For how long the core has owed an answer, in ms: its connection may be dead without a word. */
  silentFor(now: number): number {
    return this.#asked === this.#answered ? 0 : now - this.#openSince;
  }

  /**
   * The core has resumed its session on another stream. Nothing that was asked on the old one is answered any more. False
   * when the core counts more than was sent. `told`: the h that the core was told.
   */
  resumedAgain(h: number, told: number): boolean {
    if (!this.acknowledge(h)) return false;
    this.#answered = this.#asked;
    this.#acknowledged = told;
    this.#answerOwed = false;
    return true;
  }

  /** `<a/>` came. False when the core counts more than was sent. */
  acknowledge(h: number): boolean {
    if (this.#answered < this.#asked) this.#answered++;
    this.#openSince = this.#session.host.clock.now();
    if ((h - this.#handled) >>> 0 > (this.#sent - this.#handled) >>> 0) return false;
    this.#handled = h;
    const injected = this.#session.injectedToCore;
    if (injected === null) return true;
    // Of the stanzas up to h, the edge's own are not the client's.
    while (injected.length > 0 && (h - (injected[0]! - this.#sentBase)) >>> 0 < 0x8000_0000) {
      injected.shift();
      this.#injectedHandled++;
    }
    return true;
  }

  /**
   * Tells the core what the client has handled. Without `now` only if the core has asked; an acknowledgement that nobody
   * waits for rides along with the next answer or the next sweep.
   */
  answer(h: number, now: boolean): void {
    if (!this.#answerOwed && !(now && h !== this.#acknowledged)) return;
    this.#answerOwed = false;
    this.#acknowledged = h;
    const bytes = smAnswer(this.xmlns, h);
    this.#session.core.write(bytes, 0, bytes.length);
  }
}

/** The core has acknowledged what it never got: nothing is to be made of its counts. */
export function coreMiscounted(session: Session, h: number | null): void {
  const { id, core } = session;
  session.log.warn("core acknowledged stanzas that it never got", {
    session: id,
    core: core.coreName,
    h: h ?? "missing",
  });
  session.on("coreGone", "core-misbehaved");
}
