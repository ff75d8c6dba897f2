import type { Clock } from "../../base/clock.ts";
import { type Janitor, SWEEP_MS, type Sweepable } from "../../base/janitor.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { Endpoint, Link, LinkOwner } from "../../session/ports.ts";
import { frameOver, KIND } from "../../xmpp/frame.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import type { FramingError } from "../../xmpp/framing-error.ts";
import { peek } from "../../xmpp/peek.ts";
import { standalone } from "../../xmpp/standalone.ts";
import { brokenBy, nextLinkId, openLinks } from "../links.ts";
import { type Condition, conditionOf, isStreamError, statusFor, terminal } from "./answers.ts";
import type { Body } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { Intake } from "./intake.ts";
import { KeySequence } from "./key-sequence.ts";
import type { BoshOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Responder } from "./responder.ts";
import type { BoshTerms } from "./terms.ts";

const openBosh = openLinks.cell("bosh");
const repeated = meter.counter("breakwater_bosh_repeated_total", "BOSH requests that came again for a lost answer");
export const boshRefused = meter.counter(
  "breakwater_bosh_refused_total",
  "BOSH requests refused, by the condition that the client was told",
  ["condition"],
);

/** Bodies that may wait for the owner while their requests fetch what waits for the client: more than that takes. */
const MAX_BODIES = 8;
/** How long a session that has ended still repeats its last answers. */
const REMEMBER_MS = 10_000;

/** What the links of a process share. */
export interface BoshLinkHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  options(): BoshOptions;
  /** Unguessable; tells which process has the session, where there are several. */
  newSid(): string;
  /** The session has ended; requests may still ask for its last answers. */
  left(link: BoshLink): void;
  /** Nothing is known of the session any more. */
  forgotten(link: BoshLink): void;
}

export interface BoshLinkInit {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly limits: FramerLimits;
  readonly terms: BoshTerms;
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
  readonly sid: string;
  readonly client: Endpoint;
  readonly server: Endpoint;
  owner: LinkOwner | null = null;
  readonly #terms: BoshTerms;
  readonly #host: BoshLinkHost;
  readonly #intake: Intake;
  readonly #answers: Responder;
  readonly #pace = new Pace();
  readonly #keys: KeySequence | null;
  #busy = false;
  #paused = false;
  // The opening tag of the core is still to come.
  #openingDue = true;
  #loggedIn = false;
  #terminating = false;
  #pausedUntil = 0;
  #heardAt: number;
  // When a request or an answer came last, or a request was still waiting.
  #awakeAt: number;
  #condition: Condition | null = null;
  #error: Buffer | null = null;
  #endedAt = 0;
  #takenAtEnd = 0;

