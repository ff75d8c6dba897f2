import type { CloseReason } from "../../base/close-reasons.ts";
import { secretId } from "../../base/ids.ts";
import { meter } from "../../base/meter.ts";
import type { Verdict } from "../../session/part.ts";
import type { Phase } from "../../session/phases.ts";
import type { Link } from "../../session/ports.ts";
import type { Session } from "../../session/session.ts";
import type { Frame } from "../../xmpp/frame.ts";
import { type QueueLimits, UnackedQueue } from "../../xmpp/unacked-queue.ts";
import { Asking } from "./asking.ts";
import { bounceUnacked } from "./bounce.ts";
import { type CoreSide, coreMiscounted, queueLimits } from "./core-side.ts";
import type { SmEstate } from "./estate.ts";
import { overtakesReplay } from "./fresh-answer.ts";
import type { StreamManagement } from "./index.ts";
import type { Leftovers } from "./leftovers.ts";
import { handledCountTooHigh, quickH, readH, type SmNamespace, smAnswer, smEnabled, smResumed } from "./nonza.ts";
import type { Questions } from "./questions.ts";
import { Reattachment } from "./reattachment.ts";
import { type Promised, Resumption } from "./resumption.ts";
import { type Found, storedName } from "./safe.ts";
import { Safekeeping } from "./safekeeping.ts";
import type { Adoption } from "./takeover.ts";

const overflows = meter.counter("breakwater_sm_overflows_total", "Sessions that ended because their queue was full");
const ackTooHigh = meter.counter(
  "breakwater_sm_ack_too_high_total",
  "Clients that acknowledged stanzas never sent to them",
);

// What may wait in a client's socket before the rest stays in the queue: enough to keep a fast link busy.
const SOCKET_BYTES = 64 * 1024;
// An active client that lets so much of the queue fill is not reading: its link goes before the session must.
const SLOW_SHARE = 0.75;
// A core that owes an answer for so long is doubted, and then held for dead: its session may be resumed on another stream.
const CORE_DOUBT_MS = 3000;
const CORE_DEAD_MS = 30_000;
/** A client that asks is reason enough to ask the core, but not each time. */
const CORE_PROBE_MS = 15_000;

// Ends of this process's share of a session that may go on elsewhere.
const GOES_ON: ReadonlySet<CloseReason> = new Set(["moved", "handed-over", "core-gone"]);

/** Where both counts of a session begin, or what is known of them already. */
export interface CountsInit {
  readonly xmlns: SmNamespace;
  /** Null: the core has no XEP-0198, or refused it. */
  readonly coreSide: CoreSide | null;
  /** Stanzas that the client has handled. */
  readonly h: number;
  /** `session.stanzasToCore` where the count of the client's stanzas began. */
  readonly sentBase: number;
  readonly saved?: SmEstate;
}

/**
 * Both counts of a session, from `<enabled/>` on: towards the client as the server, towards the core as the client (XEP-0198).
 *
 * What the client is told to be handled follows the core's own acknowledgements; what the core is told follows the
 * client's. So whichever process dies, the other end of that leg still holds what nobody has confirmed.
 */
export class Counts {
  readonly session: Session;
  readonly coreSide: CoreSide | null;
  readonly queue: UnackedQueue;
  /** How the session outlives the core's connection, null when it does not. */
  reattachment: Reattachment | null = null;
  /** Until the client has shown that it has them: what came before it counted. */
  leftovers: Leftovers | null = null;
  readonly #feature: StreamManagement;
  readonly #questions: Questions;
  readonly #sentBase: number;
  readonly #resumption: Resumption;
  readonly #asking: Asking;
  #xmlns: SmNamespace;
  /** The resume id, null when the session cannot be resumed. */
  #id: string | null = null;
  // The newest link that this session had: an older one's attempt to resume comes too late.
  #newestLink: number;
  /** Null: what is not acknowledged is safe at the core only. */
  #safekeeping: Safekeeping | null = null;

