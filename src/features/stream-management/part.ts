import type { CloseReason } from "../../base/close-reasons.ts";
import type { Part, Verdict } from "../../session/part.ts";
import type { Phase } from "../../session/phases.ts";
import type { Session } from "../../session/session.ts";
import { type Frame, frameOver, isStanza, KIND, retain } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import { CoreSide, coreMiscounted } from "./core-side.ts";
import { Counts } from "./counts.ts";
import type { SmEstate } from "./estate.ts";
import { FirstWords } from "./first-words.ts";
import type { StreamManagement } from "./index.ts";
import { Leftovers, type LeftoversOwner } from "./leftovers.ts";
import { asksToResume, namespaceOf, quickH, readH, readMax, type SmNamespace, smEnable, smFailed } from "./nonza.ts";
import { Questions } from "./questions.ts";
import { Reattachment } from "./reattachment.ts";
import { StandIn } from "./stand-in.ts";
import { type Adoption, coreHandled } from "./takeover.ts";

/** What the client's `<enable/>` asked for, until the core has answered ours. */
interface Enabling {
  readonly xmlns: SmNamespace;
  readonly resume: { readonly maxSeconds: number } | null;
  /** `session.stanzasToCore` when ours was written, and where the client's own count begins. */
  readonly coreBase: number;
  sentBase: number;
  /** Keeps what follows, where the session is to outlive the core's connection. */
  reattachment: Reattachment | null;
}

/**
 * XEP-0198 for one session: who acknowledges what. From `<enabled/>` on that is `Counts`; before, and for a client that
 * never enables it, a stand-in.
 */
export class StreamManagementPart implements Part, LeftoversOwner {
  readonly name = "stream-management";
  readonly #feature: StreamManagement;
  readonly #session: Session;
  readonly #questions: Questions;
  #enabling: Enabling | null = null;
  #counts: Counts | null = null;
  // For a client that does not acknowledge itself, so far.
  #standIn: StandIn | null = null;
  // As long as it may still enable XEP-0198, and has said that it is there.
  #firstWords: FirstWords | null = null;
  readonly #boundAt: number;
  // Until the client has them: stored messages of its account's sessions before.
  #leftovers: Leftovers | null = null;

  constructor(feature: StreamManagement, session: Session) {
    this.#feature = feature;
    this.#session = session;
    this.#questions = new Questions(session);
    this.#boundAt = session.host.clock.now();
  }

  /** A client has logged in; `shown`: the resume id with which it came. */
  begin(shown: string | null): void {
    const { safe } = this.#feature;
    if (safe !== null) this.#leftovers = new Leftovers(safe, this.#session, shown, this);
  }

  get counts(): boolean {
    return this.#counts !== null || this.#enabling !== null;
  }

  get resumeId(): string | null {
    return this.#counts?.resumeId ?? null;
  }

  deliverHeld(stanza: Buffer, behind: number): void {
    this.#standIn?.deliverHeld(behind);
    this.#session.link?.write(stanza, 0, stanza.length);
  }

