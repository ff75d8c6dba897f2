import type { Clock, Timer } from "../base/clock.ts";
import type { Fenced, Offsets, SessionRecord, SessionState, Store } from "../session/stanza-store.ts";
import { storeErrors, storeUp } from "./metrics.ts";
import type { StoreOptions } from "./options.ts";

const SWEEP_MS = 30_000;
/** What a session takes here without its stanzas. */
const SESSION_BYTES = 512;

interface Entry {
  epoch: number;
  owner: string;
  core: string | null;
  offsets: Offsets;
  /** Null until the first append. */
  first: number | null;
  stanzas: Buffer[];
  bytes: number;
  expiresAt: number;
}

/** The store of a single process: the same promises as Redis, as long as the process lives. */
export class MemoryStore implements Store {
  readonly #options: StoreOptions;
  readonly #clock: Clock;
  readonly #sweeper: Timer;
  readonly #sessions = new Map<string, Entry>();
  #bytes = 0;
  #lastStamp = 0;

  constructor(options: StoreOptions, { clock }: { clock: Clock }) {
    this.#options = options;
    this.#clock = clock;
    this.#sweeper = clock.every(SWEEP_MS, () => this.#sweep());
    storeUp.set(1);
  }

  async claim(id: string, owner: string, ttlSeconds: number) {
    const known = this.#find(id);
    if (known === undefined && !this.#hasRoom(SESSION_BYTES)) return this.#full("claim");
    const record = known === undefined ? null : recordOf(known);
    const epoch = Math.max(this.#stamp(), (known?.epoch ?? 0) + 1);
    const entry = known ?? this.#add(id, epoch);
    Object.assign(entry, { epoch, owner, expiresAt: this.#expiry(ttlSeconds) });
    return { epoch, record };
  }

  async save(id: string, epoch: number, { owner, core, offsets }: SessionState, ttlSeconds: number) {
    const known = this.#find(id);
    if (known !== undefined && known.epoch > epoch) return "fenced";
    if (known === undefined && !this.#hasRoom(SESSION_BYTES)) return this.#full("save");
    const entry = known ?? this.#add(id, epoch);
    const counts = { fromCore: offsets.fromCore >>> 0, toCore: offsets.toCore >>> 0 };
    Object.assign(entry, { epoch, owner, core, offsets: counts, expiresAt: this.#expiry(ttlSeconds) });
    return "saved";
  }

  async release(id: string, epoch: number) {
    const entry = this.#find(id);
    if (entry !== undefined && entry.epoch > epoch) return "fenced";
    this.#forget(id);
    return "released";
  }

  async read(id: string) {
    const entry = this.#find(id);
    return entry === undefined ? null : recordOf(entry);
  }

  async append(id: string, epoch: number, firstSequence: number, stanzas: readonly Buffer[], ttlSeconds: number) {
    const entry = this.#owned(id, epoch);
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
    Object.assign(entry, { epoch, expiresAt: this.#expiry(ttlSeconds) });
    return "stored";
  }

  async load(id: string, epoch: number, fromSequence: number, maxBytes: number) {
    const entry = this.#owned(id, epoch);
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

  async trim(id: string, epoch: number, throughSequence: number) {
    const entry = this.#owned(id, epoch);
    if (typeof entry === "string") return entry;
    if (entry.first === null) return "trimmed";
    const dropped = entry.stanzas.splice(0, Math.max(0, throughSequence + 1 - entry.first));
    const bytes = sizeOf(dropped);
    entry.first += dropped.length;
    entry.bytes -= bytes;
    this.#bytes -= bytes;
    return "trimmed";
  }

  readiness(): true {
    return true;
  }

  close(): void {
    this.#sweeper.cancel();
    this.#sessions.clear();
    this.#bytes = 0;
  }

  /** Later than every one before, like a clock in microseconds. */
  #stamp(): number {
    this.#lastStamp = Math.max(this.#lastStamp + 1, Math.round(this.#clock.wall() * 1000));
    return this.#lastStamp;
  }

  #expiry(ttlSeconds: number): number {
    return Math.round(this.#clock.wall() + ttlSeconds * 1000);
  }

  #find(id: string): Entry | undefined {
    const entry = this.#sessions.get(id);
    if (entry === undefined || entry.expiresAt > this.#clock.wall()) return entry;
    this.#forget(id);
    return undefined;
  }

  #owned(id: string, epoch: number): Entry | Fenced | "lost" {
    const entry = this.#find(id);
    if (entry === undefined) return "lost";
    return entry.epoch > epoch ? "fenced" : entry;
  }

  #add(id: string, epoch: number): Entry {
    const offsets = { fromCore: 0, toCore: 0 };
    const entry = { epoch, owner: "", core: null, offsets, first: null, stanzas: [], bytes: 0, expiresAt: 0 };
    this.#sessions.set(id, entry);
    this.#bytes += SESSION_BYTES;
    return entry;
  }

  #forget(id: string): void {
    const entry = this.#sessions.get(id);
    if (entry === undefined) return;
    this.#sessions.delete(id);
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
    for (const [id, entry] of this.#sessions) if (entry.expiresAt <= now) this.#forget(id);
  }
}

function recordOf({ epoch, owner, core, offsets, first, stanzas, expiresAt }: Entry): SessionRecord {
  const range = first === null ? null : { first, next: first + stanzas.length };
  return { epoch, owner, core, offsets, stanzas: range, expiresAt };
}

function sizeOf(stanzas: readonly Buffer[]): number {
  return stanzas.reduce((sum, stanza) => sum + stanza.length, 0);
}
