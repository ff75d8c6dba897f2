import type { Clock } from "../../base/clock.ts";
import { meter } from "../../base/meter.ts";
import type { Negotiation } from "../../session/negotiation.ts";
import type { Offer } from "../../session/offer.ts";
import type { Feature, Part, Verdict } from "../../session/part.ts";
import { PHASES } from "../../session/phases.ts";
import type { Link } from "../../session/ports.ts";
import { Registry } from "../../session/registry.ts";
import type { Session } from "../../session/session.ts";
import type { Frame } from "../../xmpp/frame.ts";
import { parseJid } from "../../xmpp/jid.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import type { QueueBudget } from "../../xmpp/unacked-queue.ts";
import { type CoreSide, countedByClient } from "./core-side.ts";
import type { Counts } from "./counts.ts";
import type { TombstoneEstate } from "./estate.ts";
import { namespaceOf, readH, type SmFailure, type SmNamespace, smFailed } from "./nonza.ts";
import type { StreamManagementOptions } from "./options.ts";
import { StreamManagementPart } from "./part.ts";
import { ResumeTokens } from "./resume-token.ts";
import type { Safe } from "./safe.ts";
import { type Adoption, nameOf, Takeovers } from "./takeover.ts";

const resumes = meter.counter("breakwater_sm_resumes_total", "Resume attempts, by result", ["result"]);
const replayed = meter.counter("breakwater_sm_replayed_stanzas_total", "Stanzas that resumed clients had missed");
const queuedBytes = meter.gauge("breakwater_sm_queue_bytes", "Bytes in all unacknowledged queues");
const resumable = meter.gauge("breakwater_sm_resumable_sessions", "Sessions that can be resumed");

/** In one message to the process that takes this one's place. */
const TOMBSTONES_AT_A_TIME = 500;

/** A client's `<resume/>`. */
interface Resume {
  readonly id: string;
  readonly h: number;
  readonly xmlns: SmNamespace;
  /** The process before this one was asked for the session. */
  readonly claimed?: boolean;
}

/**
 * XEP-0198 Stream Management, towards the client whatever the core offers. One object per process: owns the registry of
 * resume ids and the budget of all queues. `options` are replaced by a reload and hold from then on.
 */
export class StreamManagement implements Feature {
  readonly name = "stream-management";
  readonly registry = new Registry<Counts>();
  readonly budget: QueueBudget;
  readonly #clock: Clock;
  readonly #takeovers = new Takeovers(() => this.#safe);
  #safe: Safe | null = null;
  // The resume ids that clients have shown which are about to bind.
  readonly #shown = new WeakMap<Link, string>();
  #options: StreamManagementOptions;
  #tokens: ResumeTokens | null;
  // Of the tombstones that a process which takes this one's place has been told of.
  #toldUntil = 0;
  // The part of the session that is being attached, for `coreBeforeBind`, and whether the core has resumed that session.
  #attached: StreamManagementPart | null = null;
  #adopts = false;

  constructor(options: StreamManagementOptions, clock: Clock) {
    this.#clock = clock;
    this.#options = options;
    this.#tokens = tokensOf(options, clock);
    this.budget = { used: 0, max: options.max_total_bytes };
    queuedBytes.collect = () => queuedBytes.set(this.budget.used);
    resumable.collect = () => resumable.set(this.registry.size);
  }

  /** Where stanzas are safe beside this process; null: nowhere. */
  get safe(): Safe | null {
    return this.#safe;
  }

  /** Before the first client: its stanzas may be kept in there. */
  keepIn(safe: Safe): void {
    this.#safe = safe;
  }

  get options(): StreamManagementOptions {
    return this.#options;
  }

  set options(options: StreamManagementOptions) {
    this.#options = options;
    this.#tokens = tokensOf(options, this.#clock);
    this.budget.max = options.max_total_bytes;
  }

  /** Whether clients get sessions here that any edge can take over, if the core agrees. */
  get outlives(): boolean {
    return this.#tokens !== null && this.#options.hold_time > 0;
  }

