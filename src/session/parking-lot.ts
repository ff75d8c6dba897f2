import type { Clock, Timer } from "../base/clock.ts";
import { meter } from "../base/meter.ts";
import { JITTER } from "../base/pacer.ts";
import type { Cores } from "./ports.ts";
import type { Turns } from "./turns.ts";

const parked = meter.gauge(
  "breakwater_core_parked_sessions",
  "Sessions whose core's connection is gone and that wait to be attached again",
  ["core"],
);

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** A session that waits for a new stream to its core. */
export interface Parked {
  readonly coreName: string;
  /** Whether its client is connected and waits: it goes first. */
  readonly isAwaited: boolean;
  /** Its turn: begins one attempt, and says `done` or `failed` of it later, never before it returns. */
  attach(): void;
}

/** The sessions of one core. */
interface Lane {
  /** Those whose clients wait, and those behind them. */
  readonly awaited: Set<Parked>;
  readonly asleep: Set<Parked>;
  readonly trying: Set<Parked>;
  /** Attempts in a row for which the core was not there. */
  failures: number;
  /** Nobody tries before then. */
  notBefore: number;
  timer: Timer | null;
}

/**
 * Sessions whose core's connection is gone, and their turns: in pace with everybody else who comes back (`Turns`), never
 * more than `maxConcurrent` attempts at a time, and a single one, after a pause that doubles, while the core is not there.
 */
export class ParkingLot {
  readonly #clock: Clock;
  readonly #turns: Turns;
  readonly #cores: Cores;
  readonly #lanes = new Map<string, Lane>();

  constructor(clock: Clock, turns: Turns, cores: Cores) {
    this.#clock = clock;
    this.#turns = turns;
    this.#cores = cores;
    parked.collect = () => {
      for (const [core, { awaited, asleep, trying }] of this.#lanes)
        parked.set(awaited.size + asleep.size + trying.size, core);
    };
  }

  add(session: Parked): void {
    const lane = this.#laneOf(session);
    this.#line(lane, session);
    this.#schedule(lane);
  }

  #line({ awaited, asleep }: Lane, session: Parked): void {
    (session.isAwaited ? awaited : asleep).add(session);
  }

  /** It ends, or is attached. */
  remove(session: Parked): void {
    const lane = this.#laneOf(session);
    lane.awaited.delete(session);
    lane.asleep.delete(session);
    lane.trying.delete(session);
    this.#schedule(lane);
  }

  /** Its attempt came to an answer of the core, whatever that was: the core is there. */
  answered(session: Parked): void {
    this.#laneOf(session).failures = 0;
    this.remove(session);
  }

  /** The core, or what gives tokens for it, is not there: everybody waits a little longer, this one behind the others. */
  failed(session: Parked): void {
    const lane = this.#laneOf(session);
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** lane.failures, LONGEST_PAUSE_MS);
    const now = this.#clock.now();
    // Those who tried at the same time say nothing new.
    if (now >= lane.notBefore) {
      lane.failures = Math.min(lane.failures + 1, 16);
      lane.notBefore = now + pause * (1 + JITTER * Math.random());
    }
    lane.trying.delete(session);
    this.#line(lane, session);
    lane.timer?.cancel();
    lane.timer = null;
    this.#schedule(lane);
  }

  stop(): void {
    for (const lane of this.#lanes.values()) lane.timer?.cancel();
    this.#lanes.clear();
  }

  #laneOf({ coreName }: Parked): Lane {
    let lane = this.#lanes.get(coreName);
    if (lane === undefined) {
      lane = { awaited: new Set(), asleep: new Set(), trying: new Set(), failures: 0, notBefore: 0, timer: null };
      this.#lanes.set(coreName, lane);
    }
    return lane;
  }

  #schedule(lane: Lane): void {
    if (lane.timer !== null) return;
    const first = nextOf(lane);
    if (first === null) return;
    const most = lane.failures > 0 ? 1 : (this.#cores.reattachTerms(first.coreName)?.maxConcurrent ?? 1);
    if (lane.trying.size >= most) return; // whoever comes to an end schedules again
    const wait = Math.max(this.#turns.wait, lane.notBefore - this.#clock.now());
    // Never at once: whoever parks is in the middle of losing its core.
    lane.timer = this.#clock.after(Math.max(0, wait), () => this.#go(lane));
  }

  #go(lane: Lane): void {
    lane.timer = null;
    if (this.#turns.wait === 0 && this.#clock.now() >= lane.notBefore) {
      const next = nextOf(lane);
      if (next !== null) {
        lane.awaited.delete(next);
        lane.asleep.delete(next);
        lane.trying.add(next);
        this.#turns.take();
        next.attach();
      }
    }
    this.#schedule(lane);
  }
}

function nextOf({ awaited, asleep }: Lane): Parked | null {
  for (const session of awaited) return session;
  for (const session of asleep) return session;
  return null;
}
