import { CLOSE_REASONS, type CloseReason } from "../base/close-reasons.ts";
import { shortId } from "../base/ids.ts";
import type { Sweepable } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { type Frame, isStanza, KIND } from "../xmpp/frame.ts";
import type { FramingError } from "../xmpp/framing-error.ts";
import { bareOf, type Jid } from "../xmpp/jid.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";
import { LEAVE_TEXT, STREAM_END, seeOtherHost, streamError } from "../xmpp/stream-error.ts";
import type { Departure, Host, Leaving } from "./host.ts";
import type { CoreFeatures } from "./offer.ts";
import { mayPassToCore } from "./other-elements.ts";
import type { Part } from "./part.ts";
import { PHASES, type Phase, type PhaseEvent, phaseGauge } from "./phases.ts";
import { type CoreOwner, type CoreStream, closeReasonOf, type Link, type LinkOwner } from "./ports.ts";

const stanzas = meter.counter("breakwater_stanzas_total", "Stanzas of bound clients, by direction", ["direction"]);
const fromClientStanzas = stanzas.cell("from_client");
const fromCoreStanzas = stanzas.cell("from_core");
const closed = meter.counter("breakwater_sessions_closed_total", "Sessions ended, by reason", ["reason"]);
const unexpected = meter.counter("breakwater_unexpected_events_total", "Events that the phase table has no row for", [
  "phase",
  "event",
]);

// Who leaves so many bytes untaken is not read either: a core is asked to wait by TCP, as it would be without an edge
// (unless XEP-0198 has a queue for it), and a client that only asks and never reads costs no more than this.
const PAUSE_BYTES = 256 * 1024;

export interface SessionInit {
  /** Default: a new one. */
  readonly id?: string;
  readonly jid: Jid;
  /** Null: the session is dormant. */
  readonly link: Link | null;
  readonly core: CoreStream;
  readonly coreFeatures: CoreFeatures;
  /** The client's opening tag, where the core's sessions can be attached again without their clients. */
  readonly opening: Buffer | null;
  readonly host: Host;
}

/**
 * One bound client: the pair of its link and its core stream. Outlives links where XEP-0198 allows it.
 * Owns both legs and its parts; `on` is the only writer of `phase`; every end passes through `#finish`.
 */
export class Session implements LinkOwner, CoreOwner, Sweepable, Leaving {
  /** For logs; no secret. */
  readonly id: string;
  readonly jid: Jid;
  readonly bareJid: string;
  readonly coreFeatures: CoreFeatures;
  readonly opening: Buffer | null;
  readonly host: Host;
  readonly log: Log;
  /** Changes only through `changeCore`. */
  core: CoreStream;
  /** Null in the phases without a link. */
  link: Link | null;
  phase: Phase;
  /** Whether the session outlives its link: XEP-0198 was enabled with resumption. */
  resumable = false;
  /** Whether the core keeps its session when its TCP is dropped (XEP-0198 towards the core). */
  keptByCore = false;
  /** Whether any edge can take it over from the core (XEP-0198 there): so the core counts what the client counts, from its `<enable/>` on. */
  portable = false;
  /** Whether its account was told by the login itself, and so can be compared with a later login's. */
  identified = false;
  /** How long the session waits for its client in phase dormant. */
  holdSeconds: number;
  /** Stanzas that came from the core and that went to it, since bind. */
  stanzasFromCore = 0;
  stanzasToCore = 0;
  /** `stanzasToCore` after each stanza that the edge itself wrote to the core, oldest first (see stream-management). */
  injectedToCore: number[] | null = null;
  /** Past so many bytes that wait for the client its core is not read. A resumable session has a queue with its own limit. */
  linkRoom = PAUSE_BYTES;
  /** Stanzas that the core is about to send again and that this session has. */
  sentAgain = 0;
  #parts: readonly Part[] = [];
  #deadlineAt = Number.POSITIVE_INFINITY;
  #coreEnded = false;
  #clientHeld = false;
  #coreBehind = false;
  // Why the session is draining: the deadline and the last events of its legs are not the reason.
  #endReason: CloseReason | null = null;

  constructor(init: SessionInit) {
    this.id = init.id ?? shortId();
    this.jid = init.jid;
    this.bareJid = bareOf(init.jid);
    this.link = init.link;
    this.core = init.core;
    this.coreFeatures = init.coreFeatures;
    this.opening = init.opening;
    this.host = init.host;
    this.holdSeconds = init.host.deadlines.hold_time;
    this.log = init.host.log;
    this.phase = init.link === null ? "dormant" : "active";
    phaseGauge.cell(this.phase).value++;
    this.#parts = init.host.features.map((feature) => feature.attach(this)).filter((part) => part !== null);
    init.host.janitor.add(this);
    init.host.sessions.add(this);
  }

