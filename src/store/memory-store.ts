import type { Clock, Timer } from "../base/clock.ts";
import type { Fenced, Left, SessionRecord, Store, StoredName } from "../session/stanza-store.ts";
import { storeErrors, storeUp } from "./metrics.ts";
import type { StoreOptions } from "./options.ts";

const SWEEP_MS = 30_000;
/** What a session takes here without its stanzas. */
const SESSION_BYTES = 512;

interface Entry {
  readonly name: StoredName;
  epoch: number;
  owner: string;
  /** Null until the first append. */
  first: number | null;
  stanzas: Buffer[];
  bytes: number;
  /** Until then its owner may have it still; 0: it is over. */
  aliveUntil: number;
  expiresAt: number;
}

/** The store of a single process: the same promises as Redis, as long as the process lives. */
export class MemoryStore implements Store {
  readonly #options: StoreOptions;
  readonly #clock: Clock;
  readonly #sweeper: Timer;
  readonly #accounts = new Map<string, Map<string, Entry>>();
  #bytes = 0;
  #lastStamp = 0;

  constructor(options: StoreOptions, { clock }: { clock: Clock }) {
    this.#options = options;
    this.#clock = clock;
    this.#sweeper = clock.every(SWEEP_MS, () => this.#sweep());
    storeUp.set(1);
  }

  async claim(name: StoredName, owner: string, ttlSeconds: number) {
    const known = this.#find(name);
    if (known === undefined && !this.#hasRoom(SESSION_BYTES)) return this.#full("claim");
    const record = known === undefined ? null : recordOf(known);
    const epoch = Math.max(this.#stamp(), (known?.epoch ?? 0) + 1);
    const entry = known ?? this.#add(name, epoch);
    Object.assign(entry, { epoch, owner });
    this.#live(entry, ttlSeconds);
    return { epoch, record };
  }

  async release(name: StoredName, epoch: number) {
    const entry = this.#find(name);
    if (entry !== undefined && entry.epoch > epoch) return "fenced";
    this.#forget(name);
    return "released";
  }

  async append(name: StoredName, epoch: number, firstSequence: number, stanzas: readonly Buffer[], ttlSeconds: number) {
    const entry = this.#owned(name, epoch);
    if (typeof entry === "string") return entry;
    const next = (entry.first ?? firstSequence) + entry.stanzas.length;
    if (firstSequence > next) return "lost";
    const fresh = stanzas.slice(next - firstSequence);
    const bytes = sizeOf(fresh);
    const { max_session_stanzas, max_session_bytes } = this.#options;
    if (fresh.length > 0) {
      if (entry.stanzas.length + fresh.length > max_session_stanzas || entry.bytes + bytes > max_session_bytes)
        return "full";
      if (!this.#hasRoom(bytes)) return this.#full("append");
    }
    entry.first ??= firstSequence;
    // copies: what is handed over is the caller's again
    for (const stanza of fresh) entry.stanzas.push(Buffer.from(stanza));
    entry.bytes += bytes;
    this.#bytes += bytes;
    entry.epoch = epoch;
    this.#live(entry, ttlSeconds, entry.stanzas.length > 0 ? this.#options.leftover_time : 0);
    return "stored";
  }

  async load(name: StoredName, epoch: number, fromSequence: number, maxBytes: number) {
    const entry = this.#owned(name, epoch);
    if (typeof entry === "string") return entry;
    const first = Math.max(fromSequence, entry.first ?? fromSequence);
    const waiting = entry.stanzas.slice(first - (entry.first ?? first));
    let room = maxBytes;
    let count = 0;
    while (count < waiting.length) {
      room -= waiting[count]!.length;
      if (room < 0 && count > 0) break;
      count++;
    }
    return { first, stanzas: waiting.slice(0, count), more: count < waiting.length };
  }

  async trim(name: StoredName, epoch: number, throughSequence: number, over = false) {
    const entry = this.#owned(name, epoch);
    if (typeof entry === "string") return entry;
    if (entry.first === null) return "trimmed";
    const dropped = entry.stanzas.splice(0, Math.max(0, throughSequence + 1 - entry.first));
    const bytes = sizeOf(dropped);
    entry.first += dropped.length;
    entry.bytes -= bytes;
    this.#bytes -= bytes;
    if (over && entry.stanzas.length === 0) this.#forget(name);
    if (over) entry.aliveUntil = 0;
    return "trimmed";
  }

  async inherit(account: string, resource: string, shown: string | null, owner: string) {
    return this.#left(account, resource, shown).map((entry) => {
      entry.epoch = Math.max(this.#stamp(), entry.epoch + 1);
      Object.assign(entry, { owner, aliveUntil: 0 });
      return { name: entry.name, epoch: entry.epoch, first: entry.first!, next: entry.first! + entry.stanzas.length };
    }) satisfies Left[];
  }

  async hasLeft(account: string, resource: string, besides: string) {
    return this.#left(account, resource, null).some(({ name }) => name.session !== besides);
  }

  #left(account: string, resource: string, shown: string | null): Entry[] {
    const now = this.#clock.wall();
    return [...(this.#accounts.get(account)?.values() ?? [])].filter(({ name, stanzas, aliveUntil, expiresAt }) => {
      if (stanzas.length === 0 || expiresAt <= now) return false;
      return name.session === shown || name.resource === resource || aliveUntil <= now;
    });
  }

  readiness(): true {
    return true;
  }

  close(): void {
    this.#sweeper.cancel();
    this.#accounts.clear();
    this.#bytes = 0;
  }

  /** Later than every one before, like a clock in microseconds. */
  #stamp(): number {
    this.#lastStamp = Math.max(this.#lastStamp + 1, Math.round(this.#clock.wall() * 1000));
    return this.#lastStamp;
  }

