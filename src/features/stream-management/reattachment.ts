import { meter } from "../../base/meter.ts";
import type { Parked } from "../../session/parking-lot.ts";
import type {
  AttachFailure,
  Attachment,
  AttachOwner,
  CoreOwner,
  CoreStream,
  Endpoint,
  ReattachTerms,
} from "../../session/ports.ts";
import type { Session } from "../../session/session.ts";
import { escapeText } from "../../xmpp/element.ts";
import { type Frame, KIND } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import { type QueueBudget, UnackedQueue } from "../../xmpp/unacked-queue.ts";
import type { CoreSide } from "./core-side.ts";
import type { ReattachmentEstate } from "./estate.ts";
import { readH } from "./nonza.ts";
import { ParkedCore } from "./parked-core.ts";

const reattached = meter.counter(
  "breakwater_core_reattachments_total",
  "Sessions whose core's connection was gone: attached again without their clients, or why not",
  ["result"],
);
const resent = meter.counter(
  "breakwater_core_resent_stanzas_total",
  "Stanzas of clients that were sent again to a core that had not handled them",
);

/** The core is asked for an acknowledgement after so many stanzas, so that little has to be kept. */
const ASK_AFTER = 10;
/** And so long after the last question, to see whether its connection is alive. */
const PROBE_MS = 120_000;
/** How long a core may take for its answer to `<resume/>`. */
const ANSWER_MS = 10_000;
/** For so long a client that has come back by itself has the core to itself. */
const ASIDE_MS = 10_000;

export interface ReattachmentInit {
  readonly session: Session;
  readonly opening: Buffer;
  readonly terms: ReattachTerms;
  readonly budget: QueueBudget;
  /** Stanzas that the core has handled, of those that it counts. */
  readonly handled: number;
  /** What the process before this one knew: in place of `handled`, and of the link. */
  readonly estate?: ReattachmentEstate;
}

/**
 * How one session outlives its connection to the core without its client's help: keeps what the client has sent until the
 * core has confirmed it, and when the connection is gone it parks the session, until its turn comes to log in on a fresh
 * stream (`Cores.attach`) and to resume the core's session there (XEP-0198 §5). The client's link stays as it is.
 *
 * Nothing is lost or doubled in either direction, since both ends count the same stanzas: the core tells how many of the
 * client's it has handled, and is sent the rest; it is told how many the client has handled and sends the rest again, of
 * which the session skips those that it had.
 */
export class Reattachment implements Parked, AttachOwner, CoreOwner {
  readonly #session: Session;
  readonly #opening: Buffer;
  readonly #terms: ReattachTerms;
  readonly #kept: UnackedQueue;
  #coreSide: CoreSide | null = null;
  #owed: () => number = () => 0;
  #client: Endpoint;
  #server: Endpoint;
  // When the session came to the stream that it has, or had last.
  #since: number;
  #unasked = 0;
  #askedAt: number;
  #behind = false;
  // 0: not parked. And not before then is it tried, 0: it stands in the lot.
  #parkedAt = 0;
  #asideUntil = 0;
  #attempt: Attachment | null = null;
  // The stream on which the core was asked to resume, since when, and the h that it was told.
  #asked: CoreStream | null = null;
  #resumeAt = 0;
  #told = 0;
  #over = false;

  constructor({ session, opening, terms, budget, handled, estate }: ReattachmentInit) {
    this.#session = session;
    this.#opening = opening;
    this.#terms = terms;
    // `max_bytes` is no limit of the queue: past it the client is not read, and what has been read is kept.
    const limits = { maxBytes: Number.POSITIVE_INFINITY, maxStanzas: Number.POSITIVE_INFINITY };
    this.#kept =
      estate === undefined
        ? new UnackedQueue(limits, budget, handled)
        : UnackedQueue.restore(estate.kept, limits, budget);
    this.#askedAt = session.host.clock.now();
    this.#since = this.#askedAt - (estate?.ageMs ?? 0);
    const { client, server } = estate ?? session.link!;
    this.#client = client;
    this.#server = server;
  }

  /**
   * For a core that takes sessions back without their clients, else null. From the first stanza on that the core counts it
   * has to keep what the client sends; the core has handled `handled` of them.
   */
  static of(session: Session, budget: QueueBudget, handled: number, estate?: ReattachmentEstate): Reattachment | null {
    const { opening, host, core } = session;
    const terms = host.cores.reattachTerms(core.coreName);
    if (terms === null || opening === null) return null;
    return new Reattachment({ session, opening, terms, budget, handled, ...(estate && { estate }) });
  }

