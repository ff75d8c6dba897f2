import { type Clock, systemClock } from "./base/clock.ts";
import { Janitor } from "./base/janitor.ts";
import type { Log } from "./base/log.ts";
import { meter } from "./base/meter.ts";
import type { Address } from "./base/option-types.ts";
import type { Seat } from "./base/seat.ts";
import type { SocketHandle } from "./base/socket-handle.ts";
import type { Config } from "./config/schema.ts";
import { Admission } from "./edge/admission.ts";
import { BoshPort } from "./edge/bosh/bosh-port.ts";
import { BoshRelay, newSid } from "./edge/bosh/bosh-relay.ts";
import { RelayDoor } from "./edge/bosh/relay-door.ts";
import { hostMetaRoutes } from "./edge/http/host-meta.ts";
import { HttpPort } from "./edge/http/http-port.ts";
import type { HttpRoute } from "./edge/http/route.ts";
import { Listener } from "./edge/listener.ts";
import { eventLoop, type Loop, Turnstile } from "./edge/turnstile.ts";
import { WebSocketPort } from "./edge/websocket/websocket-port.ts";
import { featureList } from "./features/index.ts";
import { Keepalive } from "./features/keepalive/index.ts";
import { StreamManagement } from "./features/stream-management/index.ts";
import { admissionLimits, corePlan, hostOptions, newSafe, OPS, opsPlace, placesOf } from "./from-config.ts";
import { Health } from "./ops/health.ts";
import { type OpsServer, startOpsServer } from "./ops/http.ts";
import { measureLoopLag } from "./ops/loop-lag.ts";
import { Metrics } from "./ops/metrics.ts";
import { Drainer } from "./session/drainer.ts";
import { ESTATE_FORMAT, type SessionEstate } from "./session/estate.ts";
import { Gate } from "./session/gate.ts";
import { Handover, type Heir } from "./session/handover.ts";
import type { Departure, Host, Predecessor } from "./session/host.ts";
import { Inheritance } from "./session/inheritance.ts";
import { Negotiation } from "./session/negotiation.ts";
import { ParkingLot } from "./session/parking-lot.ts";
import { Returns } from "./session/returns.ts";
import type { Store } from "./session/stanza-store.ts";
import { Turns } from "./session/turns.ts";
import { openStore } from "./store/open.ts";
import { closeTls, setUpTls, type TlsSetup } from "./tls/setup.ts";
import { Cores } from "./upstream/cores.ts";

const started = meter.gauge("breakwater_start_time_seconds", "When this process began to serve, in seconds since 1970");

/** How long clients get to take their last words when the edge stops. */
const GOODBYE_MS = 3000;

/** A socket that listens, and the place at which its configuration has it. */
export interface OpenPort {
  readonly place: string;
  readonly socket: SocketHandle;
}

/** The process whose place this one takes, as a start meets it. */
export interface Before extends Predecessor {
  /** Where it listens. */
  readonly places: readonly string[];
  /**
   * Says that all else is ready. Resolves with the sockets of `places` once its dormant sessions have begun here: clients
   * can come. Null: that process is gone, and the place is free.
   */
  handOver(to: Inheritance): Promise<readonly (SocketHandle | null)[]>;
}

export interface StartOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock?: Clock;
  readonly loop?: Loop;
  /** What browsers find beside the edge's own paths, which nothing here can hide. */
  readonly routes?: readonly HttpRoute[];
  /** Where this process is one of several that share the ports. They are asked by their supervisor: it has no ops server. */
  readonly seat?: Seat;
  /** It goes on with its ports and sessions. */
  readonly before?: Before;
}

export type { Departure, Handover, Heir, HttpRoute, Inheritance, Seat, SessionEstate, SocketHandle };
export { ESTATE_FORMAT, opsPlace };