  // Never shortens what was promised before.
  #live(entry: Entry, ttlSeconds: number, longerSeconds = 0): void {
    entry.aliveUntil = this.#clock.wall() + ttlSeconds * 1000;
    entry.expiresAt = Math.max(entry.expiresAt, Math.round(entry.aliveUntil + longerSeconds * 1000));
  }

  #find(name: StoredName): Entry | undefined {
    const entry = this.#accounts.get(name.account)?.get(name.session);
    if (entry === undefined || entry.expiresAt > this.#clock.wall()) return entry;
    this.#forget(name);
    return undefined;
  }

  #owned(name: StoredName, epoch: number): Entry | Fenced | "lost" {
    const entry = this.#find(name);
    if (entry === undefined) return "lost";
    return entry.epoch > epoch ? "fenced" : entry;
  }

  #add(name: StoredName, epoch: number): Entry {
    const blank = { owner: "", first: null, stanzas: [], bytes: 0, aliveUntil: 0, expiresAt: 0 };
    const entry: Entry = { name, epoch, ...blank };
    const sessions = this.#accounts.get(name.account);
    if (sessions === undefined) this.#accounts.set(name.account, new Map([[name.session, entry]]));
    else sessions.set(name.session, entry);
    this.#bytes += SESSION_BYTES;
    return entry;
  }

  #forget({ account, session }: StoredName): void {
    const sessions = this.#accounts.get(account);
    const entry = sessions?.get(session);
    if (sessions === undefined || entry === undefined) return;
    sessions.delete(session);
    if (sessions.size === 0) this.#accounts.delete(account);
    this.#bytes -= SESSION_BYTES + entry.bytes;
  }

  #hasRoom(bytes: number): boolean {
    if (this.#bytes + bytes > this.#options.memory.max_bytes) this.#sweep();
    return this.#bytes + bytes <= this.#options.memory.max_bytes;
  }

  #full(operation: string): "unavailable" {
    storeErrors.inc(operation, "full");
    return "unavailable";
  }

  #sweep(): void {
    const now = this.#clock.wall();
    for (const sessions of this.#accounts.values())
      for (const entry of sessions.values()) if (entry.expiresAt <= now) this.#forget(entry.name);
  }
}

function recordOf({ owner, first, stanzas }: Entry): SessionRecord {
  return { owner, stanzas: first === null ? null : { first, next: first + stanzas.length } };
}

function sizeOf(stanzas: readonly Buffer[]): number {
  return stanzas.reduce((sum, stanza) => sum + stanza.length, 0);
}
