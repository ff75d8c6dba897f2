import type { Clock } from "../../base/clock.ts";
import { secretId } from "../../base/ids.ts";
import type { Janitor, Sweepable } from "../../base/janitor.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { Endpoint, Link, LinkOwner } from "../../session/ports.ts";
import { frameOver, KIND } from "../../xmpp/frame.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import { brokenBy, bytesToClient, nextLinkId, openLinks } from "../links.ts";
import {
  answerBody,
  attributesText,
  type Condition,
  conditionOf,
  LEGACY_STATUS,
  RECOVERABLE,
  terminal,
} from "./answers.ts";
import { type Body, PayloadReader, readNumber } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { KeySequence } from "./key-sequence.ts";
import type { BoshOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Pieces } from "./pieces.ts";
import { Requests } from "./requests.ts";

const openBosh = openLinks.cell("bosh");
const repeated = meter.counter("breakwater_bosh_repeated_total", "BOSH requests that came again for a lost answer");
export const boshRefused = meter.counter(
  "breakwater_bosh_refused_total",
  "BOSH requests refused, by the condition that the client was told",
  ["condition"],
);

/** More than this of what waits for a client does not go with one answer: a lost one is sent again whole. */
const ANSWER_BYTES = 64 * 1024;
/** An answer that is so long under way may be lost: the client is told of it (XEP-0124 §9.2). */
const REPORT_AFTER_MS = 3000;
/** How long a session that has ended still repeats its last answers. */
const REMEMBER_MS = 10_000;

/** What the links of a process share. */
export interface BoshLinkHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  options(): BoshOptions;
  /** The session has ended; requests may still ask for its last answers. */
  left(link: BoshLink): void;
  /** Nothing is known of the session any more. */
  forgotten(link: BoshLink): void;
}

/** What client and edge have agreed on (XEP-0124 §7). */
export interface BoshTerms {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly limits: FramerLimits;
  /** Seconds that a request may be held. */
  readonly wait: number;
  /** Requests that may be held: 0 for a client that polls. */
  readonly hold: 0 | 1;
  /** Requests that the client may have open. */
  readonly requests: number;
  /** Seconds without a request, none being held, that end the session. */
  readonly inactivity: number;
  /** The BOSH version in use; null: the client has named none. */
  readonly version: string | null;
  /** The client acknowledges answers. */
  readonly acks: boolean;
}

/**
 * A client on BOSH (XEP-0124, XEP-0206): requests that come and answers that go, on whatever connections, as a stream.
 * The link is lost when no request comes any more.
 */
export class BoshLink implements Link, Sweepable {
  readonly id = nextLinkId();
  readonly transport = "bosh";
  readonly secure = true;
  readonly servername = null;
  readonly sid = secretId();
  owner: LinkOwner | null = null;
  wroteAt: number;
  readonly #terms: BoshTerms;
  readonly #host: BoshLinkHost;
  readonly #requests: Requests;
  readonly #reader: PayloadReader;
  readonly #out = new Pieces();
  readonly #pace = new Pace();
  readonly #keys: KeySequence | null;
  // Bodies that have had their turn; the first of them is being read, or waits for the owner.
  #bodies: Body[] = [];
  #reading = false;
  #pumping = false;
  #paused = false;
  // The opening tag of the core, and that of the client, is still to come.
  #openingDue = true;
  #restartDue = true;
  #loggedIn = false;
  // What the opening tags of the client's stream say.
  readonly #stream: Record<string, string> = {};
  // Attributes that the next answer carries, whatever else.
  #tell = "";
  #reporting = false;
  #terminating = false;
  #pausing = false;
  #pausedUntil = 0;
  #heardAt: number;
  // Since when nobody waits for an answer.
  #idleSince: number;
  #lastWasEmpty = false;
  #condition: Condition | null = null;
  // Once ended: the last answer, until somebody asks for it.
  #last: Buffer | null = null;
  #endedAt = 0;