  constructor(
    first: Exchange,
    { attributes }: Body,
    { client, server, limits, terms }: BoshLinkInit,
    host: BoshLinkHost,
  ) {
    this.sid = host.newSid();
    this.client = client;
    this.server = server;
    this.#terms = terms;
    this.#host = host;
    this.#intake = new Intake(limits);
    this.#answers = new Responder(first.rid, terms, host.clock);
    this.#heardAt = this.#awakeAt = host.clock.now();
    const newkey = attributes.get("newkey");
    this.#keys = newkey === undefined ? null : new KeySequence(newkey);
    const { polling, max_pause: maxpause } = host.options();
    const { wait, hold, requests, inactivity, version: ver } = terms;
    this.#answers.told.add({
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

  /** A client that has announced a pause is not missed before its end. */
  get heardAt(): number {
    return Math.max(this.#heardAt, this.#pausedUntil);
  }

  get wroteAt(): number {
    return this.#answers.wroteAt;
  }

  get pendingBytes(): number {
    return this.#answers.pendingBytes;
  }

  get writtenBytes(): number {
    return this.#answers.writtenBytes;
  }

  get takenBytes(): number {
    return this.#endedAt > 0 ? this.#takenAtEnd : this.#answers.takenBytes;
  }

  /** Of one stanza, as it stands now. */
  get maxBytes(): number {
    return this.#intake.limits.maxBytes;
  }

  get loggedIn(): boolean {
    return this.#loggedIn;
  }

  /** The client has named no version of BOSH. */
  get legacy(): boolean {
    return this.#terms.version === null;
  }

  /** For a client that has logged in. */
  setLimits(limits: FramerLimits): void {
    this.#intake.limits = limits;
    this.#loggedIn = true;
  }

  restartStream(): void {
    this.#intake.restart();
    this.#openingDue = true;
  }

  /** XEP-0206 §2: TLS is the connection's, below HTTP. */
  startTls(): "pipelined" {
    return "pipelined";
  }

  write(bytes: Buffer, start: number, end: number): void {
    const second = bytes[start + 1];
    // White space, the XML declaration and the closing tag have no place in a <body/>.
    if (this.#endedAt > 0 || bytes[start] !== 0x3c || second === 0x3f || second === 0x2f) return;
    if (this.#openingDue) return this.#opened(bytes, start, end);
    if (!isStreamError(bytes, start)) {
      // COMPAT: stanza fails on what stands in the last body; an acknowledgement there helps nobody.
      if (!this.#terminating || isStanzaName(second)) this.#answers.add(bytes, start, end);
      return;
    }
    this.#condition = conditionOf(bytes, start, end);
    if (this.#condition === "remote-stream-error") this.#error = Buffer.from(standalone(bytes, start, end));
  }

  flush(): void {
    if (!this.#terminating) this.#answers.flush();
  }

  /** Nothing but an answer could show a sign of life. */
  keepAlive(): void {
    if (this.#answers.someoneWaits) this.#answers.answerOldest();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // Not from inside the owner's call.
    if (this.#intake.length > 0 || this.#answers.requests.due !== null) process.nextTick(goOn, this);
  }

  fence(): void {
    this.owner = null;
  }

  end(): void {
    if (this.#endedAt > 0) return;
    this.#leave();
    this.#answers.end(this.#condition, this.#error, this.#terminating);
  }

  drop(): void {
    if (this.#endedAt === 0) this.#leave();
    this.#answers.requests.drop();
    this.#forget();
  }

  recall(): void {
    this.#answers.recall();
  }

  sweep(now: number): void {
    const { wait, inactivity } = this.#terms;
    const { requests, someoneWaits, owesLast } = this.#answers;
    if (this.#endedAt > 0) {
      if (now - this.#endedAt >= (owesLast ? inactivity * 1000 : REMEMBER_MS)) this.#forget();
      return;
    }
    if (someoneWaits) {
      this.#awakeAt = now;
      // Rather a second too early than too late: proxies on the way may count the same seconds.
      if (now - requests.held[0]!.arrivedAt >= wait * 1000 - SWEEP_MS) this.#answers.answerOldest();
      return;
    }
    // It is the core that keeps this request waiting.
    if (requests.due?.closed === false) this.#awakeAt = now;
    const awakeAt = Math.max(this.#awakeAt, this.wroteAt);
    if (now >= (this.#pausedUntil > 0 ? this.#pausedUntil : awakeAt + inactivity * 1000)) this.#lost();
  }

  // ---- from the port

  /** The request that asked for the session. */
  begin(first: Exchange): void {
    this.#answers.requests.receive(first, this.#heardAt);
    this.#hold(first);
    this.#intake.add({ ...first.takeBody(), restart: true });
    this.goOn();
  }

  /** A further request of the session. */
  request(exchange: Exchange): void {
    const now = this.#host.clock.now();
    const place = this.#answers.requests.receive(exchange, now);
    if (place === "outside" || place === "abuse") {
      const condition = place === "abuse" ? "policy-violation" : "item-not-found";
      exchange.answer(terminal(condition), statusFor(condition, this.legacy));
      return this.#broken(condition);
    }
    if (place === "repeated") repeated.inc();
    if (this.#endedAt === 0) {
      this.#heardAt = this.#awakeAt = now;
      this.goOn();
    } else if (place === "new") {
      // From here on the last answer may be asked for again.
      if (this.#answers.owesLast) this.#endedAt = now;
      this.#answers.answerLast();
    }
  }

  /** Ends the session over a request that could not be read. */
  refuse(error: FramingError): void {
    this.owner?.linkRefused(this, error);
  }

  /** Requests have their turn in order, what they bring is read, and then answered what must not wait. */
  goOn(): void {
    if (this.#busy || this.#endedAt > 0) return;
    this.#busy = true;
    try {
      const waited = this.pendingBytes > 0;
      this.#takeTurns();
      this.owner?.linkChunkEnd(this);
      this.flush();
      if (!this.#terminating && this.#endedAt === 0) this.#answers.answerDue();
      if (waited && this.pendingBytes === 0) this.owner?.linkDrained(this);
    } catch (thrown) {
      this.#intake.clear();
      brokenBy(thrown, this, this.owner, this.#host.log);
    } finally {
      this.#busy = false;
    }
  }

  #takeTurns(): void {
    for (;;) {
      while (this.#intake.length > 0 && !this.#paused && this.owner !== null) this.#read(this.owner);
      const { due } = this.#answers.requests;
      if (due === null || this.#endedAt > 0 || !this.#mayHaveTurn(due)) return;
      this.#turn(due);
    }
  }

  #read(owner: LinkOwner): void {
    if (this.#intake.read(this, owner) !== "terminate") return;
    this.#terminating = true;
    this.owner?.linkStreamEnd(this);
  }

  // A core that does not keep up keeps the client from sending more. But what waits for the client goes with an answer only.
  #mayHaveTurn(due: Exchange): boolean {
    if (!due.matters && !due.terminates) return true;
    if (!this.#paused && this.#intake.length === 0) return true;
    return this.pendingBytes > 0 && this.#intake.length < MAX_BODIES;
  }

  #turn(due: Exchange): void {
    const body = due.takeBody();
    const { clock, options } = this.#host;
    const { polling } = options();
    this.#hold(due);
    if (this.#keys?.follows(due.key, body.attributes.get("newkey")) === false) return this.#broken("item-not-found");
    const polls = this.#terms.hold === 0;
    const forNothing = polls ? this.#answers.lastWasEmpty : this.#answers.requests.held.length > 1;
    if (!this.#pace.holds(due, clock.now(), polling * 1000, polls, forNothing)) return this.#broken("policy-violation");
    this.#answers.acknowledged(due, body);
    if (due.matters || due.terminates) this.#intake.add(body);
    this.#pausedUntil = 0;
    if (due.pause !== null) this.#goAway(due.pause);
  }

  #hold(due: Exchange): void {
    this.#answers.requests.hold();
    due.gzipFrom = this.#loggedIn ? this.#host.options().compress_from : 0;
  }

  #goAway(seconds: number): void {
    this.#answers.answerPause();
    this.#pausedUntil = this.#host.clock.now() + Math.min(seconds, this.#host.options().max_pause) * 1000;
  }

  // Once the core has named itself, the client learns of it with the next answer (XEP-0206 §3).
  #opened(bytes: Buffer, start: number, end: number): void {
    this.#openingDue = false;
    if (this.#loggedIn) return;
    const attributes = peek.attributes(frameOver(bytes, start, end, KIND.streamHeader));
    this.#answers.told.add({
      from: attributes.get("from"),
      authid: attributes.get("id"),
      "xmpp:version": attributes.get("version"),
    });
  }

  // ---- ends

  /** The client broke the rules of BOSH. What it was, the stream's owner does not know: for it the link is lost. */
  #broken(condition: Condition): void {
    boshRefused.inc(condition);
    if (this.#endedAt > 0) return;
    this.#host.log.info("BOSH session ended", {
      client: this.client.address,
      condition,
      rid: this.#answers.requests.rid,
    });
    const { owner } = this;
    this.#condition = condition;
    this.#answers.clear();
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
    this.#intake.clear();
    this.#takenAtEnd = this.takenBytes;
    this.#endedAt = this.#host.clock.now();
    openBosh.value--;
    this.#host.left(this);
  }

  #forget(): void {
    this.#answers.clear();
    this.#host.janitor.remove(this);
    this.#host.forgotten(this);
  }
}

/** Of `message`, `presence` and `iq`, by the first letter; elements of streams begin with others. */
function isStanzaName(first: number | undefined): boolean {
  return first === 0x6d || first === 0x70 || first === 0x69;
}

function goOn(link: BoshLink): void {
  link.goOn();
}