  constructor(feature: StreamManagement, session: Session, questions: Questions, init: CountsInit) {
    const { xmlns, coreSide, h, sentBase, saved } = init;
    this.#feature = feature;
    this.session = session;
    this.#questions = questions;
    this.#xmlns = xmlns;
    this.coreSide = coreSide;
    this.#sentBase = sentBase;
    this.#newestLink = session.link?.id ?? 0;
    this.#asking = new Asking(session, () => this.#attend());
    const { budget } = feature;
    const limits = this.#queueLimits();
    this.queue =
      saved === undefined ? new UnackedQueue(limits, budget, h) : UnackedQueue.restore(saved.queue, limits, budget);
    this.#resumption = new Resumption(session, this.queue, this.#asking, saved?.resumption ?? null);
  }

  get resumeId(): string | null {
    return this.#id;
  }

  /** Whether a newer link than this one has had the session. */
  hadNewer(link: Link): boolean {
    return this.#newestLink > link.id;
  }

  /** Whether the core behind it may be there no longer: for a client that has brought a fresh stream to it. */
  hasSilentCore(now: number): boolean {
    return this.#isParked || (this.coreSide?.silentFor(now) ?? 0) >= CORE_DOUBT_MS;
  }

  /** Its client asks the core itself for the session. */
  stepAside(): void {
    this.reattachment?.stepAside();
  }