  leftoversDone(): void {
    this.#leftovers = null;
    if (this.#counts !== null) this.#counts.leftovers = null;
  }

  // ---- from the client

  fromClient(frame: Frame): Verdict {
    if (frame.kind < KIND.smRequest || frame.kind > KIND.sm) {
      if (this.#counts === null) return this.#uncountedFromClient(frame);
      if (this.#counts.reattachment !== null && isStanza(frame)) this.#counts.reattachment.keep(frame);
      return "pass";
    }
    if (frame.kind === KIND.smRequest) this.#requestFromClient(frame);
    else if (frame.kind === KIND.smAnswer) this.#answerFromClient(frame);
    else if (peek.name(frame) === "enable") this.#enable(frame);
    else this.#fail(frame, "unexpected-request"); // resume after bind, and what only servers send
    return "taken";
  }

  #uncountedFromClient(frame: Frame): Verdict {
    return this.#enabling === null && this.#waits(frame) ? "taken" : this.#goOn(frame);
  }

  // True: it is kept for a moment, as the client may be about to enable XEP-0198.
  #waits(frame: Frame): boolean {
    if (this.#firstWords === null) {
      if (this.#standIn !== null || !this.#needsStandIn(frame) || !this.#feature.outlives) return false;
      this.#firstWords = new FirstWords(this.#session, this.#feature.budget, this.#boundAt, () => {
        this.#sayFirstWords();
        this.#session.flushCore();
      });
    }
    if (this.#firstWords.keep(frame)) return true;
    this.#sayFirstWords();
    return false;
  }

  #sayFirstWords(): void {
    const words = this.#firstWords;
    this.#firstWords = null;
    words?.sayAll((stanza) => {
      if (this.#goOn(stanza) === "pass") this.#session.passOn(this, stanza);
    });
  }

  #goOn(frame: Frame): Verdict {
    if (this.#enabling !== null) {
      if (isStanza(frame)) this.#enabling.reattachment?.keep(frame);
      return "pass";
    }
    if (this.#leftovers?.fromUncounted(frame)) return "taken";
    if (this.#standIn === null && this.#needsStandIn(frame)) {
      const { options, budget } = this.#feature;
      this.#standIn = new StandIn(this.#session, this.#session.coreFeatures.sm!, budget, options.max_queue_bytes);
    }
    return "pass";
  }

  // Clients that know XEP-0198 enable it before they become available (§3).
  #needsStandIn(frame: Frame): boolean {
    if (this.#session.coreFeatures.sm === null || !this.#feature.options.stand_in) return false;
    if (frame.kind !== KIND.presence) return false;
    return !peek.attrEquals(frame, "type", "unavailable"); // it leaves without ever having been there
  }

  #enable(frame: Frame): void {
    // XEP-0198 §3: one attempt at most; the counters of the first stay.
    if (this.counts) return this.#fail(frame, "unexpected-request");
    if (this.#leftovers?.isKnown === false) return this.#enableLater(this.#leftovers, retain(frame));
    this.#leftovers?.deliver(); // nothing is counted yet
    const hold = this.#feature.options.hold_time;
    const resume = asksToResume(frame) && hold > 0 ? { maxSeconds: Math.min(readMax(frame) ?? hold, hold) } : null;
    const base = this.#session.stanzasToCore;
    this.#enabling = { xmlns: namespaceOf(frame), resume, coreBase: base, sentBase: base, reattachment: null };
    const coreXmlns = this.#session.coreFeatures.sm;
    if (coreXmlns === null) return this.#enabled(null);
    // The core has been asked before, and not for a session that it keeps: this one can be resumed in this process.
    if (this.#standIn !== null) return this.#standIn.answered ? this.#enabled(this.#standIn.coreSide) : undefined;
    if (resume !== null) this.#enabling.reattachment = Reattachment.of(this.#session, this.#feature.budget, 0);
    const enable = smEnable(coreXmlns, resume === null ? null : { maxSeconds: Math.ceil(resume.maxSeconds) });
    this.#session.core.write(enable, 0, enable.length);
    if (this.#firstWords === null) return;
    // Behind it, although the client does not count them: so what they bring about, stored messages above all, is counted.
    this.#sayFirstWords();
    this.#enabling.sentBase = this.#session.stanzasToCore;
  }

  // What the store may have comes first, and nothing that the client sends after this.
  #enableLater(leftovers: Leftovers, enable: Buffer): void {
    const session = this.#session;
    this.#firstWords?.waitOn();
    session.holdClient(true);
    leftovers.whenKnown(() => {
      this.#enable(frameOver(enable, 0, enable.length, KIND.sm));
      session.holdClient(false);
      session.flushCore();
      session.flushLink();
    });
  }

  #enabled(coreSide: CoreSide | null): void {
    const { xmlns, resume, sentBase, reattachment } = this.#enabling!;
    this.#enabling = null;
    this.#standIn?.release();
    this.#standIn = null;
    coreSide?.countClientFrom(sentBase);
    this.#counts = new Counts(this.#feature, this.#session, this.#questions, { xmlns, coreSide, h: 0, sentBase });
    this.#counts.leftovers = this.#leftovers;
    this.#counts.enable(resume, reattachment);
    this.#answerKept(this.#counts);
  }

  // What the client asked before `<enabled/>`.
  #answerKept(counts: Counts): void {
    for (let i = this.#questions.takeAll(); i > 0; i--) {
      if (counts.coreSide === null) counts.answer();
      else this.#questions.askCore(counts.coreSide);
    }
  }

