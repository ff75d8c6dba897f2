import { createHash } from "node:crypto";
import type { Clock } from "../../base/clock.ts";
import { meter } from "../../base/meter.ts";
import type { Session } from "../../session/session.ts";
import type { Claim, Fenced, Lost, Store, StoredName, Unavailable } from "../../session/stanza-store.ts";
import { isStanza } from "../../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../xmpp/framer.ts";
import { type Errand, Errands } from "./errands.ts";

const stored = meter.counter(
  "breakwater_sm_stored_stanzas_total",
  "Stanzas put into the store for clients that are away, and so acknowledged to their core",
);
const troubles = meter.counter(
  "breakwater_sm_store_troubles_total",
  "What kept stanzas from being stored or found: of a session or a client that returns",
  ["trouble"],
);

/** Stanzas of a session that the store has: the core's numbers `first` up to and without `next`. */
export interface Kept {
  /** What makes this process the session's owner in the store. */
  readonly epoch: number;
  readonly first: number;
  readonly next: number;
}

/** What the store had for a client that returns: `stanzas` are those that it has not handled, in order. */
export interface Found {
  readonly kept: Kept | null;
  readonly epoch: number;
  readonly stanzas: readonly StoredStanza[];
}

/** What one session has left. */
export interface Inherited {
  readonly name: StoredName;
  readonly epoch: number;
  /** The number of its last stanza. */
  readonly through: number;
  readonly stanzas: readonly StoredStanza[];
}

export interface StoredStanza {
  readonly bytes: Buffer;
  /** The second in which it was due. */
  readonly queuedAt: number;
}

const PAGE_BYTES = 512 * 1024;
const STAMP_BYTES = 4;
// The core's own limits held when it was stored.
const STORED_LIMITS: FramerLimits = { maxBytes: 0x7fff_ffff, maxDepth: 1000, maxElements: 1e6, maxAttributes: 1000 };
const STREAM = Buffer.from(
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
);

/**
 * Where stanzas are safe from the end of this process: what is in here need not be kept by the core any more. One per
 * process, over a store that several share. `owner`: this process, for whoever looks into the store.
 */
export class Safe {
  readonly store: Store;
  readonly clock: Clock;
  /** For how long something is kept without another word, in seconds, for a session with this hold time. */
  readonly seconds: (holdSeconds: number) => number;
  /** When to say that word, in ms from now. */
  readonly refreshDelay: () => number;
  /** What the store takes of one session. */
  readonly maxBytes: number;
  readonly #owner: string;
  readonly #errands: Errands;

  constructor(store: Store, { owner, clock, seconds, refreshDelay, maxBytes }: SafeInit) {
    this.store = store;
    this.clock = clock;
    this.seconds = seconds;
    this.refreshDelay = refreshDelay;
    this.maxBytes = maxBytes;
    this.#owner = owner;
    this.#errands = new Errands(store, clock, () => this.trouble("forgotten"));
  }