  /** The core keeps a session. `owed`: the h that it may be told. */
  begin(coreSide: CoreSide, owed: () => number): void {
    this.#coreSide = coreSide;
    this.#owed = owed;
  }

  /** Null: what was kept is not all any more. */
  get estate(): ReattachmentEstate | null {
    if (this.#over) return null;
    const ageMs = this.#session.host.clock.now() - this.#since;
    return { kept: this.#kept.save(), ageMs, client: this.#client, server: this.#server };
  }

  get coreName(): string {
    return this.#session.core.coreName;
  }

  get isAwaited(): boolean {
    return this.#session.link !== null;
  }

  get isParked(): boolean {
    return this.#parkedAt > 0;
  }

  // ---- while all is well

  /** A stanza of the client goes to the core. */
  keep(frame: Frame): void {
    if (this.#over) return;
    if (!this.#kept.append(frame.bytes, frame.start, frame.end, 0, 0)) return this.#forget();
    this.#kept.markAllSent();
    this.#unasked++;
    if (!this.#behind && this.#fullness > 1) this.#hold(true);
  }

  /** The core has told its `h`. */
  acknowledged(h: number): void {
    if (this.#over) return;
    this.#kept.ack(h);
    if (this.#behind && this.#fullness < 0.5) this.#hold(false);
  }

  /** Before a flush to the core. */
  ride(): void {
    if (this.#unasked >= ASK_AFTER || (this.#unasked > 0 && this.#fullness > 0.5)) this.#ask();
  }

  get #fullness(): number {
    const { maxBytes, maxStanzas } = this.#terms;
    return Math.max(this.#kept.byteLength / maxBytes, this.#kept.length / maxStanzas);
  }

  #hold(behind: boolean): void {
    this.#behind = behind;
    this.#session.holdForCore(behind);
  }

  #ask(): void {
    if (this.#coreSide === null || this.#over) return;
    this.#unasked = 0;
    this.#askedAt = this.#session.host.clock.now();
    this.#coreSide.request();
  }

  // All queues of the process are full: this session can still be resumed by its client.
  #forget(): void {
    const wasParked = this.isParked;
    this.close();
    if (wasParked) this.#session.on("coreGone", "core-gone");
  }

  tick(now: number): void {
    if (this.#over) return;
    if (!this.isParked) {
      if (this.#unasked > 0 || now - this.#askedAt >= PROBE_MS) this.#ask();
      return;
    }
    const { link, holdSeconds } = this.#session;
    if (this.#asked !== null && now - this.#resumeAt >= ANSWER_MS) {
      this.#asked.drop();
      this.#asked = null;
      this.attachFailed("later", "no answer to <resume/>");
    }
    if (now - this.#parkedAt >= (this.#coreSide!.maxSeconds ?? holdSeconds) * 1000) return this.#giveUp("expired");
    if (this.#asideUntil > 0 && now >= this.#asideUntil) this.#line();
    if (link !== null && now - this.#parkedAt >= this.#terms.waitSeconds * 1000) this.#sendClientAway();
  }

  // ---- parked

  /** The connection to the core is gone. False: the session cannot wait for another one. */
  park(): boolean {
    if (this.#over || this.#coreSide === null || this.isParked) return false;
    const session = this.#session;
    session.log.info("session parked", { session: session.id, core: this.coreName, kept: this.#kept.length });
    this.#parkedAt = session.host.clock.now();
    session.changeCore(new ParkedCore(session.core));
    this.#line();
    return true;
  }

  #line(): void {
    this.#asideUntil = 0;
    this.#session.host.parkingLot.add(this);
  }

  /** The session has a new link. */
  relinked(): void {
    const { link } = this.#session;
    if (link === null) return;
    this.#client = link.client;
    this.#server = link.server;
  }

  /** Its client is here with a fresh stream to the core and asks for the session: two would only take it from each other. */
  stepAside(): void {
    if (!this.isParked) return;
    this.#stopTrying();
    this.#asideUntil = this.#session.host.clock.now() + ASIDE_MS;
  }

  // The session stays, and may still be attached: what the client has sent would come too late otherwise.
  #sendClientAway(): void {
    const session = this.#session;
    session.log.info("client of a parked session is asked to return", { session: session.id, core: this.coreName });
    session.returnClient(null);
    session.on("lost", "core-gone");
  }

  attach(): void {
    const { jid, host } = this.#session;
    const ageMs = host.clock.now() - this.#since;
    const who = { jid, opening: this.#opening, client: this.#client, server: this.#server, ageMs };
    this.#attempt = host.cores.attach(this.coreName, who, this);
  }

  attached(core: CoreStream): void {
    this.#attempt = null;
    this.#asked = core;
    this.#resumeAt = this.#session.host.clock.now();
    this.#told = this.#owed();
    core.owner = this;
    const { xmlns, id } = this.#coreSide!;
    const resume = Buffer.from(`<resume xmlns='${xmlns}' previd='${escapeText(id!)}' h='${this.#told}'/>`);
    core.write(resume, 0, resume.length);
    core.flush();
  }

  attachFailed(how: AttachFailure, detail: string): void {
    this.#attempt = null;
    const { id, log, host } = this.#session;
    const facts = { session: id, core: this.coreName, why: how, detail };
    if (how === "refused") log.warn("session cannot be attached: the core does not let the edge in", facts);
    else log.info("session not attached", facts);
    if (how !== "later") return this.#giveUp(how);
    reattached.inc(how);
    host.parkingLot.failed(this);
  }

  // ---- the stream on which the core is asked

  coreConnected(): void {}
  coreHeader(): void {}
  coreDrained(): void {}

  coreFrame(core: CoreStream, frame: Frame): void {
    const name = peek.name(frame);
    if (frame.kind === KIND.streamError) return this.coreGone(core, "", "the core ended the stream with an error");
    if (frame.kind !== KIND.sm || (name !== "resumed" && name !== "failed")) return;
    this.#asked = null;
    const h = readH(frame);
    if (name === "resumed" && h !== null && this.#coreSide!.resumedAgain(h, this.#told)) return this.#goOn(core, h);
    // More than was ever sent here: its client has been elsewhere. To end the stream would end the session there.
    core.drop();
    if (name === "failed" && h !== null) this.#coreSide!.acknowledge(h);
    this.#giveUp(name === "failed" ? "lost" : "elsewhere");
  }

  coreChunkEnd(core: CoreStream): void {
    core.flush();
  }

  coreStreamEnd(core: CoreStream): void {
    this.coreGone(core, "", "the core closed the stream");
  }

  coreGone(core: CoreStream, _reason: string, detail: string): void {
    this.#asked = null;
    core.drop();
    this.attachFailed("later", detail);
  }

  #goOn(core: CoreStream, h: number): void {
    const session = this.#session;
    const now = session.host.clock.now();
    session.host.parkingLot.answered(this);
    const seconds = Math.round((now - this.#parkedAt) / 1000);
    this.#parkedAt = 0;
    this.#since = now;
    session.changeCore(core, (this.#coreSide!.received - this.#told) >>> 0);
    this.acknowledged(h);
    const again = this.#resend(core);
    reattached.inc("attached");
    resent.cell().value += again;
    session.log.info("session attached again", {
      session: session.id,
      core: this.coreName,
      resent: again,
      after_s: seconds,
    });
    this.#ask();
    session.coreResumed();
  }

  // One copy for all: the socket may hold on to the bytes longer than the queue does.
  #resend(core: CoreStream): number {
    const copy = Buffer.allocUnsafeSlow(this.#kept.byteLength);
    let at = 0;
    this.#kept.forEach((bytes, start, end) => {
      at += bytes.copy(copy, at, start, end);
    });
    if (at > 0) core.write(copy, 0, at);
    return this.#kept.length;
  }

  // ---- ends

  // Its client, if it is here, loses its link, returns with its own credentials and resumes or binds anew. The attempt was
  // its turn.
  #giveUp(result: Exclude<AttachFailure, "later"> | "expired"): void {
    reattached.inc(result);
    this.#session.host.parkingLot.answered(this);
    this.close();
    if (result !== "expired") this.#session.returnClient(null, "now");
    this.#session.on("coreGone", "core-gone");
  }

  #stopTrying(): void {
    this.#attempt?.cancel();
    this.#attempt = null;
    this.#asked?.drop();
    this.#asked = null;
    this.#session.host.parkingLot.remove(this);
  }

  /** The session is over, or can be parked no more. May be called twice. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#kept.clear();
    if (this.isParked) this.#stopTrying();
    this.#parkedAt = 0;
  }
}