  /** Moves along the phase table. An event that has no row there is counted and changes nothing. */
  on(event: PhaseEvent, reason: CloseReason): void {
    const from = this.phase;
    const to = PHASES[from].on[event];
    if (to === undefined) {
      unexpected.inc(from, event);
      this.log.warn("unexpected event", { session: this.id, phase: from, on: event });
      return;
    }
    this.phase = to;
    phaseGauge.cell(from).value--;
    if (to !== "closed") phaseGauge.cell(to).value++;
    // Who was offered in vain waits no longer for it.
    if (to !== "leaving" && event !== "kept") this.#deadlineAt = this.#deadlineOf(to);
    if (to === "dormant") this.#sleep(reason);
    for (const part of this.#parts) part.phaseChanged?.(from, to);
    if (to === "draining") this.#drain(event, reason);
    else if (to === "closed") this.#finish(reason);
  }

  // ---- from the client

  linkFrame(link: Link, frame: Frame): void {
    if (link !== this.link) return;
    if (this.phase === "draining") return;
    this.#walk(frame, this.#parts.length);
  }

  #walk(frame: Frame, behind: number): void {
    for (let i = behind - 1; i >= 0; i--) {
      const part = this.#parts[i]!;
      if (part.fromClient !== undefined && part.fromClient(frame) === "taken") return;
    }
    if (isStanza(frame)) {
      fromClientStanzas.value++;
      this.stanzasToCore++;
    } else if (!mayPassToCore(frame, this)) return;
    this.core.write(frame.bytes, frame.start, frame.end);
  }

  linkChunkEnd(link: Link): void {
    if (link !== this.link) return;
    this.flushCore();
    this.flushLink();
    this.#readClient();
  }

  linkHeader(link: Link): void {
    this.refuse(link, "not-well-formed", "a second opening tag");
  }

  linkStreamEnd(link: Link): void {
    if (link === this.link && this.phase !== "draining") this.on("ending", "client-closed");
  }

  linkDrained(link: Link): void {
    if (link !== this.link) return;
    this.core.resume();
    for (const part of this.#parts) part.linkDrained?.();
    this.#readClient();
  }

  linkRefused(link: Link, error: FramingError): void {
    if (this.phase === "draining") return; // bytes behind </stream:stream> are nobody's
    this.refuse(link, closeReasonOf(error), error.message);
  }

  linkLost(link: Link, reason: CloseReason): void {
    if (link !== this.link) return;
    this.on(this.resumable ? "lost" : "gone", reason);
  }

  // ---- from the core

  coreConnected(): void {}

  coreHeader(): void {
    this.on("coreGone", "core-misbehaved");
  }

  coreFrame(_core: CoreStream, frame: Frame): void {
    if (isStanza(frame)) {
      if (this.sentAgain > 0) {
        this.sentAgain--;
        return;
      }
      fromCoreStanzas.value++;
      this.stanzasFromCore++;
    } else if (frame.kind === KIND.streamError && peek.hasChild(frame, "system-shutdown", NS.streamErrors)) {
      // Nobody is to hear it before their turn: all of the core's clients would be back at once.
      return this.loseCore("core-gone");
    }
    const parts = this.#parts;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      if (part.fromCore !== undefined && part.fromCore(frame) === "taken") return;
    }
    this.link?.write(frame.bytes, frame.start, frame.end);
  }

  coreChunkEnd(): void {
    this.flushLink();
    this.flushCore();
    if (this.link !== null && this.link.pendingBytes > this.linkRoom && !this.resumable) this.core.pause();
  }

  coreStreamEnd(): void {
    if (this.phase === "closed") return;
    if (this.phase === "draining") this.on("flushed", "client-closed");
    else this.on("coreGone", "core-closed");
  }

  coreDrained(): void {
    this.#readClient();
  }

  coreGone(_core: CoreStream, reason: CloseReason, detail: string): void {
    this.log.info("core stream gone", { session: this.id, core: this.core.coreName, reason, detail });
    this.loseCore(reason);
  }

  // ---- for parts and the operator

  /** A stanza of the client that `part` had taken, and copied, goes on: also where it is the last word before an end. */
  passOn(part: Part, stanza: Frame): void {
    this.#walk(stanza, this.#parts.indexOf(part));
  }

