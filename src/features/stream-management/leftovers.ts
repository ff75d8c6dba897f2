import { shortId } from "../../base/ids.ts";
import { meter } from "../../base/meter.ts";
import { PHASES } from "../../session/phases.ts";
import type { Session } from "../../session/session.ts";
import { escapeText } from "../../xmpp/element.ts";
import { type Frame, frameOver, KIND, retain } from "../../xmpp/frame.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import { bounce } from "./bounce.ts";
import type { Errand } from "./errands.ts";
import { writeDelayed } from "./replay.ts";
import type { Inherited, Safe } from "./safe.ts";

const delivered = meter.counter(
  "breakwater_sm_leftover_messages_total",
  "Stored messages of sessions that were over, delivered after a new login",
);

// What a server keeps for nobody who is offline (RFC 6121 §8.5.2): a room's chatter, news of the moment, answers.
const MOMENTARY = ["groupchat", "headline", "error"];

/** The session's own side of XEP-0198. */
export interface LeftoversOwner {
  /** Whether its client counts stanzas, or is about to. */
  readonly counts: boolean;
  readonly resumeId: string | null;
  /** A stanza that was kept goes to the client now; so many are behind it. */
  deliverHeld(stanza: Buffer, behind: number): void;
  /** Nothing is left to do. */
  leftoversDone(): void;
}

/**
 * Messages of sessions that are over, and that their core believes to be handled because they were in the store: for one
 * login of their account. The store is asked once, at the bind. The client gets them before anything of its own session is
 * counted, and the store keeps them until it has shown that they have arrived: by its first acknowledgement, which follows
 * them, or, without XEP-0198, by the answer to a ping. Until then the next login gets them again.
 */
export class Leftovers {
  readonly #safe: Safe;
  readonly #session: Session;
  readonly #owner: LeftoversOwner;
  readonly #shown: string | null;
  // Null: the store has not answered yet.
  #found: readonly Inherited[] | null = null;
  #isDelivered = false;
  #isDone = false;
  #waiting: (() => void) | null = null;
  // What the core sent until then; it is paused.
  readonly #held: Buffer[] = [];
  // The id of the ping behind them.
  #ping: string | null = null;

  // What is asked when the store is back.
  #late: Errand | null = null;

  /** `shown`: the resume id with which the client came. */
  constructor(safe: Safe, session: Session, shown: string | null, owner: LeftoversOwner) {
    this.#safe = safe;
    this.#session = session;
    this.#shown = shown;
    this.#owner = owner;
    void this.#ask();
  }

  /** Whether the store has answered. */
  get isKnown(): boolean {
    return this.#found !== null;
  }

  /** Runs `then` once the store has answered, unless the session has ended. */
  whenKnown(then: () => void): void {
    this.#waiting = then;
  }

