import type { Clock, Timer } from "../base/clock.ts";
import type { Janitor, Sweepable } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";

const waiting = meter.gauge(
  "breakwater_handshakes_waiting",
  "Connections that wait for their turn to shake hands (TLS): ready, or silent so far",
  ["state"],
);
const turns = meter.counter(
  "breakwater_handshake_turns_total",
  "Connections that were to shake hands (TLS), by what became of them: at_once, waited, left, turned_away, silent",
  ["result"],
);

/** A turn of the event loop that took no more CPU than this, ms, had nothing more urgent to do than a handshake. */
const CALM_MS = 1;
/** But whatever else there is to do: after so much CPU, ms, somebody has a turn. About one ms of it is the handshake's. */
const LONGEST_MS = 20;
/** Once somebody has waited for so long, ms, those who came last go first. */
const IN_ORDER_MS = 2000;
/** How soon those who are held back are thought of again, ms. */
const HELD_MS = 50;

/** Who wants to shake hands and has to wait. */
export interface AtTheTurnstile {
  /** It will log in, so it is of no use to let it in before its core can take it. */
  readonly logsIn: boolean;
  /** Its turn. */
  goIn(): void;
  /** It has waited for too long. */
  turnAway(): void;
}

/** The event loop, as the turnstile sees it. */
export interface Loop {
  /** CPU time of this thread, ms. */
  cpu(): number;
  /** Runs when this turn's events have been dealt with. */
  endOfTurn(run: () => void): void;
  /** Runs when what runs now is done, with all that follows from it without an event. */
  afterThis(run: () => void): void;
}

export const eventLoop: Loop = {
  cpu: () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  },
  endOfTurn: (run) => void setImmediate(run),
  afterThis: (run) => process.nextTick(run),
};

export interface TurnstileInit {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  /** How long anybody may wait, ms. */
  longestWaitMs(): number;
  /** Whether no core takes more logins for now. */
  crowded(): boolean;
  readonly loop: Loop;
}

/** A place in a line. */
interface Place {
  readonly who: AtTheTurnstile;
  line: Line;
  since: number;
  before: Place | null;
  after: Place | null;
}

export type { Place };

/**
 * Who may shake hands now: a handshake is the dearest thing that a stranger can ask for, and a client that is half in has
 * cost most of it. So handshakes begin only when the loop has nothing else to do, one per turn of it, or at a slow pace
 * where it always has. After a crash all clients are back at once: without this each gets a little of the CPU, all of
 * them lose patience before they are in, and come again.
 *
 * Those who wait go in the order in which they came, as long as nobody waits for long. After that the last goes first: who
 * has been waiting is about to give up, and would leave in the middle. One for the process.
 */
export class Turnstile implements Sweepable {
  readonly #init: TurnstileInit;
  readonly #loop: Loop;
  readonly #silent = new Line();
  readonly #lines = [new Line(), new Line()] as const;
  #lastLine = 0;
  // Whether the turns of the loop are being looked at: since somebody went in, until a calm one.
  #watches = false;
  // Somebody was accepted in this turn; the kernel gives one at a time, and may have more.
  #arrivals = false;
  #lookedAt = 0;
  #turnAt = 0;
  #held: Timer | null = null;
  #stopped = false;