  /** A resume id with which any edge can take the session over; null when only this process can resume it. */
  token(session: Session, coreSide: CoreSide | null, maxSeconds: number): string | null {
    if (this.#tokens === null || coreSide?.id == null) return null;
    const { jid, bareJid, core } = session;
    const { id: coreId, xmlns, beforeClient } = coreSide;
    const full = `${bareJid}/${jid.resource}`;
    return this.#tokens.seal({ core: core.coreName, coreId, xmlns, jid: full, maxSeconds, beforeClient });
  }

  offer(offer: Offer): void {
    if (!this.#options.enabled) return;
    offer.add("sm", NS.sm);
    offer.add("sm", NS.sm2);
  }

  attach(session: Session): Part | null {
    this.#attached = this.#options.enabled ? new StreamManagementPart(this, session) : null;
    const { link } = session;
    if (link !== null && !this.#adopts) this.#attached?.begin(this.#shown.get(link) ?? null);
    return this.#attached;
  }

  /** `<resume/>` (XEP-0198 §5); everything else of XEP-0198 comes too early here (§3) and may be mended (§6). */
  beforeBind(frame: Frame, at: Negotiation): Verdict {
    if (!this.#options.enabled) return "pass";
    if (!at.authenticated || peek.name(frame) !== "resume")
      return this.#fail(namespaceOf(frame), at, "unexpected-request", "unexpected");
    const id = peek.attr(frame, "previd");
    const h = readH(frame);
    if (id === null || id === "" || h === null) return this.#fail(namespaceOf(frame), at, "bad-request", "malformed");
    return this.#resume({ id, h, xmlns: namespaceOf(frame) }, at);
  }

  #resume(asked: Resume, at: Negotiation): Verdict {
    const { id, h, xmlns } = asked;
    const { host } = at;
    const part = this.registry.find(id);
    if (host.succeeded) {
      // Where the sessions go, it finds its own.
      at.refuse("moved", "another process takes this one's place");
      return "taken";
    }
    if (part === null && host.predecessor !== null && !asked.claimed) {
      void at.claim(host.predecessor.claim(id), () => this.#resume({ ...asked, claimed: true }, at));
      return "taken";
    }
    if (part === null) return this.#takeOver(asked, at);
    const isOwn = at.isAccountOf(part.session.jid);
    // The core tells exactly whose it is, and its fresh stream is alive.
    if (part.session.portable && (!isOwn || part.isAhead(h) || part.hasSilentCore(host.clock.now()))) {
      if (isOwn) part.stepAside();
      return this.#takeOver(asked, at);
    }
    // Never a hint: for a stranger the session does not exist.
    if (!isOwn) return this.#fail(xmlns, at, "item-not-found", "not-owner");
    if (PHASES[part.session.phase].on.relinked === undefined) return this.#fail(xmlns, at, "item-not-found", "ending");
    if (part.hadNewer(at.link)) {
      // A delayed attempt arrives after a newer one: the newest wins.
      resumes.inc("older-attempt");
      at.refuse("replaced", "A newer connection of this client has resumed the session");
      return "taken";
    }
    // What the client has forgotten again cannot be sent again.
    if (part.isBehind(h)) return this.#fail(xmlns, at, "item-not-found", "behind");
    at.handOver();
    part.resume(at.link, xmlns, h);
    return "taken";
  }

  /** A client got its session back; `missed` stanzas are on their way to it. */
  resumed(session: Session, missed: number): void {
    resumes.inc("resumed");
    replayed.cell().value += missed;
    session.log.info("session resumed", {
      session: session.id,
      client: session.link?.client.address,
      missed,
    });
  }

  /** A resumable session has ended; `h` stanzas of its client were handled. */
  bury(id: string, session: Session, h: number): void {
    const { tombstone_time: seconds, max_tombstones: max } = this.#options;
    const now = session.host.clock.now();
    this.registry.forgetExpired(now);
    this.registry.bury(id, { jid: session.jid, h, expiresAt: now + seconds * 1000 }, max);
  }

  *memories(isMore: boolean): Iterable<TombstoneEstate[]> {
    const now = this.#clock.now();
    let told: TombstoneEstate[] = [];
    for (const [id, { jid, h, expiresAt }] of this.registry.tombstonesAfter(isMore ? this.#toldUntil : now)) {
      this.#toldUntil = expiresAt;
      told.push({ id, jid, h, remainingMs: expiresAt - now });
      if (told.length < TOMBSTONES_AT_A_TIME) continue;
      yield told;
      told = [];
    }
    if (told.length > 0) yield told;
  }

  remember(memory: unknown): void {
    const now = this.#clock.now();
    for (const { id, jid, h, remainingMs } of memory as TombstoneEstate[])
      this.registry.bury(id, { jid, h, expiresAt: now + remainingMs }, this.#options.max_tombstones);
  }

  // The session is not here: perhaps it is, or was, another's. Whose it is, its core knows best.
  #takeOver({ id: token, h, xmlns }: Resume, at: Negotiation): Verdict {
    const session = this.#tokens?.open(token) ?? null;
    if (session === null) return this.#tooLate(xmlns, at, token);
    this.#shown.set(at.link, token);
    const isAsked = this.#takeovers.ask(at, { token, session, xmlns, h, found: null }, (why) => {
      at.resumeRefused();
      this.#fail(xmlns, at, "item-not-found", why);
      at.link.flush();
    });
    return isAsked ? "taken" : this.#tooLate(xmlns, at, token);
  }

  /** The core's answer to a takeover. */
  coreBeforeBind(frame: Frame, at: Negotiation): Verdict {
    const name = peek.name(frame);
    const adoption = name === "resumed" || name === "failed" ? this.#takeovers.answered(at) : null;
    if (adoption === null) return "pass";
    const handled = readH(frame);
    const { beforeClient } = adoption.session;
    if (name === "failed" || handled === null) {
      at.resumeRefused();
      this.#forgetHandled(adoption);
      const h = handled === null ? null : countedByClient(handled, beforeClient);
      return this.#tooLate(adoption.xmlns, at, adoption.token, h);
    }
    // If this process had it itself, that one has lost its core now.
    this.registry.find(adoption.token)?.session.on("coreGone", "core-gone");
    if (handled < beforeClient) {
      // The rest went down with the edge that had it, and the client holds it no more: only a new login brings it back.
      at.resumeRefused();
      this.#forgetHandled(adoption);
      resumes.inc("core-behind");
      at.refuse("core-behind", "The server behind this edge lacks what came before <enable/>; please log in anew");
      return "taken";
    }
    this.#adopts = true;
    const session = at.becomeSession(parseJid(adoption.session.jid)!);
    this.#adopts = false;
    this.#attached!.adopt(adoption, handled);
    resumes.inc("taken-over");
    const { log, core, link } = session;
    const facts = { session: session.id, jid: adoption.session.jid, client: link?.client.address, core: core.coreName };
    log.info("session taken over", facts);
    return "taken";
  }

  // What the store has for a session that its core has given up comes after the bind, less what its client has told to have.
  #forgetHandled({ token, session, h, found }: Adoption): void {
    const safe = this.#safe;
    if (safe === null || found === null) return;
    safe.surely(() => safe.store.trim(nameOf(session, token), found.epoch, h, true));
  }

  #tooLate(xmlns: SmNamespace, at: Negotiation, id: string, coreH: number | null = null): Verdict {
    const tombstone = this.registry.tombstone(id, at.host.clock.now());
    const own = tombstone !== null && at.isAccountOf(tombstone.jid);
    return this.#fail(xmlns, at, "item-not-found", own ? "expired" : "unknown", own ? tombstone.h : coreH);
  }

  #fail(xmlns: SmNamespace, at: Negotiation, condition: SmFailure, result: string, h: number | null = null): Verdict {
    resumes.inc(result);
    const bytes = smFailed(xmlns, condition, h);
    at.link.write(bytes, 0, bytes.length);
    return "taken";
  }
}

function tokensOf({ resume_secret: secret, resume_lifetime: lifetime }: StreamManagementOptions, clock: Clock) {
  return secret === undefined ? null : new ResumeTokens(secret, lifetime, clock);
}
