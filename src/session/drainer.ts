import { meter } from "../base/meter.ts";
import { JITTER, Pacer } from "../base/pacer.ts";
import type { Handover } from "./handover.ts";
import type { Departure, Host, Leaving } from "./host.ts";
import type { DrainOptions, DrainOrder } from "./options.ts";
import type { Session } from "./session.ts";

const left = meter.gauge("breakwater_drain_clients_left", "Clients that a drain has still to let go");
const drained = meter.counter(
  "breakwater_drained_total",
  "Clients let go by a drain: handed over to a new process, moved to any other edge, redirected with a hint, or told of a shutdown",
  ["how"],
);

export interface DrainState {
  /** `drained`: nobody is left, and nobody is accepted. */
  readonly phase: "serving" | "draining" | "drained";
  /** The process ends with it. */
  readonly stopping: boolean;
  readonly rate: number;
  readonly total: number;
  readonly left: number;
  readonly seconds: number;
  readonly how: Readonly<Record<Departure, number>>;
}

/** The ways in. */
export interface Doors {
  /** Nobody comes in any more; those who are inside stay. */
  close(): void;
  /** Rejects when an address is no longer to be had. */
  open(): Promise<void>;
}

/**
 * Lets the clients of this process go, at a pace that the cores' logins stand. One drain at a time; after it the process
 * serves nobody, until `abort`.
 */
export class Drainer {
  readonly #host: Host;
  readonly #doors: Doors;
  readonly #options: () => DrainOptions;
  #phase: DrainState["phase"] = "serving";
  #stopping = false;
  #pacer: Pacer<Leaving> | null = null;
  #rate = 0;
  #to: string | null = null;
  #how: Record<Departure, number> = { ...NOBODY };
  #total = 0;
  #gone = 0;
  #beganAt = 0;
  #endedAt = 0;
  #waiting: (() => void)[] = [];
  #handover: Handover | null = null;
  #opening: Promise<void> | null = null;

