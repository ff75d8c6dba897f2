import type { Clock } from "../../base/clock.ts";
import { meter } from "../../base/meter.ts";
import type { Claim, Fenced, Lost, Store, Unavailable } from "../../session/stanza-store.ts";
import { isStanza } from "../../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../xmpp/framer.ts";

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

  constructor(store: Store, { owner, clock, seconds, refreshDelay, maxBytes }: SafeInit) {
    this.store = store;
    this.clock = clock;
    this.seconds = seconds;
    this.refreshDelay = refreshDelay;
    this.maxBytes = maxBytes;
    this.#owner = owner;
  }

  claim(id: string, holdSeconds: number): Promise<Claim | Unavailable> {
    return this.store.claim(id, this.#owner, this.seconds(holdSeconds));
  }

  /**
   * Makes this process the owner of a session that another had, so that nobody else stores anything for it, and finds
   * what the store has behind the client's `h`. "gap": what lies between is not there; "garbage": somebody else's bytes.
   */
  async takeOver(
    id: string,
    h: number,
    holdSeconds: number,
  ): Promise<Found | "gap" | "garbage" | Fenced | Lost | Unavailable> {
    const claim = await this.claim(id, holdSeconds);
    if (claim === "unavailable") return this.trouble(claim);
    const { epoch, record } = claim;
    const range = record?.stanzas ?? null;
    if (range === null || range.next <= h + 1) return { epoch, kept: null, stanzas: [] };
    if (range.first > h + 1) return this.trouble("gap");
    const stanzas: StoredStanza[] = [];
    let room = this.maxBytes;
    for (let more = true; more; ) {
      const page = await this.store.load(id, epoch, h + 1 + stanzas.length, PAGE_BYTES);
      if (typeof page === "string") return this.trouble(page);
      for (const bytes of page.stanzas) {
        room -= bytes.length;
        // Nobody stored more than that: a store that goes on and on shall not fill this process.
        if (room < 0 || stanzas.length >= range.next - h - 1 || !isSealed(bytes)) return this.trouble("garbage");
        stanzas.push({ bytes: bytes.subarray(STAMP_BYTES), queuedAt: bytes.readUInt32BE(0) });
      }
      more = page.more && page.stanzas.length > 0;
    }
    if (stanzas.length !== range.next - h - 1) return this.trouble("lost");
    return { epoch, kept: { epoch, first: range.first, next: range.next }, stanzas };
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