/** A running edge. */
export interface Breakwater {
  /** Where it listens, in the order of the configuration: with port 0 there, the ports that were free. */
  readonly listeners: readonly Address[];
  readonly ops: Address;
  /** What keeps it from being ready, as `/readyz` tells it. Empty: it is. */
  failures(): { name: string; reason: string }[];
  /**
   * Takes a new configuration into use, as far as its options can be reloaded; nobody is dropped. Rejects and changes
   * nothing when a certificate or a core of it cannot be used.
   */
  reload(config: Config): Promise<void>;
  /** Lets the clients go while the process stays. */
  readonly drainer: Drainer;
  /** For the process that takes this one's place, with the sessions of `handOver`. */
  readonly openPorts: readonly OpenPort[];
  /** Takes in nobody any more, and gives the sessions away. The ops server is closed, too. */
  handOver(heir: Heir): Handover;
  /** The heir is gone: who is here stays, and clients are let in again. Rejects when a port cannot be had. */
  takeBack(): Promise<void>;
  /** The process before this one has no sessions any more; `how` its last ones went, where that is known. */
  inherited(how: Readonly<Record<Departure, number>> | null): void;
  /** Ends in order: no new clients, those who are here are let go within `drain.timeout`, cores keep what can be resumed. */
  stop(): Promise<void>;
}

/**
 * Joins the rooms and begins to serve. Rejects with a BreakwaterError that says what to do when a certificate, a core or
 * an address cannot be used; then nothing is left running.
 */
export async function start(options: StartOptions): Promise<Breakwater> {
  const edge = new Edge(options);
  try {
    await edge.start();
  } catch (error) {
    await edge.stop();
    throw error;
  }
  return edge;
}

class Edge implements Breakwater {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #janitor: Janitor;
  readonly #health = new Health();
  readonly #cores: Cores;
  readonly #streamManagement: StreamManagement;
  readonly #keepalive: Keepalive;
  readonly #admission: Admission;
  readonly #turnstile: Turnstile;
  readonly #http: HttpPort;
  readonly #host: Host;
  readonly #seat: Seat | null;
  readonly #before: Before | null;
  // What it started with: a reload changes neither.
  readonly #places: readonly string[];
  readonly #opsAddress: Address;
  readonly #door: RelayDoor | null;
  readonly drainer: Drainer;
  #config: Config;
  #tls: TlsSetup | null = null;
  #store: Store | null = null;
  #listeners: Listener[] = [];
  #addresses: Address[] = [];
  #ops: OpsServer | null = null;
  #handover: Handover | null = null;
  #inheritance: Inheritance | null = null;
  #stopLag: (() => void) | null = null;
  #stopping = false;

