import { hkdfSync, randomBytes } from "node:crypto";
import type { Clock, Timer } from "../base/clock.ts";

const KEY_BYTES = 48;

export interface TicketOptions {
  readonly clock: Clock;
  /** How long one key seals tickets, in seconds. */
  readonly rotateSeconds: number;
  /** Shared by the processes and edges that resume each other's sessions. Without it the keys are this process's own. */
  readonly secret?: string | undefined;
}

/**
 * The key that seals TLS session tickets (RFC 5077, RFC 8446 §4.6.1), replaced every `rotateSeconds`.
 * With a secret the key follows from it and from the time slot, so edges whose clocks agree have the same key without a
 * word between them; whoever learns the secret can open every ticket, past and future.
 *
 * There is one key at a time, because Node takes no more than one: at a rotation every ticket becomes worthless, and its
 * client makes a full handshake once (in TLS 1.3 no slower, and about 2 KB more). So a day is a better interval than an
 * hour. Contexts with the old key live as long as the connections that began with them.
 */
export class TicketKeys {
  readonly rotateSeconds: number;
  readonly #clock: Clock;
  readonly #secret: string | null;
  readonly #rotated = new Set<() => void>();
  #current: Buffer;
  #timer: Timer | null;

  constructor(options: TicketOptions) {
    this.rotateSeconds = options.rotateSeconds;
    this.#clock = options.clock;
    this.#secret = options.secret ?? null;
    this.#current = this.#derive();
    this.#timer = this.#arm();
  }

  /** 48 bytes: name, HMAC key and AES key. Never log them. */
  get current(): Buffer {
    return this.#current;
  }

  /** Calls `run` after each rotation, until what this returns is called. */
  onRotated(run: () => void): () => void {
    this.#rotated.add(run);
    return () => void this.#rotated.delete(run);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#rotated.clear();
  }

  #slot(): number {
    return Math.floor(this.#clock.wall() / (this.rotateSeconds * 1000));
  }

  #derive(): Buffer {
    // allocUnsafeSlow: the key outlives the request, and a slice of the shared pool would pin the whole pool.
    const key = Buffer.allocUnsafeSlow(KEY_BYTES);
    if (this.#secret === null) randomBytes(KEY_BYTES).copy(key);
    else {
      const info = `breakwater tls ticket ${this.rotateSeconds} ${this.#slot()}`;
      Buffer.from(hkdfSync("sha256", this.#secret, "", info, KEY_BYTES)).copy(key);
    }
    return key;
  }

  /** Slots begin at multiples of the interval since 1970, so that every edge changes keys at the same moment. */
  #arm(): Timer {
    const slotMs = this.rotateSeconds * 1000;
    const untilNext = (this.#slot() + 1) * slotMs - this.#clock.wall();
    return this.#clock.after(untilNext, () => {
      this.#current = this.#derive();
      this.#timer = this.#arm();
      for (const run of this.#rotated) run();
    });
  }
}