  get #isParked(): boolean {
    return this.reattachment?.isParked ?? false;
  }

  /** Whether the client has handled more than it was sent here: another edge has sent the rest. */
  isAhead(h: number): boolean {
    const queue = this.queue;
    return (h - queue.handled) >>> 0 > queue.unacked && !queue.isBehind(h);
  }

  /** Whether the client has acknowledged more than `h` before: what lies between is gone. */
  isBehind(h: number): boolean {
    return this.queue.isBehind(h);
  }

  // ---- how it begins

  /** The client's first stanza after our `<enabled/>` is the core's first after its own. `resume` null: not resumable. */
  enable(resume: { maxSeconds: number } | null, reattachment: Reattachment | null): void {
    const { session, coreSide } = this;
    this.reattachment = reattachment;
    if (resume !== null) {
      const token = this.#feature.token(session, coreSide, resume.maxSeconds);
      this.#becomeResumable(token ?? secretId(), resume.maxSeconds, token !== null);
    }
    if (coreSide !== null && session.portable) this.reattachment?.begin(coreSide, () => this.#owedToCore);
    else this.#dropReattachment();
    this.#toClient(smEnabled(this.#xmlns, this.#id, session));
    // COMPAT: xmpp.js 0.14 begins to count some turns after it has read <enabled/>: what comes in the same read is missed,
    // and an <r/> there is answered with a wrong h. So it leaves alone, and the first question waits.
    session.link?.flush();
    this.#asking.begin();
  }

  /** The core has resumed its session on this stream for a client that returned here (index.ts, takeover.ts), with this `h`. */
  adopt({ token, session, xmlns, found }: Adoption, handled: number): void {
    this.#becomeResumable(token, session.maxSeconds, true);
    this.reattachment = Reattachment.of(this.session, this.#feature.budget, handled);
    this.reattachment?.begin(this.coreSide!, () => this.#owedToCore);
    this.#toClient(smResumed(xmlns, token, this.#handledOfClient));
    this.#asking.begin();
    if (found?.kept != null) this.#replayStored(found);
  }

  // What the store had goes before what the core sends again.
  #replayStored({ kept, stanzas }: Found): void {
    const queue = this.queue;
    const { link } = this.session;
    queue.limits = { maxBytes: Number.POSITIVE_INFINITY, maxStanzas: Number.POSITIVE_INFINITY };
    let sequence = kept!.next - stanzas.length;
    for (const { bytes, queuedAt } of stanzas) {
      if (!queue.append(bytes, 0, bytes.length, sequence++, queuedAt)) return void this.#overflow();
    }
    this.#safekeeping!.adopt(kept!);
    queue.limits = this.#queueLimits();
    this.session.on("relinked", "resumed");
    this.#resumption.replay({ link: link!, xmlns: this.#xmlns, question: 0 });
  }

  #dropReattachment(): void {
    this.reattachment?.close();
    this.reattachment = null;
  }

  #becomeResumable(id: string, holdSeconds: number, portable: boolean): void {
    const session = this.session;
    this.#id = id;
    this.#feature.registry.add(id, this);
    session.resumable = true;
    session.portable = portable;
    session.keptByCore = this.coreSide?.id != null;
    session.holdSeconds = holdSeconds;
    const { safe } = this.#feature;
    // Of an account that nobody here can tell, the store could not be asked when it returns.
    if (safe === null || !portable || !session.identified) return;
    const moved = () => {
      this.queue.limits = this.#queueLimits();
      this.coreSide!.answer(this.#owedToCore, true);
      session.core.flush();
    };
    const received = () => this.coreSide!.received;
    const name = storedName(session.bareJid, session.jid.resource, id);
    this.#safekeeping = new Safekeeping({ safe, session, name, queue: this.queue, received, moved });
  }

  #queueLimits(): QueueLimits {
    const stored = this.#safekeeping?.storedInQueue ?? 0;
    return queueLimits(this.session, this.#feature.options, this.coreSide, stored);
  }

  // ---- what the client says

  requested(): void {
    const { coreSide } = this;
    if (coreSide !== null && !coreSide.settled) return this.#questions.askCore(coreSide);
    this.answer();
    // It may ask because nothing comes: a core whose connection has died says nothing, and nothing of this client waits for it.
    if (this.session.portable && !this.#isParked) coreSide?.probe(CORE_PROBE_MS);
  }

  /** Tells the client how many of its stanzas are handled. */
  answer(): void {
    this.#toClient(smAnswer(this.#xmlns, this.#handledOfClient));
  }

  acknowledged(h: number): void {
    if (!this.#clientHandled(h)) return;
    this.leftovers?.arrived(); // they came before what it has handled
    this.#asking.answered();
    this.#resumption.acknowledged(this.#xmlns);
  }

  #clientHandled(h: number): boolean {
    const queue = this.queue;
    // An older h than the last one is no news (XEP-0198 §4 keeps the highest); the edge does not go back.
    if (queue.ack(h) !== "ack-too-high") {
      if (this.#safekeeping?.handled()) queue.limits = this.#queueLimits();
      return true;
    }
    ackTooHigh.inc();
    const link = this.session.link;
    const text = `h is ${h}, but ${queue.sent} stanzas were sent`;
    if (link !== null) this.session.refuse(link, "ack-too-high", text, handledCountTooHigh(h, queue.sent));
    return false;
  }

  /** Stanzas of the client that somebody else now answers for: the core, or (without XEP-0198 there) its connection. */
  get #handledOfClient(): number {
    if (this.coreSide !== null) return this.coreSide.handledOfClient;
    const injected = this.session.injectedToCore?.filter((sequence) => sequence > this.#sentBase).length ?? 0;
    return (this.session.stanzasToCore - this.#sentBase - injected) >>> 0;
  }

  // ---- what the core says

  answerFromCore(frame: Frame): void {
    const coreSide = this.coreSide;
    if (coreSide === null) return;
    const quick = quickH(frame);
    const h = quick >= 0 ? quick : readH(frame);
    if (h === null || !coreSide.acknowledge(h)) return coreMiscounted(this.session, h);
    this.reattachment?.acknowledged(h);
    const promised = this.#resumption.promised;
    if (promised !== null && coreSide.settled && coreSide.hasAnswered(promised.question)) this.#confirmResume(promised);
    if (this.#questions.answered(coreSide)) this.#toClient(smAnswer(this.#xmlns, coreSide.handledOfClient));
  }

  deliver(frame: Frame): Verdict {
    const { queue } = this;
    const { link, phase, host } = this.session;
    const sequence = this.coreSide?.received ?? 0;
    // Up: clients sort by what a delay note says, and what came live in the same second has arrived before this.
    const nowSeconds = Math.ceil(host.clock.wall() / 1000);
    const direct = link !== null && phase !== "resuming" && queue.unsent === 0 && link.pendingBytes < SOCKET_BYTES;
    // The core knows one order only: a portable session keeps it.
    const replaying = phase === "resuming" && this.#resumption.promised === null && !this.session.portable;
    if (replaying && link !== null && overtakesReplay(frame, queue, this.session)) {
      if (!queue.insertSent(frame.bytes, frame.start, frame.end, sequence, nowSeconds)) return this.#overflow();
      this.#asking.sent(1);
      return "pass";
    }
    if (!queue.append(frame.bytes, frame.start, frame.end, sequence, nowSeconds)) return this.#overflow();
    this.#safekeeping?.grown();
    if (!direct) return "taken";
    queue.markAllSent();
    this.#asking.sent(1);
    return "pass";
  }

  // The stanza that does not fit stays unacknowledged: the core has it, and gets the true h before a polite end.
  #overflow(): Verdict {
    overflows.inc();
    this.session.log.warn("queue full, session ends", {
      session: this.session.id,
      stanzas: this.queue.length ?? 0,
      bytes: this.queue.byteLength ?? 0,
    });
    this.session.on("overflow", "queue-full");
    return "taken";
  }

  // ---- flushes and time

  beforeLinkFlush(): void {
    if (this.session.phase === "active") this.#asking.ride(this.#feature.options, this.#xmlns);
  }

  beforeCoreFlush(): void {
    this.reattachment?.ride();
    this.coreSide?.answer(this.#owedToCore, false);
  }

  get #owedToCore(): number {
    const handled = this.queue.coreHandled(this.coreSide!.received);
    return this.#safekeeping === null ? handled : this.#safekeeping.atLeast(handled);
  }

  #attend(): void {
    if (this.session.phase === "resuming") this.#resumption.pump(this.#xmlns);
    this.session.flushLink();
  }

  tick(now: number): void {
    const { queue } = this;
    const { link, phase, resumable, portable } = this.session;
    const { options } = this.#feature;
    if (this.coreSide !== null) {
      this.coreSide.answer(this.#owedToCore, true);
      if (this.#resumption.promised !== null) this.coreSide.request();
      this.session.core.flush();
    }
    this.#safekeeping?.tick(now);
    const silentFor = portable && !this.#isParked ? this.coreSide!.silentFor(now) : 0;
    if (this.isUnsure && silentFor >= CORE_DOUBT_MS) return void this.giveCoreUp();
    if (silentFor >= CORE_DEAD_MS) return this.session.loseCore("core-gone");
    this.reattachment?.tick(now);
    if (this.session.link !== link) return;
    if (link === null || phase === "draining") return;
    if (this.#asking.isOverdue(now, link.heardAt, options.ack_timeout)) {
      return this.session.on(resumable ? "lost" : "gone", "link-silent");
    }
    if (phase !== "resuming" && queue.byteLength > options.max_queue_bytes * SLOW_SHARE) {
      return this.session.on(resumable ? "lost" : "gone", "slow-client");
    }
    const { probe_after: after } = options;
    // A dead link of an idle client is found by a question too; the answer is watched like any other.
    if (after > 0 && !this.#asking.open && now - link.heardAt >= after * 1000) this.#asking.ask(now, this.#xmlns);
    if (this.#questions.isOverdue(now)) {
      for (let i = this.#questions.takeAll(); i > 0; i--) this.#toClient(smAnswer(this.#xmlns, this.#handledOfClient));
    }
    link.flush();
  }

  linkDrained(): void {
    const queue = this.queue;
    if (queue.unsent === 0) return;
    if (this.session.phase === "resuming") return this.#resumption.pump(this.#xmlns);
    const link = this.session.link;
    // Until the socket is full again, or nobody would say when it is empty.
    while (link !== null && link === this.session.link && queue.unsent > 0 && link.pendingBytes < SOCKET_BYTES) {
      const before = queue.unsent;
      queue.sendSlice(SOCKET_BYTES, (bytes, start, end) => link.write(bytes, start, end));
      this.#asking.sent(before - queue.unsent);
      this.session.flushLink();
    }
  }

  // ---- resume

  /**
   * Step one of a resume on a new link: fence the old one, take the client's `h`, and promise `<resumed/>` for as soon as
   * the core has confirmed what the old link delivered: only then is our `h` exact, and a portable session still ours.
   */
  resume(link: Link, xmlns: SmNamespace, h: number): void {
    const resumption = this.#resumption;
    resumption.stop();
    this.#questions.takeAll();
    this.#newestLink = link.id;
    this.session.relink(link);
    this.leftovers?.arrived(); // it has read <enabled/>, which followed them
    if (!this.#clientHandled(h)) return;
    const coreSide = this.coreSide;
    // Another edge may have had a portable session meanwhile, and this one not know of it yet: only the core knows.
    const isSure = coreSide === null || (coreSide.settled && !this.session.portable);
    const promised = { link, xmlns, question: isSure ? 0 : coreSide.request() };
    resumption.begin(promised, h);
    if (isSure) this.#confirmResume(promised);
    else this.session.core.flush();
  }

  // Step two: <resumed/>, then the replay.
  #confirmResume(promised: Promised): void {
    this.#xmlns = promised.xmlns;
    this.#toClient(smResumed(promised.xmlns, this.#id!, this.#handledOfClient));
    this.#feature.resumed(this.session, this.queue.length);
    this.#resumption.replay(promised);
  }

  // A client waits for <resumed/> from a session that may be another edge's by now.
  get isUnsure(): boolean {
    return this.session.portable && this.#resumption.promised !== null;
  }

  // What the core says on this stream is not for that client: it comes again, and the core is asked on a fresh one.
  giveCoreUp(): Verdict {
    this.session.on("coreGone", "core-gone");
    return "taken";
  }

  get estate(): SmEstate | null {
    if (this.#id === null) return null;
    const safekeeping = this.#safekeeping?.estate ?? null;
    if (this.#safekeeping !== null && safekeeping === null) return null;
    return {
      id: this.#id,
      xmlns: this.#xmlns,
      sentBase: this.#sentBase,
      queue: this.queue.save(),
      coreSide: this.coreSide?.estate ?? null,
      resumption: this.#resumption.estate,
      reattachment: this.reattachment?.estate ?? null,
      safekeeping,
    };
  }

  /** The session is another process's that this one has taken the place of (`CountsInit.saved`); it is dormant. */
  restore({ id, reattachment, safekeeping }: SmEstate): void {
    const { session, coreSide } = this;
    this.#becomeResumable(id, session.holdSeconds, session.portable);
    if (safekeeping !== null) this.#safekeeping?.restore(safekeeping);
    this.queue.limits = this.#queueLimits();
    if (reattachment === null || coreSide === null) return;
    this.reattachment = Reattachment.of(session, this.#feature.budget, 0, reattachment);
    this.reattachment?.begin(coreSide, () => this.#owedToCore);
  }

  // ---- ends

  phaseChanged(to: Phase): void {
    this.queue.limits = this.#queueLimits();
    if (to === "resuming") this.reattachment?.relinked();
    if (to !== "dormant") return;
    this.#resumption.stop();
    this.#asking.reset();
    this.#questions.takeAll();
    // While the core still listens: what the client sent last is to be confirmed, so that a later h is exact.
    if (this.coreSide !== null && !this.coreSide.settled) {
      this.coreSide.request();
      this.session.core.flush();
    }
  }

  // XEP-0198 §4: a final <a/> before the end, or what the client has handled would be delivered again.
  coreEnding(): void {
    if (this.coreSide !== null) this.coreSide.answer(this.#owedToCore, true);
    else bounceUnacked(this.queue, this.session);
  }

  close(reason: CloseReason): void {
    this.#safekeeping?.end(!GOES_ON.has(reason));
    if (this.#id !== null && reason === "handed-over") this.#feature.registry.forget(this.#id);
    else if (this.#id !== null) this.#feature.bury(this.#id, this.session, this.#handledOfClient);
    this.#dropReattachment();
    this.queue.clear();
    this.#resumption.stop();
  }

  #toClient(bytes: Buffer): void {
    this.session.link?.write(bytes, 0, bytes.length);
  }
}
