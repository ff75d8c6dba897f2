import type { Jid } from "../xmpp/jid.ts";

/** What is remembered of a session that has ended: for a client that comes back too late (XEP-0198 §5). */
export interface Tombstone {
  readonly jid: Jid;
  /** Stanzas of the client that were handled. */
  readonly h: number;
  readonly expiresAt: number;
}

/** Which session of this process belongs to which resume id (as `R`, which can resume it), and what became of the others. */
export class Registry<R> {
  readonly #sessions = new Map<string, R>();
  // In the order of burial, which is also the order of expiry.
  readonly #tombstones = new Map<string, Tombstone>();

  add(id: string, session: R): void {
    this.#sessions.set(id, session);
  }

  find(id: string): R | null {
    return this.#sessions.get(id) ?? null;
  }

  /** The session goes on in another process. */
  forget(id: string): void {
    this.#sessions.delete(id);
  }

  /** The session ends; at most `max` tombstones are kept, the oldest go first. */
  bury(id: string, tombstone: Tombstone, max: number): void {
    this.#sessions.delete(id);
    if (max === 0) return;
    this.#tombstones.set(id, tombstone);
    for (const old of this.#tombstones.keys()) {
      if (this.#tombstones.size <= max) break;
      this.#tombstones.delete(old);
    }
  }

  /** What is known of an ended session, null when it is unknown or forgotten. */
  tombstone(id: string, now: number): Tombstone | null {
    const found = this.#tombstones.get(id);
    return found !== undefined && found.expiresAt > now ? found : null;
  }

  /** Those that expire later than this, oldest first. */
  *tombstonesAfter(expiresAt: number): Iterable<[id: string, tombstone: Tombstone]> {
    for (const entry of this.#tombstones) if (entry[1].expiresAt > expiresAt) yield entry;
  }

  forgetExpired(now: number): void {
    for (const [id, tombstone] of this.#tombstones) {
      if (tombstone.expiresAt > now) return;
      this.#tombstones.delete(id);
    }
  }

  get size(): number {
    return this.#sessions.size;
  }
}