  claim(name: StoredName, holdSeconds: number): Promise<Claim | Unavailable> {
    return this.store.claim(name, this.#owner, this.seconds(holdSeconds));
  }

  /**
   * Makes this process the owner of a session that another had, so that nobody else stores anything for it, and finds
   * what the store has behind the client's `h`. "gap": what lies between is not there; "garbage": somebody else's bytes.
   */
  async takeOver(
    name: StoredName,
    h: number,
    holdSeconds: number,
  ): Promise<Found | "gap" | "garbage" | Fenced | Lost | Unavailable> {
    const claim = await this.claim(name, holdSeconds);
    if (claim === "unavailable") return this.trouble(claim);
    const { epoch, record } = claim;
    const range = record?.stanzas ?? null;
    if (range === null || range.next <= h + 1) return { epoch, kept: null, stanzas: [] };
    if (range.first > h + 1) return this.trouble("gap");
    const stanzas: StoredStanza[] = [];
    const due = range.next - h - 1;
    const { garbage, end } = await this.#load(name, epoch, h + 1, due, stanzas);
    if (end !== "whole") return this.trouble(end);
    if (garbage > 0) return this.trouble("garbage");
    if (stanzas.length !== due) return this.trouble("lost");
    return { epoch, kept: { epoch, first: range.first, next: range.next }, stanzas };
  }

  /**
   * Takes what sessions of the account have left that are over, for the login that is `session`; what is no stanza is left
   * out. `shown`: the resume id with which its client came.
   */
  async inherit({ bareJid, jid }: Session, shown: string | null): Promise<readonly Inherited[] | Unavailable> {
    const id = shown === null ? null : sessionOf(shown);
    const all = await this.store.inherit(bareJid, jid.resource, id, this.#owner);
    if (all === "unavailable") return this.trouble(all);
    const inherited: Inherited[] = [];
    for (const { name, epoch, first, next } of all) {
      const stanzas: StoredStanza[] = [];
      const { garbage, end } = await this.#load(name, epoch, first, next - first, stanzas);
      if (end === "unavailable") return this.trouble(end);
      if (end !== "whole") this.trouble(end);
      if (garbage > 0) this.trouble("garbage");
      // Another login has come since: it has them.
      if (end !== "fenced") inherited.push({ name, epoch, through: next - 1, stanzas });
    }
    return inherited.sort((a, b) => (a.stanzas[0]?.queuedAt ?? 0) - (b.stanzas[0]?.queuedAt ?? 0));
  }

  /** Whether something waits for a login of this session's client, beside what is this session's own. */
  hasLeft({ bareJid, jid }: Session, id: string | null): Promise<boolean | Unavailable> {
    return this.store.hasLeft(bareJid, jid.resource, id === null ? "" : sessionOf(id));
  }

  // Up to `count` stanzas into `stanzas`. Nobody stores more than `maxBytes` of one session: a store that goes on and on
  // shall not fill this process.
  async #load(name: StoredName, epoch: number, first: number, count: number, stanzas: StoredStanza[]) {
    let room = this.maxBytes;
    let garbage = 0;
    for (let from = first, more = true; more; ) {
      const page = await this.store.load(name, epoch, from, PAGE_BYTES);
      if (typeof page === "string") return { garbage, end: page };
      for (const bytes of page.stanzas) {
        room -= bytes.length;
        if (room < 0 || from - first >= count) return { garbage: garbage + 1, end: "whole" as const };
        from++;
        if (isSealed(bytes)) stanzas.push({ bytes: bytes.subarray(STAMP_BYTES), queuedAt: bytes.readUInt32BE(0) });
        else garbage++;
      }
      more = page.more && page.stanzas.length > 0;
    }
    return { garbage, end: "whole" as const };
  }

  /**
   * Does what must not be forgotten while the store is away: again and again, until it answers something else. Whatever
   * may be done late, and is refused when somebody else has the session by then.
   */
  surely(errand: Errand): void {
    this.#errands.run(errand);
  }

  /** An errand that waits need not be done any more. */
  cancel(errand: Errand): void {
    this.#errands.cancel(errand);
  }

  /** Counts what went wrong, and hands it back. */
  trouble<T extends string>(what: T): T {
    troubles.inc(what);
    return what;
  }

  /** Stanzas have been stored. */
  counted(stanzas: number): void {
    stored.cell().value += stanzas;
  }
}

export type SafeInit = Pick<Safe, "clock" | "seconds" | "refreshDelay" | "maxBytes"> & { readonly owner: string };

/** How a session is called in the store: nobody can resume with it. */
export function storedName(account: string, resource: string, resumeId: string): StoredName {
  return { account, resource, session: sessionOf(resumeId) };
}

function sessionOf(resumeId: string): string {
  return createHash("sha256").update(resumeId).digest("base64url").slice(0, 24);
}

/** A stanza as the store has it: the second in which it was due goes before it. */
export function sealed(bytes: Buffer, start: number, end: number, queuedAt: number): Buffer {
  const whole = Buffer.allocUnsafe(STAMP_BYTES + end - start);
  whole.writeUInt32BE(queuedAt >>> 0, 0);
  bytes.copy(whole, STAMP_BYTES, start, end);
  return whole;
}

// Whoever can write to the store must not be able to break a client's stream with it.
function isSealed(whole: Buffer): boolean {
  const framer = new StanzaFramer(STORED_LIMITS);
  framer.feed(STREAM, true);
  framer.next();
  framer.feed(whole.subarray(STAMP_BYTES), true);
  try {
    const frame = framer.next();
    return frame !== null && frame !== "end" && isStanza(frame) && framer.unread() === 0;
  } catch {
    return false;
  }
}
