import type { Clock, Timer } from "../base/clock.ts";
import { meter } from "../base/meter.ts";
import { CATCH_UP_MS } from "../base/pacer.ts";

const waiting = meter.gauge("breakwater_logins_waiting", "Clients that wait for their turn to log in, by core", [
  "core",
]);

/** Who would wait longer is sent away, and comes again: no client is patient for long. */
const LONGEST_WAIT_MS = 10_000;

/** Of those who may wait, when as many do nobody need be let in to the edge who only comes to wait here. */
const CROWDED = 0.5;

/** A client at the door of its core. */
export interface AtTheGate {
  /** Its turn. */
  letIn(): void;
}

interface Lane {
  readonly queue: Set<AtTheGate>;
  /** When the next one may go in. */
  dueAt: number;
  timer: Timer | null;
}

/**
 * Lets clients in to a core no faster than the core stands (`cores[].login_rate`), in the order in which they came: after a
 * crash or a restart all of them are back at once, each by its own clock. One for the process.
 */
export class Gate {
  readonly #clock: Clock;
  readonly #rate: (core: string) => number;
  readonly #lanes = new Map<string, Lane>();

  /** `rate`: logins a second of a core; Infinity: it has no bound. */
  constructor(clock: Clock, rate: (core: string) => number) {
    this.#clock = clock;
    this.#rate = rate;
    waiting.collect = () => {
      for (const [core, { queue }] of this.#lanes) waiting.set(queue.size, core);
    };
  }

  /** `wait`: `letIn` is called later, unless the client leaves. `full`: it would take too long. */
  enter(core: string, client: AtTheGate): "now" | "wait" | "full" {
    const rate = this.#rate(core);
    if (rate === Number.POSITIVE_INFINITY) return "now";
    let lane = this.#lanes.get(core);
    if (lane === undefined) {
      lane = { queue: new Set(), dueAt: 0, timer: null };
      this.#lanes.set(core, lane);
    }
    if (lane.queue.size === 0 && this.#takeTurn(lane, rate)) return "now";
    if (lane.queue.size >= mostWaiting(rate)) return "full";
    lane.queue.add(client);
    this.#schedule(core, lane);
    return "wait";
  }

  /** Whether whoever comes to log in there now would only wait, or be sent away. */
  isCrowded(core: string): boolean {
    const lane = this.#lanes.get(core);
    return lane !== undefined && lane.queue.size > 0 && lane.queue.size >= CROWDED * mostWaiting(this.#rate(core));
  }

  leave(client: AtTheGate): void {
    for (const { queue } of this.#lanes.values()) queue.delete(client);
  }

  stop(): void {
    for (const { timer } of this.#lanes.values()) timer?.cancel();
    this.#lanes.clear();
  }

  #takeTurn(lane: Lane, rate: number): boolean {
    const now = this.#clock.now();
    lane.dueAt = Math.max(lane.dueAt, now - CATCH_UP_MS);
    if (lane.dueAt > now) return false;
    lane.dueAt += 1000 / rate;
    return true;
  }

  #schedule(core: string, lane: Lane): void {
    if (lane.timer !== null || lane.queue.size === 0) return;
    lane.timer = this.#clock.after(Math.max(0, lane.dueAt - this.#clock.now()), () => {
      lane.timer = null;
      for (const client of lane.queue) {
        if (!this.#takeTurn(lane, this.#rate(core))) break;
        lane.queue.delete(client);
        client.letIn();
      }
      this.#schedule(core, lane);
    });
  }
}

function mostWaiting(rate: number): number {
  return (rate * LONGEST_WAIT_MS) / 1000;
}