  /** The core has resumed its session on this stream for a client that returned here (index.ts, takeover.ts). */
  adopt(adoption: Adoption, handled: number): void {
    const { session, xmlns, h } = adoption;
    const coreSide = CoreSide.resumed(this.#session, session, { received: coreHandled(adoption), handled });
    this.#counts = new Counts(this.#feature, this.#session, this.#questions, { xmlns, coreSide, h, sentBase: 0 });
    this.#counts.adopt(adoption, handled);
  }

  #requestFromClient(frame: Frame): void {
    if (this.#counts !== null) this.#counts.requested();
    else if (this.#enabling !== null)
      this.#questions.keep(); // answered after <enabled/>
    else this.#fail(frame, "unexpected-request");
  }

  #answerFromClient(frame: Frame): void {
    if (this.#counts === null) return this.#fail(frame, "unexpected-request");
    const quick = quickH(frame);
    const h = quick >= 0 ? quick : readH(frame);
    if (h === null) return this.#fail(frame, "bad-request");
    this.#counts.acknowledged(h);
  }

  // ---- from the core

  fromCore(frame: Frame): Verdict {
    if (isStanza(frame)) {
      if (this.#counts !== null) return this.#counts.deliver(frame);
      if (this.#leftovers !== null && !this.counts && this.#leftovers.precede(frame)) {
        this.#standIn?.hold();
        return "taken";
      }
      return this.#standIn === null ? "pass" : this.#standIn.deliver(frame);
    }
    if (frame.kind === KIND.streamError && this.#counts?.isUnsure) return this.#counts.giveCoreUp();
    if (frame.kind < KIND.smRequest || frame.kind > KIND.sm) return "pass";
    if (this.#standIn !== null) this.#standInHears(this.#standIn, frame);
    else if (frame.kind === KIND.smRequest) this.#counts?.coreSide?.owe();
    else if (frame.kind === KIND.smAnswer) this.#counts?.answerFromCore(frame);
    else this.#smFromCore(frame);
    return "taken";
  }

  #smFromCore(frame: Frame): void {
    if (this.#enabling === null) return;
    const name = peek.name(frame);
    if (name !== "enabled" && name !== "failed") return;
    this.#enabled(name === "enabled" ? CoreSide.enabled(this.#session, frame, this.#enabling.coreBase) : null);
  }

  #standInHears(standIn: StandIn, frame: Frame): void {
    const h = frame.kind === KIND.smAnswer ? readH(frame) : null;
    if (!standIn.heard(frame, h)) return coreMiscounted(this.#session, h);
    if (standIn.answered && this.#enabling !== null) this.#enabled(standIn.coreSide);
  }

  // ---- flushes and time

  beforeLinkFlush(): void {
    this.#standIn?.beforeLinkFlush();
    this.#counts?.beforeLinkFlush();
  }

  beforeCoreFlush(): void {
    this.#standIn?.beforeCoreFlush();
    this.#counts?.beforeCoreFlush();
  }

  tick(now: number): void {
    this.#standIn?.tell();
    this.#counts?.tick(now);
  }

  linkDrained(): void {
    this.#counts?.linkDrained();
  }

  // ---- another process

  get estate(): SmEstate | null {
    return this.#counts?.estate ?? null;
  }

  restore(saved: SmEstate): void {
    const { xmlns, sentBase } = saved;
    const coreSide = saved.coreSide === null ? null : CoreSide.restore(this.#session, saved.coreSide);
    const init = { xmlns, coreSide, h: 0, sentBase, saved };
    this.#counts = new Counts(this.#feature, this.#session, this.#questions, init);
    this.#counts.restore(saved);
  }

  // ---- ends

  phaseChanged(_from: Phase, to: Phase): void {
    this.#counts?.phaseChanged(to);
  }

  coreLost(): Verdict {
    return this.#counts?.reattachment?.park() ? "taken" : "pass";
  }

  coreEnding(): void {
    this.#sayFirstWords();
    this.#leftovers?.end(this.#standIn?.held ?? 0);
    this.#standIn?.end();
    this.#counts?.coreEnding();
  }

  close(reason: CloseReason): void {
    this.#firstWords?.forget();
    this.#standIn?.release();
    this.#leftovers?.close();
    this.#enabling?.reattachment?.close();
    this.#counts?.close(reason);
  }

  #fail(frame: Frame, condition: "unexpected-request" | "bad-request"): void {
    const bytes = smFailed(namespaceOf(frame), condition);
    this.#session.link?.write(bytes, 0, bytes.length);
  }
}