  /** Writes the edge's own stanza to the core: the core counts it, the client does not know of it. */
  injectToCore(stanza: Buffer): void {
    this.stanzasToCore++;
    this.injectedToCore ??= [];
    this.injectedToCore.push(this.stanzasToCore);
    this.core.write(stanza, 0, stanza.length);
  }

  /** The core's connection is gone, or of no use any more. The session ends, unless a part knows how it goes on. */
  loseCore(reason: CloseReason): void {
    const { on } = PHASES[this.phase];
    if (reason === "core-gone" && on.coreGone !== undefined && this.phase !== "draining" && this.phase !== "leaving") {
      for (const part of this.#parts) if (part.coreLost?.() === "taken") return;
    }
    this.on("coreGone", reason);
  }

  /** The core's leg is another stream from now on. `sentAgain`: its first stanzas, which this session has already. */
  changeCore(core: CoreStream, sentAgain = 0): void {
    this.core.drop();
    this.core = core;
    this.sentAgain = sentAgain;
    core.owner = this;
  }

  /** The core has resumed the session on the stream that it has now. */
  coreResumed(): void {
    for (const part of this.#parts) part.coreResumed?.();
    this.flushCore();
    this.flushLink();
    if (this.#coreEnded) this.core.end();
  }

  /** While true nothing of the client is read: the core has confirmed too little of what it sent. */
  holdForCore(behind: boolean): void {
    this.#coreBehind = behind;
    this.#readClient();
  }

  /** While true nothing of the client is read: what it sends belongs behind an answer that it waits for. */
  holdClient(held: boolean): void {
    this.#clientHeld = held;
    this.#readClient();
  }

  flushLink(): void {
    if (this.link === null) return;
    for (const part of this.#parts) part.beforeLinkFlush?.();
    // A part may have lost or ended the link.
    this.link?.flush();
  }

  flushCore(): void {
    if (this.phase === "closed") return;
    for (const part of this.#parts) part.beforeCoreFlush?.();
    this.core.flush();
  }

  /**
   * Step one of a resume (XEP-0198 §5): the old link is fenced, told `conflict` and closed, and the new one is bound to
   * this session. Nothing of the old link is parsed any more, so what was received from it is final.
   */
  relink(link: Link): void {
    const old = this.link;
    this.link = null;
    if (old !== null) {
      old.fence();
      old.write(...whole(streamError("conflict", "Replaced by a newer connection of this client")));
      old.write(...whole(STREAM_END));
      old.end();
    }
    this.link = link;
    this.#clientHeld = false;
    link.owner = this;
    this.on("relinked", "resumed");
  }

  /** Ends the session for something that its client sent: a stream error to the client, a polite end to the core. */
  refuse(link: Link, reason: CloseReason, text: string, application = ""): void {
    if (link !== this.link || this.phase === "draining") return;
    this.log.info("client refused", { session: this.id, reason, detail: text });
    const condition = CLOSE_REASONS[reason].condition;
    if (condition !== null) link.write(...whole(streamError(condition, text, application)));
    this.on("ending", reason);
  }

  /**
   * Lets the client go because this process stops. What any edge can take over it finds again by itself: for the client
   * its connection is lost. Null: the session is ending already.
   */
  leave(to: string | null): Departure | null {
    if (PHASES[this.phase].on.ending === undefined) return null;
    const told = !this.portable && this.link?.transport === "tcp" && to !== null;
    const how = this.portable ? "moved" : told ? "redirected" : "shutdown";
    if (told) this.link!.write(...whole(seeOtherHost(to, LEAVE_TEXT)));
    this.on("ending", how);
    return how;
  }

  /** Cuts the client's connection without a word, which it takes for lost. */
  cut(reason: CloseReason): void {
    this.#takeLink()?.drop();
    this.on("lost", reason);
  }

  get parts(): readonly Part[] {
    return this.#parts;
  }

  /** How long the phase may still last, in ms. */
  get remainingMs(): number {
    return this.#deadlineAt - this.host.clock.now();
  }

  set remainingMs(ms: number) {
    this.#deadlineAt = this.host.clock.now() + ms;
  }

  sweep(now: number): void {
    if (this.phase === "leaving") return; // what would be written now is said by another process
    for (const part of this.#parts) part.tick?.(now);
    if (now < this.#deadlineAt) return;
    this.on("deadline", this.phase === "dormant" ? "hold-expired" : "link-silent");
  }

  // ---- ends

  #deadlineOf(phase: Phase): number {
    const option = PHASES[phase].deadline;
    if (option === null) return Number.POSITIVE_INFINITY;
    const seconds = option === "hold_time" ? this.holdSeconds : this.host.deadlines[option];
    return this.host.clock.now() + seconds * 1000;
  }

  #sleep(reason: CloseReason): void {
    this.log.info("session dormant", { session: this.id, reason, hold_s: this.holdSeconds });
    const link = this.link;
    this.link = null;
    if (link === null) return;
    link.fence();
    const condition = CLOSE_REASONS[reason].condition;
    if (condition !== null) link.write(...whole(streamError(condition)));
    if (condition !== null) link.write(...whole(STREAM_END));
    link.end();
    this.core.resume();
  }

  // A client that logs out gets what the core still has to say; every other end is immediate.
  #drain(event: PhaseEvent, reason: CloseReason): void {
    this.#endReason = reason;
    if (reason === "client-closed") return this.#endCore();
    if (reason === "moved") this.#takeLink()?.drop();
    else if (reason === "core-gone")
      this.returnClient(this.portable ? null : streamError("system-shutdown", DRAIN_TEXT[reason]));
    const said = event === "ending" && reason !== "shutdown"; // refuse() and leave() have written their own error
    const condition = CLOSE_REASONS[reason].condition;
    if (condition !== null && !said) this.link?.write(...whole(streamError(condition, DRAIN_TEXT[reason] ?? "")));
    this.on("flushed", reason);
  }

  // The core's connection is gone or about to, not its session: the client that loses its own, too, returns and resumes. To the word
  // "end" it would have to log in anew (XEP-0198 §5).
  #takeLink(): Link | null {
    const link = this.link;
    this.link = null;
    link?.flush();
    return link;
  }

  /**
   * The link is cut when its turn comes, or now, when the session has just had a turn; the session has none any more.
   * `farewell`: of one that cannot be resumed.
   */
  returnClient(farewell: Buffer | null, when: "in turn" | "now" = "in turn"): void {
    const link = this.#takeLink();
    if (link === null) return;
    if (when === "now") this.host.returns.cut(link, farewell);
    else this.host.returns.add(link, farewell);
  }

  #finish(last: CloseReason): void {
    const reason = this.#endReason ?? last;
    closed.inc(reason);
    this.host.janitor.remove(this);
    this.host.sessions.delete(this);
    if (this.core.owner === this) this.#closeCore(reason);
    const link = this.link;
    this.link = null;
    if (link !== null) {
      link.fence();
      link.write(...whole(STREAM_END));
      link.end();
    }
    for (const part of this.#parts) part.close?.(reason);
    this.log.info("session closed", {
      session: this.id,
      reason,
      from_client: this.stanzasToCore,
      from_core: this.stanzasFromCore,
    });
  }

  #closeCore(reason: CloseReason): void {
    this.core.owner = null;
    if (reason === "core-gone" || reason === "handed-over") this.core.drop();
    else if (DEPARTURES.has(reason) && this.keptByCore) {
      // XEP-0198: a polite end would end the core's session at once; a dropped TCP leaves it resumable. What the client
      // has handled is told first, or the core would deliver it again when it gives the session up.
      for (const part of this.#parts) part.coreEnding?.();
      this.core.flush();
      this.core.drop();
    } else this.#endCore();
  }

  // Once: a client that logs out may drop its connection before the core has answered.
  #endCore(): void {
    if (this.#coreEnded) return;
    this.#coreEnded = true;
    for (const part of this.#parts) part.coreEnding?.();
    this.core.end();
  }

  #readClient(): void {
    const { link, core } = this;
    if (link === null) return;
    if (this.#clientHeld || this.#coreBehind || core.pendingBytes > PAUSE_BYTES || link.pendingBytes > PAUSE_BYTES)
      link.pause();
    else link.resume();
  }
}

/** The ends of this process, not of the session. */
const DEPARTURES: ReadonlySet<CloseReason> = new Set<Departure>(["moved", "redirected", "shutdown"]);

const DRAIN_TEXT: Partial<Record<CloseReason, string>> = {
  "core-gone": "The server behind this edge went away; please reconnect",
  "core-unreachable": "The server behind this edge went away; please reconnect",
  "queue-full": "Too many stanzas wait for an acknowledgement; they will be delivered after a new login",
  shutdown: LEAVE_TEXT,
};

function whole(bytes: Buffer): [Buffer, number, number] {
  return [bytes, 0, bytes.length];
}