  constructor(init: TurnstileInit) {
    this.#init = init;
    this.#loop = init.loop;
    waiting.collect = () => {
      waiting.set(this.#ready, "ready");
      waiting.set(this.#silent.size, "silent");
    };
    init.janitor.add(this);
  }

  get #ready(): number {
    return this.#lines[0].size + this.#lines[1].size;
  }

  /** A connection was accepted. Before anything is done for it, others are to be: how many there are is not known yet. */
  arrived(): void {
    this.#arrivals = true;
  }

  /** True: go right in. False: `wait`. */
  passes(logsIn: boolean): boolean {
    if (this.#watches || this.#held !== null || (logsIn && this.#init.crowded())) return false;
    turns.inc("at_once");
    this.#turnAt = this.#lookedAt = this.#loop.cpu();
    this.#watch();
    return true;
  }

  /** `silent`: it has a turn only when it has said something (`ready`). The caller leaves, when it has not been let in. */
  wait(who: AtTheTurnstile, silent: boolean): Place {
    const place: Place = { who, line: this.#silent, since: this.#init.clock.now(), before: null, after: null };
    place.line.add(place);
    if (!silent) this.ready(place);
    return place;
  }

  ready(place: Place): void {
    place.line.remove(place);
    place.line = this.#lines[place.who.logsIn ? 0 : 1];
    place.since = this.#init.clock.now();
    place.line.add(place);
    this.#watch();
  }

  /** It has gone by itself. Not after `goIn` or `turnAway`. */
  leave(place: Place): void {
    place.line.remove(place);
    turns.inc("left");
  }

  sweep(now: number): void {
    const before = now - this.#init.longestWaitMs();
    this.#turnAway(this.#silent, before, "silent");
    const away =
      this.#turnAway(this.#lines[0], before, "turned_away") + this.#turnAway(this.#lines[1], before, "turned_away");
    if (away > 0) {
      this.#init.log.warn("more clients come than can shake hands: some were turned away after their wait", {
        turned_away: away,
        waiting: this.#ready,
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#held?.cancel();
  }

  #turnAway(line: Line, before: number, result: string): number {
    let count = 0;
    for (let place = line.first; place !== null && place.since < before; place = line.first) {
      line.remove(place);
      turns.inc(result);
      place.who.turnAway();
      count++;
    }
    return count;
  }

  #watch(): void {
    if (this.#watches || this.#held !== null || this.#stopped) return;
    this.#watches = true;
    this.#loop.endOfTurn(this.#look);
  }

  readonly #look = (): void => {
    if (this.#stopped) return;
    const cpu = this.#loop.cpu();
    const calm = !this.#arrivals && cpu - this.#lookedAt <= CALM_MS;
    this.#arrivals = false;
    const place = calm || cpu - this.#turnAt >= LONGEST_MS ? this.#next() : null;
    if (place === null && calm) return this.#rest();
    if (place !== null) {
      this.#turnAt = cpu;
      place.line.remove(place);
      turns.inc("waited");
      place.who.goIn();
    }
    // What the handshake itself took is not what the loop has to do besides.
    this.#loop.afterThis(this.#stamp);
    this.#loop.endOfTurn(this.#look);
  };

  readonly #stamp = (): void => {
    this.#lookedAt = this.#loop.cpu();
  };

  // Nobody waits who may go in.
  #rest(): void {
    this.#watches = false;
    if (this.#lines[0].size === 0) return;
    this.#held = this.#init.clock.after(HELD_MS, () => {
      this.#held = null;
      this.#lookedAt = this.#loop.cpu();
      this.#watch();
    });
  }

  #next(): Place | null {
    const held = this.#lines[0].size > 0 && this.#init.crowded();
    const other = 1 - this.#lastLine;
    for (const number of [other, this.#lastLine]) {
      const line = this.#lines[number]!;
      if (line.first === null || (number === 0 && held)) continue;
      this.#lastLine = number;
      return this.#init.clock.now() - line.first.since > IN_ORDER_MS ? line.last : line.first;
    }
    return null;
  }
}

/** In order of arrival; who leaves is anywhere in it. */
class Line {
  first: Place | null = null;
  last: Place | null = null;
  size = 0;

  add(place: Place): void {
    place.before = this.last;
    place.after = null;
    if (this.last === null) this.first = place;
    else this.last.after = place;
    this.last = place;
    this.size++;
  }

  remove(place: Place): void {
    if (place.before === null) this.first = place.after;
    else place.before.after = place.after;
    if (place.after === null) this.last = place.before;
    else place.after.before = place.before;
    this.size--;
  }
}