  constructor({ config, log, clock = systemClock, loop = eventLoop, routes = [], seat, before }: StartOptions) {
    this.#config = config;
    this.#log = log;
    this.#clock = clock;
    this.#janitor = new Janitor(clock);
    this.#cores = new Cores({ clock, janitor: this.#janitor, log });
    this.#streamManagement = new StreamManagement(config.stream_management, clock);
    this.#keepalive = new Keepalive(config.keepalive);
    this.#admission = new Admission(admissionLimits(config));
    const turns = new Turns(clock, () => this.#config.drain.rate);
    this.#host = {
      clock,
      janitor: this.#janitor,
      log,
      cores: this.#cores,
      features: featureList(this.#streamManagement, this.#keepalive),
      sessions: new Set(),
      negotiations: new Set(),
      gate: new Gate(clock, (core) => this.#cores.loginRate(core)),
      returns: new Returns(clock, turns),
      parkingLot: new ParkingLot(clock, turns, this.#cores),
      predecessor: before ?? null,
      succeeded: false,
      ...hostOptions(config),
    };
    this.#turnstile = new Turnstile({
      ...{ clock, loop, janitor: this.#janitor, log },
      longestWaitMs: () => this.#host.deadlines.open_timeout * 1000,
      crowded: () => this.#config.cores.every(({ name }) => this.#host.gate.isCrowded(name)),
    });
    this.#seat = seat ?? null;
    this.#before = before ?? null;
    this.#places = placesOf(config);
    this.#opsAddress = config.ops.listen;
    this.#http = this.#setUpHttp(routes);
    this.#door = seat === undefined ? null : new RelayDoor(seat, this.#http, log);
    const doors = { open: () => this.#letIn(), close: () => this.#shutDoors() };
    this.drainer = new Drainer(this.#host, doors, () => this.#config.drain);
  }

  #setUpHttp(routes: readonly HttpRoute[]): HttpPort {
    const shared = { clock: this.#clock, janitor: this.#janitor, log: this.#log };
    const domains = () => this.#host.domains;
    const port = new HttpPort({ ...shared, admission: this.#admission, options: () => this.#config.http });
    for (const route of routes) port.add(route); // first: of two with one path the later one stays
    port.addUpgrade(
      new WebSocketPort({
        ...shared,
        options: () => this.#config.http.websocket,
        origins: () => this.#config.http.origins,
        domains,
        limits: () => this.#host.limits,
        seeOtherUri: () =>
          this.drainer.readiness() === true ? null : (this.#config.http.websocket.see_other_uri ?? null),
        welcome: (link) => new Negotiation(link, this.#host),
      }),
    );
    const bosh = new BoshPort({
      ...shared,
      admission: this.#admission,
      options: () => this.#config.http.bosh,
      newSid: () => newSid(this.#seat),
      origins: () => this.#config.http.origins,
      domains,
      limits: () => this.#host.limits,
      welcome: (link) => new Negotiation(link, this.#host),
    });
    port.add(this.#seat === null ? bosh : new BoshRelay(bosh, this.#seat, this.#log));
    for (const route of hostMetaRoutes({ options: () => this.#config.http, domains })) port.add(route);
    return port;
  }

  get listeners(): readonly Address[] {
    return this.#addresses;
  }

  get ops(): Address {
    return this.#ops!.address;
  }

  failures(): { name: string; reason: string }[] {
    return this.#health.failures();
  }

  async start(): Promise<void> {
    const config = this.#config;
    this.#tls = setUpTls(config.tls, config.domains, { clock: this.#clock, log: this.#log }, null);
    const store = openStore(config.store, { clock: this.#clock, log: this.#log });
    this.#store = store;
    // What dies with this process may not be acknowledged to a core.
    if (config.store.driver === "redis") this.#streamManagement.keepIn(newSafe(store, config.store, this.#clock));
    await this.#cores.use(corePlan(config));
    this.#health.register("store", () => store.readiness());
    this.#health.register("cores", () => this.#cores.readiness());
    this.#health.register("accepting", () => this.drainer.readiness());
    this.#stopLag = measureLoopLag();
    await this.#door?.listen();
    this.#listeners = config.listeners.map((options) => this.#listener(options));
    await this.#open();
    started.set(Math.floor(this.#clock.wall() / 1000));
  }

  #listener(options: Config["listeners"][number]): Listener {
    return new Listener(options, {
      clock: this.#clock,
      janitor: this.#janitor,
      log: this.#log,
      admission: this.#admission,
      http: this.#http,
      turnstile: this.#turnstile,
      reusePort: this.#seat !== null,
      tlsOptions: (kind) => this.#tls!.contexts.serverOptions(kind),
      limits: () => this.#host.limits.beforeLogin,
      openTimeoutMs: (kind) =>
        1000 * (kind === "https" ? this.#config.http.header_timeout : this.#host.deadlines.open_timeout),
      keepaliveSeconds: () => this.#keepalive.options.tcp_keepalive,
      welcome: (link) => new Negotiation(link, this.#host),
    });
  }

  // What the process before this one has not opened comes first: once it has handed over, nothing may fail.
  async #open(): Promise<void> {
    const left = new Map((this.#before?.places ?? []).entries());
    const from = this.#places.map((place) => {
      const [index = -1] = [...left].find(([, other]) => other === place) ?? [];
      left.delete(index);
      return index;
    });
    for (const [i, index] of from.entries()) if (index < 0) await this.#openOne(i, null);
    if (this.#before === null) return;
    this.#inheritance = new Inheritance(this.#host);
    const sockets = await this.#before.handOver(this.#inheritance);
    for (const [i, index] of from.entries()) if (index >= 0) await this.#openOne(i, sockets[index] ?? null);
    for (const index of left.keys()) sockets[index]?.close();
  }

  /** By its number in `#places`. */
  async #openOne(number: number, socket: SocketHandle | null): Promise<void> {
    if (number !== OPS) this.#addresses[number - 1] = await this.#listeners[number - 1]!.listen(socket);
    else if (this.#seat === null) await this.#openOps(socket);
  }

  async #openOps(socket: SocketHandle | null): Promise<void> {
    this.#ops = await startOpsServer({
      listen: this.#opsAddress,
      socket,
      health: this.#health,
      metrics: new Metrics(),
    });
  }

  get openPorts(): readonly OpenPort[] {
    return [this.#ops, ...this.#listeners].flatMap((listening, i) => {
      const socket = listening?.handle ?? null;
      return socket === null ? [] : [{ place: this.#places[i]!, socket }];
    });
  }

  handOver(heir: Heir): Handover {
    this.#shutDoors();
    void this.#ops?.close();
    this.#host.succeeded = true;
    const find = (id: string) => this.#streamManagement.registry.find(id)?.session ?? null;
    this.#handover = new Handover(this.#host, heir, find);
    return this.#handover;
  }

  async takeBack(): Promise<void> {
    this.#host.succeeded = false;
    this.#handover?.rollBack();
    this.#handover = null;
    await this.#openOne(OPS, null);
    if (!(await this.drainer.abort())) await this.#letIn();
  }

  inherited(how: Readonly<Record<Departure, number>> | null): void {
    this.#host.predecessor = null;
    if (how !== null) this.#inheritance?.note(how);
  }

  async reload(config: Config): Promise<void> {
    const tls = setUpTls(config.tls, config.domains, { clock: this.#clock, log: this.#log }, this.#tls);
    try {
      await this.#cores.use(corePlan(config));
    } catch (error) {
      closeTls(tls, this.#tls);
      throw error;
    }
    if (this.#tls !== null) closeTls(this.#tls, tls);
    this.#tls = tls;
    this.#config = config;
    Object.assign(this.#host, hostOptions(config));
    this.#streamManagement.options = config.stream_management;
    this.#keepalive.options = config.keepalive;
    this.#admission.limits = admissionLimits(config);
  }

  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#host.returns.hurry();
    await this.drainer.stop();
    this.#host.parkingLot.stop();
    this.#host.gate.stop();
    this.#turnstile.stop();
    this.#http.stop();
    await this.#goodbye();
    for (const listener of this.#listeners) listener.dropAll();
    this.#door?.close();
    this.#cores.stop();
    this.#store?.close();
    if (this.#tls !== null) closeTls(this.#tls, null);
    this.#stopLag?.();
    await this.#ops?.close();
    this.#janitor.stop();
  }

  #shutDoors(): void {
    this.#admission.accepts = false;
    for (const listener of this.#listeners) listener.close();
  }

  async #letIn(): Promise<void> {
    try {
      for (const listener of this.#listeners) await listener.listen();
      this.#admission.accepts = true;
    } catch (error) {
      this.#shutDoors();
      throw error;
    }
  }

  // Until every client has closed its side, or the time is up.
  #goodbye(): Promise<void> {
    const until = this.#clock.now() + GOODBYE_MS;
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#admission.count === 0 || this.#clock.now() >= until) resolve();
        else setTimeout(look, 20);
      };
      look();
    });
  }
}
