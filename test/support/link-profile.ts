import type { Random } from "./random.ts";

/** One direction of a link. */
export interface LaneProfile {
  /** One way. */
  readonly delayMs: number;
  /** Added to the delay, uniformly from 0 to this. Order is kept. */
  readonly jitterMs: number;
  /** Null: no limit. */
  readonly bitsPerSecond: number | null;
  /** Chance that a segment is lost, and that the next one is lost too after a loss. */
  readonly loss: number;
  readonly lossBurst: number;
  /** What the first loss of a segment costs; doubles with each further one. TCP hides the loss, not the wait. */
  readonly retransmitMs: number;
  /** Bytes that wait inside the network. When it is full the sender is not read any more. */
  readonly queueBytes: number;
}

export interface LinkProfile {
  readonly up: LaneProfile;
  readonly down: LaneProfile;
  /** A radio that slept longer than `tailMs` takes `wakeMs` until the first byte moves. */
  readonly wakeMs: number;
  readonly tailMs: number;
}

const PERFECT_LANE: LaneProfile = {
  delayMs: 0,
  jitterMs: 0,
  bitsPerSecond: null,
  loss: 0,
  lossBurst: 0,
  retransmitMs: 0,
  queueBytes: 256 * 1024,
};

/** A profile from what differs from a perfect link; what stands in both directions may be said once. */
export function linkProfile(
  both: Partial<LaneProfile>,
  more: { up?: Partial<LaneProfile>; down?: Partial<LaneProfile>; wakeMs?: number; tailMs?: number } = {},
): LinkProfile {
  return {
    up: { ...PERFECT_LANE, ...both, ...more.up },
    down: { ...PERFECT_LANE, ...both, ...more.down },
    wakeMs: more.wakeMs ?? 0,
    tailMs: more.tailMs ?? 0,
  };
}

const KBIT = 1000;
const KIB = 1024;

// Rates and delays follow Facebook's Augmented Traffic Control ("2G-DevelopingRural", "Edge-Lossy", "3G-Average") and
// WebPageTest's connectivity profiles; radio wake and tail times follow XEP-0286. lossy-wifi and subway are our own.
export const PROFILES = {
  perfect: linkProfile({}),
  gprs: linkProfile(
    { delayMs: 650, jitterMs: 100, loss: 0.02, lossBurst: 0.3, retransmitMs: 3000, queueBytes: 16 * KIB },
    { up: { bitsPerSecond: 18 * KBIT }, down: { bitsPerSecond: 20 * KBIT }, wakeMs: 700, tailMs: 5000 },
  ),
  edge: linkProfile(
    { jitterMs: 60, loss: 0.01, lossBurst: 0.3, retransmitMs: 1800, queueBytes: 32 * KIB },
    {
      up: { delayMs: 440, bitsPerSecond: 200 * KBIT },
      down: { delayMs: 400, bitsPerSecond: 240 * KBIT },
      wakeMs: 500,
      tailMs: 5000,
    },
  ),
  "3g": linkProfile(
    { delayMs: 100, jitterMs: 30, loss: 0.005, lossBurst: 0.25, retransmitMs: 800, queueBytes: 64 * KIB },
    { up: { bitsPerSecond: 330 * KBIT }, down: { bitsPerSecond: 780 * KBIT }, wakeMs: 2000, tailMs: 8000 },
  ),
  lte: linkProfile(
    { delayMs: 35, bitsPerSecond: 12_000 * KBIT, retransmitMs: 250, queueBytes: 256 * KIB },
    { wakeMs: 260, tailMs: 11_000 },
  ),
  "lossy-wifi": linkProfile(
    { delayMs: 15, jitterMs: 20, loss: 0.05, lossBurst: 0.5, retransmitMs: 300, queueBytes: 64 * KIB },
    { up: { bitsPerSecond: 2000 * KBIT }, down: { bitsPerSecond: 5000 * KBIT } },
  ),
  subway: linkProfile(
    { delayMs: 60, jitterMs: 30, loss: 0.01, lossBurst: 0.3, retransmitMs: 500, queueBytes: 64 * KIB },
    { up: { bitsPerSecond: 1000 * KBIT }, down: { bitsPerSecond: 3000 * KBIT }, wakeMs: 260, tailMs: 11_000 },
  ),
} as const satisfies Record<string, LinkProfile>;

export type ProfileName = keyof typeof PROFILES;

/** Payload of a segment on mobile networks, and what IP and TCP add to it. */
export const SEGMENT_BYTES = 1388;
const SEGMENT_OVERHEAD = 40;
const MAX_RETRANSMITS = 6;

/** When each segment of one direction arrives. Knows no sockets and no clock: the caller says what time it is. */
export class Lane {
  profile: LaneProfile;
  /** Segments that were lost and had to come again. */
  losses = 0;
  #random: Random;
  #busyUntil = 0;
  #lastArrival = 0;
  #losing = false;

  constructor(profile: LaneProfile, random: Random) {
    this.profile = profile;
    this.#random = random;
  }

  /** True when bytes need not wait at all. */
  get isInstant(): boolean {
    const { delayMs, jitterMs, bitsPerSecond, loss } = this.profile;
    return delayMs === 0 && jitterMs === 0 && bitsPerSecond === null && loss === 0;
  }

  /** Nothing is sent before `time`. */
  holdUntil(time: number): void {
    this.#busyUntil = Math.max(this.#busyUntil, time);
  }

  /** When `bytes` handed over at `now` reach the other end. */
  arrival(now: number, bytes: number): number {
    const { delayMs, jitterMs, bitsPerSecond, retransmitMs } = this.profile;
    const sendingMs = bitsPerSecond === null ? 0 : ((bytes + SEGMENT_OVERHEAD) * 8000) / bitsPerSecond;
    this.#busyUntil = Math.max(this.#busyUntil, now) + sendingMs;
    let arrival = this.#busyUntil + delayMs + this.#random.next() * jitterMs;
    for (let tries = 0; tries < MAX_RETRANSMITS && this.#isLost(); tries++) {
      this.losses++;
      arrival += retransmitMs * 2 ** tries;
    }
    // TCP delivers in order: what comes behind a lost segment waits for it.
    this.#lastArrival = Math.max(this.#lastArrival, arrival);
    return this.#lastArrival;
  }

  // Gilbert's model: losses come in bursts.
  #isLost(): boolean {
    const { loss, lossBurst } = this.profile;
    this.#losing = loss > 0 && this.#random.chance(this.#losing ? lossBurst : loss);
    return this.#losing;
  }
}