  /** A client that does not count stanzas: it gets them when it says that it is there. True: the frame was for us. */
  fromUncounted(frame: Frame): boolean {
    if (frame.kind === KIND.iq && this.#ping !== null && peek.attrEquals(frame, "id", this.#ping)) {
      this.arrived();
      return true;
    }
    const isInitial =
      frame.kind === KIND.presence && peek.attr(frame, "type") === null && peek.attr(frame, "to") === null;
    if (!isInitial || this.#ping !== null) return false;
    this.#ping = `edge-${shortId()}`;
    if (this.isKnown) this.#deliverAndPing();
    else this.whenKnown(() => this.#deliverAndPing());
    return false;
  }

  /** A stanza from the core: a message is younger. True: it is kept until the store has answered, with all behind it. */
  precede(stanza: Frame): boolean {
    const isMessage = stanza.kind === KIND.message;
    if (this.isKnown) {
      if (isMessage) this.deliver();
      return false;
    }
    if (!isMessage && this.#held.length === 0) return false;
    this.#held.push(retain(stanza));
    this.#session.core.pause(); // a link that has drained lets it go on
    return true;
  }

  /** What a server would have kept for an account that is offline: no presence, no IQ. Nothing the second time. */
  deliver(): void {
    const { link, jid, log, id } = this.#session;
    if (link === null || this.#isDelivered || this.#found!.length === 0) return;
    this.#isDelivered = true;
    let messages = 0;
    for (const { stanzas } of this.#found!) {
      for (const { bytes, queuedAt } of stanzas) {
        if (!isKeptFor(frameOver(bytes, 0, bytes.length))) continue;
        writeDelayed(link, bytes, 0, bytes.length, queuedAt, jid.domain);
        messages++;
      }
    }
    delivered.cell().value += messages;
    log.info("stored messages delivered after a new login", { session: id, messages });
    if (messages === 0) this.arrived();
  }

  /** The client has shown that it has what was delivered. */
  arrived(): void {
    if (!this.#isDelivered || this.#isDone) return;
    this.#isDone = true;
    const { store } = this.#safe;
    for (const { name, epoch, through } of this.#found!)
      this.#safe.surely(() => store.trim(name, epoch, through, true));
    this.#owner.leftoversDone();
  }

  /** The session ends: nobody else has what is still kept, except for the newest `counted`, which the core gets back. */
  end(counted: number): void {
    const held = this.#held.splice(0);
    for (const stanza of held.slice(0, held.length - counted)) bounce(stanza, 0, stanza.length, this.#session);
  }

  close(): void {
    if (this.#late !== null) this.#safe.cancel(this.#late);
  }

  async #ask(): Promise<void> {
    const { core } = this.#session;
    core.pause(); // what it sends is younger
    const found = await this.#safe.inherit(this.#session, this.#shown);
    core.resume();
    if (this.#isOver) return;
    this.#found = found === "unavailable" ? [] : found;
    if (found === "unavailable") {
      this.#late = () => this.#askLate();
      this.#safe.surely(this.#late);
    } else if (found.length === 0) this.#owner.leftoversDone();
    if (this.#shown !== null || this.#held.length > 0) this.deliver();
    let behind = this.#held.length;
    for (const stanza of this.#held.splice(0)) this.#owner.deliverHeld(stanza, --behind);
    this.#session.flushLink();
    this.#waiting?.();
  }

  // The store was away at the login. Where the client counts by now, nothing can come to it beside what its core sends.
  async #askLate(): Promise<string> {
    if (this.#isOver) return "over";
    if (this.#owner.counts) {
      const has = await this.#safe.hasLeft(this.#session, this.#owner.resumeId);
      if (has === true && !this.#isOver) this.#endSession();
      if (has !== "unavailable") this.#owner.leftoversDone();
      return `${has}`;
    }
    const found = await this.#safe.inherit(this.#session, this.#shown);
    if (found === "unavailable") return found;
    if (this.#isOver) return "over";
    this.#found = found;
    if (found.length === 0) this.#owner.leftoversDone();
    else if (this.#owner.counts) this.#endSession();
    else if (this.#ping !== null) this.#deliverAndPing();
    return "asked";
  }

  #endSession(): void {
    const { log, id, link } = this.#session;
    log.info("stored stanzas that could not be looked for at the login: the session ends, and the next one gets them", {
      session: id,
    });
    if (link === null) this.#session.on("ending", "leftovers-found");
    else this.#session.refuse(link, "leftovers-found", "There are messages for a new login; please come again");
  }

  get #isOver(): boolean {
    return PHASES[this.#session.phase].on.ending === undefined;
  }

  #deliverAndPing(): void {
    if (this.#found!.length === 0) return;
    this.deliver();
    if (this.#isDone) return;
    const { link, jid, bareJid } = this.#session;
    if (link === null || this.#ping === null) return;
    const to = escapeText(`${bareJid}/${jid.resource}`);
    const ping = Buffer.from(
      `<iq type='get' id='${this.#ping}' from='${jid.domain}' to='${to}'><ping xmlns='${NS.ping}'/></iq>`,
    );
    link.write(ping, 0, ping.length);
    this.#session.flushLink();
  }
}

function isKeptFor(frame: Frame): boolean {
  return peek.name(frame) === "message" && !MOMENTARY.includes(peek.attr(frame, "type") ?? "normal");
}