  constructor(first: Exchange, terms: BoshTerms, host: BoshLinkHost) {
    const { attributes } = first.body;
    this.#terms = terms;
    this.#host = host;
    this.#requests = new Requests(first.rid - 1, terms.requests, RECOVERABLE);
    this.#reader = new PayloadReader(terms.limits);
    this.#heardAt = this.wroteAt = this.#idleSince = host.clock.now();
    const newkey = attributes.get("newkey");
    this.#keys = newkey === undefined ? null : new KeySequence(newkey);
    const { polling, max_pause: maxpause } = host.options();
    const { wait, hold, requests, inactivity, version: ver } = terms;
    this.#tell = attributesText({
      "xmlns:xmpp": NS.xbosh,
      sid: this.sid,
      ...{ wait, hold, requests, inactivity, polling, maxpause, ver },
      ack: terms.acks ? first.rid : null,
      accept: "gzip",
      secure: attributes.has("secure") ? "true" : null,
      "xmpp:restartlogic": "true",
    });
    openBosh.value++;
    host.janitor.add(this);
  }

  get client(): Endpoint {
    return this.#terms.client;
  }

  get server(): Endpoint {
    return this.#terms.server;
  }

  /** A client that has announced a pause is not missed before its end. */
  get heardAt(): number {
    return Math.max(this.#heardAt, this.#pausedUntil);
  }

  get pendingBytes(): number {
    return this.#out.bytes;
  }

  /** Of one stanza, as it stands now. */
  get maxBytes(): number {
    return this.#reader.limits.maxBytes;
  }

  get loggedIn(): boolean {
    return this.#loggedIn;
  }

  /** For a client that has logged in. */
  setLimits(limits: FramerLimits): void {
    this.#reader.limits = limits;
    this.#loggedIn = true;
  }

  restartStream(): void {
    this.#restartDue = true;
    this.#openingDue = true;
  }

  /** XEP-0206 §2: TLS is the connection's, below HTTP. */
  startTls(): boolean {
    return false;
  }

  write(bytes: Buffer, start: number, end: number): void {
    const second = bytes[start + 1];
    // White space, the XML declaration and the closing tag have no place in a <body/>.
    if (bytes[start] !== 0x3c || second === 0x3f || second === 0x2f) return;
    if (this.#openingDue) return this.#opened(bytes, start, end);
    if (isStreamError(bytes, start)) this.#condition = conditionOf(bytes, start, end);
    if (this.#condition === null || this.#condition === "remote-stream-error") this.#out.add(bytes, start, end);
  }

  flush(): void {
    if (this.#pausing || this.#terminating) return;
    while (!this.#out.empty && this.#someoneWaits) this.#answerOldest();
  }

  /** Nothing but an answer could show a sign of life. */
  keepAlive(): void {
    if (this.#someoneWaits) this.#answerOldest();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // Not from inside the owner's call.
    if (this.#bodies.length > 0 || this.#requests.due !== null) process.nextTick(goOn, this);
  }

  fence(): void {
    this.owner = null;
  }

  end(): void {
    if (this.#endedAt > 0) return;
    this.#leave();
    this.#last = terminal(this.#condition, this.#out.take(Number.POSITIVE_INFINITY));
    this.#answerLast();
  }

  drop(): void {
    if (this.#endedAt === 0) this.#leave();
    this.#requests.drop();
    this.#forget();
  }

  sweep(now: number): void {
    const { wait, inactivity } = this.#terms;
    if (this.#endedAt > 0) {
      const patience = this.#last === null ? REMEMBER_MS : inactivity * 1000;
      if (now - this.#endedAt >= patience) this.#forget();
      return;
    }
    if (this.#someoneWaits) {
      if (now - this.#requests.held[0]!.arrivedAt >= wait * 1000) this.#answerOldest();
      return;
    }
    const until = this.#pausedUntil > 0 ? this.#pausedUntil : this.#idleSince + inactivity * 1000;
    if (now >= until) this.#lost();
  }

  // ---- from the port

  /** The request that asked for the session. */
  begin(first: Exchange): void {
    this.#requests.receive(first, this.#heardAt);
    this.#hold(first);
    this.#bodies.push({ ...first.body, restart: true });
    first.release();
    this.#goOn();
  }

  /** A further request of the session. */
  request(exchange: Exchange): void {
    const now = this.#host.clock.now();
    const place = this.#requests.receive(exchange, now);
    if (place === "repeated") {
      repeated.inc();
      this.#idleSince = this.#heardAt = now;
      return;
    }
    if (place !== "new") {
      const condition = place === "abuse" ? "policy-violation" : "item-not-found";
      exchange.answer(terminal(condition), this.#statusFor(condition));
      return this.#broken(condition);
    }
    if (this.#endedAt > 0) return this.#answerLast();
    this.#heardAt = now;
    this.#goOn();
  }

  /** Ends the session over a request that could not be read. */
  refuse(error: FramingError): void {
    this.owner?.linkRefused(this, error);
  }

  /** For `resume`. */
  goOn(): void {
    this.#goOn();
  }

  // Requests have their turn in order, what they bring is read, and then answered what must not wait.
  #goOn(): void {
    if (this.#pumping || this.#endedAt > 0) return;
    const waited = this.#out.bytes;
    for (;;) {
      this.#pump();
      const { due } = this.#requests;
      if (due === null || this.#endedAt > 0 || !this.#mayHaveTurn(due)) break;
      this.#turn(due);
    }
    this.owner?.linkChunkEnd(this);
    this.flush();
    this.#answerDue();
    if (waited > 0 && this.#out.empty) this.owner?.linkDrained(this);
  }

  // A core that does not keep up keeps the client from sending more. But what waits for the client goes with an answer only.
  #mayHaveTurn(due: Exchange): boolean {
    if (!due.matters && !due.terminates) return true;
    if (!this.#paused && this.#bodies.length === 0) return true;
    return !this.#out.empty && this.#bodies.reduce((sum, body) => sum + body.payload.length, 0) < ANSWER_BYTES;
  }

  #turn(due: Exchange): void {
    const { body } = due;
    const { clock, options } = this.#host;
    const { polling } = options();
    this.#hold(due);
    if (this.#keys?.follows(due.key, body.attributes.get("newkey")) === false) return this.#broken("item-not-found");
    const polls = this.#terms.hold === 0;
    const forNothing = polls ? this.#lastWasEmpty : this.#requests.held.length > 1;
    if (!this.#pace.holds(due, clock.now(), polling * 1000, polls, forNothing)) return this.#broken("policy-violation");
    if (this.#terms.acks) this.#acknowledged(body);
    this.#pausedUntil = 0;
    if (due.pauses) this.#pausing = true;
    if (due.matters || due.terminates) this.#bodies.push(body);
    due.release();
  }

  #hold(due: Exchange): void {
    this.#requests.hold();
    due.gzipFrom = this.#loggedIn ? this.#host.options().compress_from : 0;
    due.onGone = () => {
      if (!this.#someoneWaits) this.#idleSince = this.#host.clock.now();
    };
  }

  // No `ack` where one was promised: the client has all answers (XEP-0124 §9.2).
  #acknowledged(body: Body): void {
    const { attributes } = body;
    const ack = attributes.has("ack") ? (readNumber(attributes.get("ack")) ?? 0) : this.#requests.rid - 1;
    const missing = this.#requests.acknowledge(ack);
    const age = missing === null ? 0 : this.#host.clock.now() - missing.at;
    if (missing === null || age < REPORT_AFTER_MS) return;
    this.#tell += attributesText({ report: missing.rid, time: Math.round(age) });
    this.#reporting = true;
  }

  // ---- what requests bring

  #pump(): void {
    this.#pumping = true;
    try {
      while (this.#bodies.length > 0 && !this.#paused && this.owner !== null) this.#read(this.#bodies[0]!, this.owner);
    } catch (thrown) {
      this.#bodies = [];
      brokenBy(thrown, this, this.owner, this.#host.log);
    } finally {
      this.#pumping = false;
    }
  }

  #read(body: Body, owner: LinkOwner): void {
    if (!this.#reading) {
      this.#reading = true;
      if (body.restart) return owner.linkHeader(this, this.#reader.open(this.#openingTag(body)));
      if (this.#restartDue && body.payload.length > 0) {
        throw new FramingError("bad-format", "the stream begins anew after the login: xmpp:restart (XEP-0206 §5)");
      }
      this.#reader.begin(body);
    }
    const frame = this.#reader.next();
    if (frame !== null) return owner.linkFrame(this, frame);
    this.#reading = false;
    this.#bodies.shift();
    if (body.attributes.get("type") !== "terminate") return;
    this.#terminating = true;
    owner.linkStreamEnd(this);
  }

  // What the client does not say again holds from before. COMPAT: no xmpp:version is 1.0; BOSH knows no older XMPP.
  #openingTag(body: Body): Buffer {
    const { attributes, version } = body;
    this.#restartDue = false;
    for (const name of ["to", "from", "xml:lang"]) {
      const value = attributes.get(name);
      if (value !== undefined) this.#stream[name] = value;
    }
    this.#stream.version = version ?? this.#stream.version ?? "1.0";
    return Buffer.from(
      `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}'${attributesText(this.#stream)}>`,
    );
  }

  // ---- what goes to the client

  get #someoneWaits(): boolean {
    return this.#requests.held.some((exchange) => !exchange.closed);
  }

  // Once the core has named itself, the client learns of it with the next answer (XEP-0206 §3).
  #opened(bytes: Buffer, start: number, end: number): void {
    this.#openingDue = false;
    if (this.#loggedIn) return;
    const attributes = peek.attributes(frameOver(bytes, start, end, KIND.streamHeader));
    if (this.#tell === "") this.#tell = ` xmlns:xmpp='${NS.xbosh}'`;
    this.#tell += attributesText({
      from: attributes.get("from"),
      authid: attributes.get("id"),
      "xmpp:version": attributes.get("version"),
    });
  }

  #answerDue(): void {
    if (this.#terminating || this.#endedAt > 0) return;
    const { held } = this.#requests;
    if (this.#pausing) {
      while (held.length > 1) this.#answerOldest();
      // XEP-0124 §10: a pause is answered with nothing.
      this.#answer(answerBody(this.#attributes(), []));
      this.#pausing = false;
      return;
    }
    while (held.length > this.#terms.hold) this.#answerOldest();
    if (this.#reporting && held.length > 0) this.#answerOldest();
  }

  /** With what waits for the client, if anything. */
  #answerOldest(): void {
    const gone = this.#requests.held[0]!.closed;
    const payload = gone ? [] : this.#out.take(ANSWER_BYTES);
    this.#lastWasEmpty = payload.length === 0;
    this.#answer(answerBody(gone ? "" : this.#attributes(), payload));
  }

  #answer(bytes: Buffer, status = 200): void {
    const now = this.#host.clock.now();
    bytesToClient.value += this.#requests.answer(bytes, now, status);
    this.wroteAt = this.#idleSince = now;
  }

  /** What the next answer has to tell; told once. */
  #attributes(): string {
    const { held, rid } = this.#requests;
    const ack = this.#terms.acks && rid !== held[0]!.rid ? attributesText({ ack: rid }) : "";
    const told = this.#tell + ack;
    this.#tell = "";
    this.#reporting = false;
    return told;
  }

  // ---- ends

  // XEP-0124 §13: of all open requests the oldest hears of the end.
  #answerLast(): void {
    this.#requests.holdAll();
    const { held } = this.#requests;
    if (held.length === 0) return;
    const last = this.#last ?? terminal("item-not-found");
    const condition = this.#last === null ? "item-not-found" : this.#condition;
    this.#last = null;
    this.#endedAt = this.#host.clock.now();
    this.#answer(last, this.#statusFor(condition));
    while (held.length > 0) this.#answer(answerBody("", []));
  }

  /** The client broke the rules of BOSH. What it was, the stream's owner does not know: for it the link is lost. */
  #broken(condition: Condition): void {
    boshRefused.inc(condition);
    this.#host.log.info("BOSH session ended", { client: this.client.address, condition, rid: this.#requests.rid });
    const { owner } = this;
    this.#condition = condition;
    this.#out.clear();
    this.end();
    owner?.linkLost(this, "link-lost");
  }

  // XEP-0124 §10: nobody is told, and who asks later finds no session.
  #lost(): void {
    const { owner } = this;
    this.drop();
    owner?.linkLost(this, "link-silent");
  }

  #leave(): void {
    this.owner = null;
    this.#bodies = [];
    this.#endedAt = this.#host.clock.now();
    openBosh.value--;
    this.#host.left(this);
  }

  #forget(): void {
    this.#out.clear();
    this.#host.janitor.remove(this);
    this.#host.forgotten(this);
  }

  #statusFor(condition: Condition | null): number {
    return (this.#terms.version === null && condition !== null && LEGACY_STATUS[condition]) || 200;
  }
}

function isStreamError(bytes: Buffer, start: number): boolean {
  return bytes.toString("latin1", start, start + STREAM_ERROR.length) === STREAM_ERROR;
}

const STREAM_ERROR = "<stream:error";

function goOn(link: BoshLink): void {
  link.goOn();
}
