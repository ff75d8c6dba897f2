import { CLOSE_REASONS, type CloseReason } from "../base/close-reasons.ts";
import { shortId } from "../base/ids.ts";
import type { Sweepable } from "../base/janitor.ts";
import { meter } from "../base/meter.ts";
import { parseElement } from "../xmpp/element.ts";
import { copyOf, type Frame, isStanza, KIND } from "../xmpp/frame.ts";
import type { FramingError } from "../xmpp/framing-error.ts";
import { domainKey, type Jid, parseJid } from "../xmpp/jid.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";
import { LEAVE_TEXT, STREAM_END, seeOtherHost, streamError } from "../xmpp/stream-error.ts";
import { isRefusal, openingTag, readStreamHeader, XML_DECLARATION } from "../xmpp/stream-header.ts";
import type { AtTheGate } from "./gate.ts";
import type { Departure, Host, Leaving } from "./host.ts";
import { type CoreFeatures, Offer } from "./offer.ts";
import { COMPRESS_REFUSED } from "./other-elements.ts";
import { PHASES, type Phase, type PhaseEvent, phaseGauge } from "./phases.ts";
import { type CoreOwner, type CoreStream, closeReasonOf, type Link, type LinkOwner } from "./ports.ts";
import { isSameUser } from "./sasl-identity.ts";
import { SaslRelay } from "./sasl-relay.ts";
import { domainFor } from "./served-domain.ts";
import { Session } from "./session.ts";
import { ANSWER_OWED, type Step } from "./steps.ts";

const refused = meter.counter(
  "breakwater_connections_refused_total",
  "Clients that left or were refused before bind, by reason",
  ["reason"],
);
const logins = meter.counter("breakwater_sasl_total", "SASL exchanges relayed, by the core's verdict", ["result"]);

// Who leaves so many bytes untaken is not read any more.
const PAUSE_BYTES = 64 * 1024;
const PROCEED = Buffer.from(`<proceed xmlns='${NS.tls}'/>`);
const STARTTLS_FEATURES = Buffer.from(
  `<stream:features><starttls xmlns='${NS.tls}'><required/></starttls></stream:features>`,
);

/**
 * A client from its first byte until it has bound, resumed or been refused (RFC 6120 §4.3). Gone after that.
 *
 * The stream to the core is provisional: opened for the first encrypted header, handed to the Session at bind, dropped
 * when the client resumes another session.
 */
export class Negotiation implements LinkOwner, CoreOwner, Sweepable, Leaving, AtTheGate {
  readonly host: Host;
  #phase: Phase = "connecting";
  #step: Step = "header";
  readonly #link: Link;
  // The client's opening tag, while it is needed.
  #opening: Buffer | null = null;
  #core: CoreStream | null = null;
  #coreFeatures: CoreFeatures = { sm: null, csi: false };
  #domain = "";
  #authenticated = false;
  readonly #sasl = new SaslRelay();
  #bindId: string | null = null;
  // Whether the client has got an opening tag for the current stream: an error before it would not be XML.
  #answered = false;
  // Whether the core has sent a stream error, which the client then has.
  #coreSaidWhy = false;
  #deadlineAt: number;

  constructor(link: Link, host: Host) {
    this.#link = link;
    this.host = host;
    this.#deadlineAt = host.clock.now() + host.deadlines.open_timeout * 1000;
    phaseGauge.cell("connecting").value++;
    host.janitor.add(this);
    host.negotiations.add(this);
  }

  get link(): Link {
    return this.#link;
  }

  /** Whether the core has accepted the client's credentials. */
  get authenticated(): boolean {
    return this.#authenticated;
  }

  /** Whether `jid` (as a core bound it) belongs to the account that has authenticated here. */
  isAccountOf(jid: Jid): boolean {
    const user = this.#sasl.user;
    return (
      this.#authenticated && user !== null && domainKey(jid.domain) === this.#domain && isSameUser(user, jid.local)
    );
  }

  /** Whether the login told the account at all (sasl-identity.ts). */
  get isIdentified(): boolean {
    return this.#sasl.user !== null;
  }

  /** The core behind the provisional stream. */
  get coreName(): string | null {
    return this.#core?.coreName ?? null;
  }

  get coreFeatures(): CoreFeatures {
    return this.#coreFeatures;
  }

  /** Asks the core to resume a session in place of a bind; what it says comes to the features (`coreBeforeBind`). */
  resumeAtCore(request: Buffer): void {
    this.#core!.write(request, 0, request.length);
    this.#core!.flush();
    this.#go("resumed");
  }

  /** A feature looks something up before it asks the core: until then nothing more of the client is read. */
  awaitResume(): void {
    this.#go("resumed");
  }