  constructor(host: Host, doors: Doors, options: () => DrainOptions) {
    this.#host = host;
    this.#doors = doors;
    this.#options = options;
    left.collect = () => left.set(this.#left);
  }

  get state(): DrainState {
    const { clock } = this.#host;
    const until = this.#phase === "draining" ? clock.now() : this.#endedAt;
    return {
      phase: this.#phase,
      stopping: this.#stopping,
      rate: this.#pacer?.rate ?? this.#rate,
      total: this.#total,
      left: this.#left,
      seconds: (until - this.#beganAt) / 1000,
      how: { ...this.#how },
    };
  }

  /** True while clients are accepted, else why not. */
  readiness(): true | string {
    if (this.#stopping) return "the edge is stopping";
    if (this.#phase === "serving") return true;
    const how = this.#phase === "drained" ? "is drained" : `drains, ${this.#left} of ${this.#total} clients are left`;
    return `the edge ${how}; breakwater drain --abort lets clients in again`;
  }

  /**
   * False when a drain is under way or over: nothing is done then. What `order` does not say, the options do. With a
   * handover the sessions go to another process, which has the same address.
   */
  begin(order: DrainOrder = {}, handover: Handover | null = null): boolean {
    if (this.#phase !== "serving") return false;
    this.#handover = handover;
    const { rate = this.#options().rate } = order;
    const to = handover === null ? (order.to ?? this.#options().to ?? null) : null;
    const { clock, sessions, log } = this.#host;
    this.#phase = "draining";
    this.#rate = rate;
    this.#to = to;
    this.#how = { ...NOBODY };
    this.#gone = 0;
    this.#beganAt = clock.now();
    this.#doors.close();
    // Nobody waits there, so there is nothing to pace.
    const dormant = [...sessions].filter(isDormant);
    for (const session of dormant) this.#letGo(session);
    const clients = this.#remaining();
    this.#total = clients.length;
    const facts = { clients: clients.length, dormant: dormant.length, rate, to };
    log.info("drain begins", { ...facts, takes_s: Math.round(secondsFor(clients.length, rate)) });
    this.#pace(clients);
    return true;
  }

  /** Resolves when no drain is under way: everybody has been let go, or it was aborted. */
  finished(): Promise<void> {
    if (this.#phase !== "draining") return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Drains within `drain.timeout`, and for good. Resolves when everybody has been let go. A drain that is under way goes
   * on at its own rate, if that is fast enough.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    const { rate, timeout } = this.#options();
    const clients = this.#phase === "serving" ? this.#remaining().length : this.#left;
    const enough = timeout > 0 ? secondsFor(clients, 1) / timeout : 0;
    if (enough > Math.max(rate, this.#pacer?.rate ?? 0)) {
      this.#host.log.warn("drain.rate is too slow for drain.timeout: clients are let go faster", {
        ...{ clients, drain_rate: rate, drain_timeout_s: timeout, rate: Math.ceil(enough) },
        hint: "run breakwater drain before the stop, or raise drain.timeout and what stops the edge (TimeoutStopSec)",
      });
    }
    if (this.#pacer !== null) this.#pacer.rate = Math.max(this.#pacer.rate, enough);
    this.begin({ rate: Math.max(rate, enough) });
    if (timeout === 0) this.#pacer?.hurry();
    if (this.state.phase === "drained") return;
    const patience = this.#host.clock.after(timeout * 1000, () => this.#pacer?.hurry());
    await this.finished();
    patience.cancel();
  }

  /**
   * Whoever is left stays, and clients are let in again. False when there is no drain to abort. Rejects when a listener
   * cannot be opened: the drain has ended then, and nobody is let in.
   */
  async abort(): Promise<boolean> {
    if (this.#stopping || this.#phase === "serving") return false;
    this.#pacer?.abort();
    if (this.#phase === "draining") this.#end();
    this.#opening ??= this.#doors.open().finally(() => {
      this.#opening = null;
    });
    await this.#opening;
    this.#phase = "serving";
    this.#host.log.info("drain aborted, clients are let in again", {
      gone: this.#gone,
      stay: this.#host.sessions.size,
    });
    return true;
  }

  get #left(): number {
    return this.#phase === "draining" ? this.#total - this.#gone : 0;
  }

  /** Clients that can be let go; who logs out is going already. */
  #remaining(): Leaving[] {
    const { negotiations, sessions } = this.#host;
    return [...negotiations, ...[...sessions].filter(({ phase }) => phase !== "draining" && phase !== "leaving")];
  }

  #pace(clients: readonly Leaving[]): void {
    this.#pacer = new Pacer({
      clock: this.#host.clock,
      rate: this.#pacer?.rate ?? this.#rate,
      items: clients,
      letGo: (client) => this.#turn(client),
      onEnd: () => this.#paced(),
    });
    this.#pacer.begin();
  }

  #turn(client: Leaving): boolean {
    const { sessions, negotiations } = this.#host;
    const here = sessions.has(client as Session) || negotiations.has(client);
    const waits = here && !isDormant(client);
    const went = here && this.#letGo(client);
    this.#gone++;
    this.#tellProgress();
    return went && waits;
  }

  #letGo(client: Leaving): boolean {
    const how = this.#handover?.letGo(client) ?? client.leave(this.#to);
    if (how === null) return false;
    this.#how[how]++;
    drained.inc(how);
    return true;
  }

  #tellProgress(): void {
    const percent = (gone: number): number => Math.floor((gone * 10) / this.#total) * 10;
    if (percent(this.#gone) === percent(this.#gone - 1)) return;
    this.#host.log.info("drain goes on", { percent: percent(this.#gone), left: this.#left });
  }

  #paced(): void {
    // Who logged in when the drain began has become a session meanwhile.
    const late = this.#remaining();
    this.#total += late.length;
    if (late.length > 0) return this.#pace(late);
    this.#end();
    const { seconds, how } = this.state;
    const hint = this.#stopping ? {} : { hint: "stop the edge now, or breakwater drain --abort" };
    this.#host.log.info("drained, nobody is let in", { ...how, took_s: Math.round(seconds), ...hint });
  }

  #end(): void {
    this.#rate = this.#pacer?.rate ?? this.#rate;
    this.#pacer = null;
    this.#phase = "drained";
    this.#endedAt = this.#host.clock.now();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

const NOBODY: Readonly<Record<Departure, number>> = { "handed-over": 0, moved: 0, redirected: 0, shutdown: 0 };

/** How long so many take on average: the first one goes at once. */
function secondsFor(clients: number, rate: number): number {
  return (Math.max(0, clients - 1) / rate) * (1 + JITTER / 2);
}

function isDormant(client: Leaving): boolean {
  return (client as Session).phase === "dormant";
}