  /** Whether the client still waits for that. */
  get awaitsResume(): boolean {
    return this.#phase === "authenticating" && this.#step === "resumed" && this.#core !== null;
  }

  /** The core would not: the client may bind. */
  resumeRefused(): void {
    this.#go("bind");
  }

  /** Asks another process for a session; `then` goes on, unless the client is gone by then. */
  async claim(session: Promise<boolean>, then: () => void): Promise<void> {
    this.#go("claimed");
    await session;
    if (this.#phase === "closed") return;
    this.#go("bind");
    then();
    this.#link.owner?.linkChunkEnd(this.#link);
  }

  /** The core has bound this stream to `jid`, or resumed the session that is. The negotiation ends. */
  becomeSession(jid: Jid): Session {
    const link = this.#link;
    const core = this.#core!;
    this.#core = null;
    this.#on("bound");
    const session = new Session({
      ...{ jid, link, core, opening: this.#opening },
      ...{ coreFeatures: this.#coreFeatures, host: this.host },
    });
    session.identified = this.isAccountOf(jid);
    link.owner = session;
    core.owner = session;
    link.resume();
    return session;
  }

  /** The session that this client resumes takes over the link; the provisional core stream is closed unbound. */
  handOver(): void {
    this.#releaseCore();
    this.#on("handedOver");
  }

  leave(to: string | null): Departure {
    if (this.host.succeeded) {
      this.refuse("moved", LEAVE_TEXT);
      return "moved";
    }
    const place = this.#link.transport === "tcp" ? to : null;
    const reason = place === null ? "shutdown" : "redirected";
    this.refuse(reason, LEAVE_TEXT, place);
    return reason;
  }

  sweep(now: number): void {
    if (now < this.#deadlineAt) return;
    const reason = this.#phase === "connecting" ? "open-timeout" : "login-timeout";
    this.refuse(reason, reason === "open-timeout" ? "no stream was opened in time" : "no login was completed in time");
  }

  // ---- from the client

  linkHeader(link: Link, frame: Frame): void {
    if (this.#step !== "header") return this.refuse("not-well-formed", "a second opening tag");
    const header = readStreamHeader(frame);
    if (isRefusal(header)) return this.refuse(header.reason, header.text);
    const domain =
      this.#authenticated && header.to === null
        ? this.#domain
        : domainFor(header.to, link.servername, this.host.domains);
    if (domain === null) return this.refuse("host-unknown", `${header.to ?? "no domain"} is not served here`);
    if (this.#authenticated && domain !== this.#domain) {
      return this.refuse("host-unknown", "the domain changed after the login");
    }
    this.#domain = domain;
    if (!link.secure) return this.#offerStartTls(domain);
    if (this.#phase === "connecting") this.#on("opened");
    // Every attribute and namespace declaration of the client's header reaches the core: the tag goes on as it came.
    if (this.#core !== null) return this.#open(frame.bytes, frame.start, frame.end);
    const name = this.host.cores.nameOf(domain);
    if (name === null) return this.refuse("host-unknown", `${domain} is not served here`);
    const turn = this.host.gate.enter(name, this);
    if (turn === "now") return this.#open(frame.bytes, frame.start, frame.end);
    if (turn === "full") return this.refuse("too-many-logins", "Many clients log in just now; please try again later");
    this.#opening = copyOf(frame.bytes, frame.start, frame.end);
    this.#go("turn");
  }

  letIn(): void {
    const opening = this.#opening!;
    this.#opening = null;
    this.#open(opening, 0, opening.length);
    this.#core?.flush();
  }

  #open(header: Buffer, start: number, end: number): void {
    this.#core ??= this.host.cores.open(this.#domain, this.#link, this);
    if (this.#core === null) return this.refuse("host-unknown", `${this.#domain} is not served here`);
    this.#core.write(XML_DECLARATION, 0, XML_DECLARATION.length);
    this.#core.write(header, start, end);
    if (this.#authenticated && this.host.cores.reattachTerms(this.#core.coreName) !== null)
      this.#opening = copyOf(header, start, end);
    this.#go("features");
  }

  linkFrame(link: Link, frame: Frame): void {
    if (this.#step === "starttls") return this.#startTls(frame);
    if (frame.kind >= KIND.smRequest && frame.kind <= KIND.sm) {
      for (const feature of this.host.features) if (feature.beforeBind?.(frame, this) === "taken") return;
    }
    if (frame.kind === KIND.sasl) return this.#saslFromClient(frame);
    if (frame.kind === KIND.iq) return this.#iqFromClient(frame);
    if (isStanza(frame)) return this.refuse("not-authorized", "stanzas are taken after login and resource binding");
    if (frame.kind === KIND.other && peek.name(frame) === "compress") {
      link.write(COMPRESS_REFUSED, 0, COMPRESS_REFUSED.length);
      return;
    }
    this.refuse("unexpected-element", `<${peek.name(frame)}/> has no place before the resource is bound`);
  }

  linkChunkEnd(link: Link): void {
    this.#core?.flush();
    link.flush();
    this.#readClient();
  }

  linkStreamEnd(): void {
    this.#close("client-closed");
  }

  linkDrained(): void {
    this.#core?.resume();
    this.#readClient();
  }

  linkRefused(_link: Link, error: FramingError): void {
    this.refuse(closeReasonOf(error), error.message);
  }

  linkLost(_link: Link, reason: CloseReason): void {
    this.#releaseCore();
    refused.inc(reason);
    this.#on("gone");
  }

  // ---- from the core

  coreConnected(): void {}

  coreHeader(_core: CoreStream, header: Frame): void {
    this.#answered = true;
    this.#link.write(XML_DECLARATION, 0, XML_DECLARATION.length);
    this.#link.write(header.bytes, header.start, header.end);
  }

  coreFrame(core: CoreStream, frame: Frame): void {
    if (frame.kind === KIND.features) return this.#featuresFromCore(core, frame);
    if (frame.kind === KIND.sasl && this.#step === "verdict") return this.#saslFromCore(core, frame);
    if (frame.kind === KIND.iq && this.#step === "bound" && peek.attr(frame, "id") === this.#bindId) {
      return this.#bindAnswer(core, frame);
    }
    if (this.#step === "resumed" && frame.kind === KIND.sm) {
      for (const feature of this.host.features) if (feature.coreBeforeBind?.(frame, this) === "taken") return;
    }
    if (frame.kind === KIND.streamError) this.#coreSaidWhy = true;
    this.#link.write(frame.bytes, frame.start, frame.end);
  }

  coreChunkEnd(core: CoreStream): void {
    this.#link.flush();
    core.flush();
    if (this.#link.pendingBytes > PAUSE_BYTES) core.pause();
  }

  coreStreamEnd(): void {
    if (this.#coreSaidWhy) return this.#close("core-closed");
    this.refuse("core-unreachable", "The server behind this edge closed the stream; please try again later");
  }

  coreDrained(): void {
    this.#readClient();
  }

  coreGone(_core: CoreStream, reason: CloseReason, detail: string): void {
    this.host.log.warn("core stream failed before bind", { domain: this.#domain, reason, detail });
    this.#core = null;
    this.refuse(reason, "The server behind this edge cannot be reached; please try again later");
  }

  // ---- steps

  #offerStartTls(domain: string): void {
    this.#sendOpeningTag(domain);
    this.#send(STARTTLS_FEATURES);
    this.#answered = true;
    this.#step = "starttls";
  }

  #startTls(frame: Frame): void {
    if (frame.kind !== KIND.tls || peek.name(frame) !== "starttls") {
      return this.refuse("not-encrypted", "only <starttls/> is taken before encryption");
    }
    const turn = this.#link.startTls(PROCEED);
    if (turn === "pipelined") this.linkNotSecured(this.#link, "starttls-pipelined");
    else if (turn === "wait") this.#deadlineAt = Number.POSITIVE_INFINITY;
    else this.#secured();
  }

  linkTurn(): void {
    this.#deadlineAt = this.host.clock.now() + this.host.deadlines.open_timeout * 1000;
    this.#secured();
  }

  linkNotSecured(_link: Link, reason: CloseReason): void {
    const text =
      reason === "starttls-pipelined"
        ? "bytes behind <starttls/> are neither plain nor encrypted"
        : "Many clients connect just now; please try again later";
    this.refuse(reason, text);
  }

  #secured(): void {
    this.#answered = false;
    this.#step = "header";
  }

  #saslFromClient(frame: Frame): void {
    if (this.#step !== "sasl") return this.refuse("unexpected-element", "this is not the time for SASL");
    this.#sasl.fromClient(frame, this.#domain);
    this.#core!.write(frame.bytes, frame.start, frame.end);
    this.#go("verdict");
  }

  // Before login: in-band registration, which the core offers or refuses. After it: bind, and whatever comes first.
  #iqFromClient(frame: Frame): void {
    const isBind =
      this.#step === "bind" && peek.attrEquals(frame, "type", "set") && peek.hasChild(frame, "bind", NS.bind);
    this.#core!.write(frame.bytes, frame.start, frame.end);
    if (!isBind) return;
    this.#bindId = peek.attr(frame, "id");
    this.#go("bound");
  }

  #featuresFromCore(core: CoreStream, frame: Frame): void {
    const offer = new Offer(frame, core.traits.mechanisms);
    if (offer.removedMechanisms.length > 0) {
      this.host.log.warn("core offers channel binding, which no client can complete through an edge", {
        core: core.coreName,
        removed: offer.removedMechanisms,
      });
    }
    this.#coreFeatures = offer.core;
    if (offer.authenticated) for (const feature of this.host.features) feature.offer?.(offer);
    this.#send(offer.toBytes());
    this.#go(this.#authenticated ? "bind" : "sasl");
  }

  #saslFromCore(core: CoreStream, frame: Frame): void {
    this.#link.write(frame.bytes, frame.start, frame.end);
    const verdict = this.#sasl.fromCore(frame);
    if (verdict === "success" || verdict === "failure") logins.inc(verdict);
    if (verdict !== "success") return this.#go("sasl");
    this.#authenticated = true;
    this.#link.setLimits(this.host.limits.afterLogin);
    // RFC 6120 §6.4.6: both streams begin anew; what the client has pipelined is read as the new stream.
    core.restartStream();
    this.#link.restartStream();
    this.#answered = false;
    this.#go("header");
  }

  #bindAnswer(core: CoreStream, frame: Frame): void {
    const text = parseElement(frame).getChild("bind", NS.bind)?.getChildText("jid");
    const jid = text ? parseJid(text) : null;
    this.#link.write(frame.bytes, frame.start, frame.end);
    if (jid === null) return this.#go("bind"); // an error, say <conflict/>: the client may try another resource
    const session = this.becomeSession(jid);
    this.host.log.info("session bound", {
      session: session.id,
      jid: text ?? "",
      client: session.link?.client.address,
      transport: session.link?.transport,
      core: core.coreName,
      mechanism: this.#sasl.mechanism,
    });
  }

  // ---- moving on

  #go(step: Step): void {
    this.#step = step;
    this.#readClient();
  }

  // One step at a time, and nobody is read who does not read.
  #readClient(): void {
    if (this.#phase === "closed") return;
    const answerDue = ANSWER_OWED.has(this.#step);
    const full = this.#link.pendingBytes > PAUSE_BYTES || (this.#core?.pendingBytes ?? 0) > PAUSE_BYTES;
    if (answerDue || full) this.#link.pause();
    else this.#link.resume();
  }

  #on(event: PhaseEvent): void {
    const to = PHASES[this.#phase].on[event];
    if (to === undefined) return;
    phaseGauge.cell(this.#phase).value--;
    this.#phase = to;
    if (to === "authenticating") {
      phaseGauge.cell(to).value++;
      this.#deadlineAt = this.host.clock.now() + this.host.deadlines.login_timeout * 1000;
      return;
    }
    this.#deadlineAt = Number.POSITIVE_INFINITY;
    if (this.#step === "turn") this.host.gate.leave(this);
    this.host.janitor.remove(this);
    this.host.negotiations.delete(this);
  }

  #send(bytes: Buffer): void {
    this.#link.write(bytes, 0, bytes.length);
  }

  #sendOpeningTag(from: string | null): void {
    this.#send(XML_DECLARATION);
    this.#send(Buffer.from(openingTag({ from, id: shortId() })));
  }

  /** Ends a client that has not bound, with the stream error that belongs to `reason`. */
  refuse(reason: CloseReason, text: string, elsewhere: string | null = null): void {
    const condition = CLOSE_REASONS[reason].condition;
    if (condition !== null) {
      if (!this.#answered) this.#sendOpeningTag(this.#domain || null);
      this.#answered = true;
      this.#send(elsewhere === null ? streamError(condition, text) : seeOtherHost(elsewhere, text));
    }
    this.#close(reason, text);
  }

  #close(reason: CloseReason, detail = ""): void {
    if (this.#phase === "closed") return;
    this.#releaseCore();
    refused.inc(reason);
    this.host.log.info("client left before bind", {
      client: this.#link.client.address,
      phase: this.#phase,
      domain: this.#domain,
      reason,
      detail,
    });
    this.#link.fence();
    // Without a word where the client is to come back at once: it has lost its connection.
    if (this.#answered && reason !== "moved") this.#send(STREAM_END);
    this.#link.end();
    this.#on("refused");
  }

  #releaseCore(): void {
    const core = this.#core;
    this.#core = null;
    if (core === null) return;
    core.owner = null;
    // It may have resumed a session already, which a polite end would end.
    if (this.#step === "resumed") core.drop();
    else core.end();
  }
}
