import { createServer, connect as netConnect, type Server, type Socket } from "node:net";
import { Lane, type LinkProfile, PROFILES, type ProfileName, SEGMENT_BYTES } from "./link-profile.ts";
import { Random } from "./random.ts";
import { reset } from "./reset.ts";

export { type LinkProfile, linkProfile, PROFILES, type ProfileName } from "./link-profile.ts";

/**
 * How a link breaks. Bytes on their way are lost in every case; both kernels have acknowledged them already, which is
 * the very case that XEP-0198 is for.
 * - fin: both sides see a polite end. rst: both see a reset.
 * - silent: nobody is told; both sockets stay open and bytes vanish (a tunnel, a NAT that forgot).
 * - client-rst: the client knows (it roams), the server does not.
 * - server-rst: the server knows, the client does not.
 */
export type CutKind = "fin" | "rst" | "silent" | "client-rst" | "server-rst";

export type Direction = "up" | "down";

export interface WeakLinkOptions {
  to: { host?: string; port: number } | { path: string };
  /** Default "perfect". */
  profile?: ProfileName | LinkProfile;
  /** Of jitter and loss; each connection has its own sequence, which others do not disturb. */
  seed?: number;
}

export interface LinkStats {
  /** Connections accepted so far. */
  accepted: number;
  cuts: number;
  /** Delivered bytes. */
  upBytes: number;
  downBytes: number;
  /** Bytes that vanished in cuts. */
  lostBytes: number;
  /** Segments that came late because they were lost at first. */
  losses: number;
  /** Times that the radio had to wake. */
  wakeups: number;
}

/** A TCP relay between a client and a server that does to the bytes what a bad network does. "Up" is from the client. */
export class WeakLink {
  readonly stats: LinkStats = {
    accepted: 0,
    cuts: 0,
    upBytes: 0,
    downBytes: 0,
    lostBytes: 0,
    losses: 0,
    wakeups: 0,
  };
  /** The connections that carry bytes, oldest first. */
  readonly links = new Set<WeakConnection>();
  /** Hears what arrives here and is not lost, on connections that come after it is set. */
  onBytes: ((link: WeakConnection, direction: Direction, chunk: Buffer) => void) | null = null;
  /** True: new connections are reset at once. */
  refuses = false;
  readonly host = "127.0.0.1";
  #server: Server;
  #to: WeakLinkOptions["to"];
  #profile: LinkProfile;
  #seed: number;
  #frozen = new Set<Direction>();
  /** All that have a socket left, cut ones included. */
  #open = new Set<WeakConnection>();

  private constructor(options: WeakLinkOptions) {
    this.#to = options.to;
    this.#profile = profileOf(options.profile ?? "perfect");
    this.#seed = options.seed ?? 1;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  static async listen(options: WeakLinkOptions): Promise<WeakLink> {
    const relay = new WeakLink(options);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once("error", reject).listen({ host: relay.host, port: 0, backlog: 1000 }, resolve);
    });
    return relay;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Where further connections lead. */
  retarget(to: WeakLinkOptions["to"]): void {
    this.#to = to;
  }

  /** For the connections that are, and for those to come. */
  setProfile(profile: ProfileName | LinkProfile): void {
    this.#profile = profileOf(profile);
    for (const link of this.#open) link.setProfile(this.#profile);
  }

  /** Cuts every connection. */
  cut(kind: CutKind): void {
    for (const link of [...this.links]) link.cut(kind);
  }

  /** Nothing arrives any more, in one direction or both, on old and new connections; nobody is told, nothing is lost. */
  freeze(direction?: Direction): void {
    for (const each of directions(direction)) this.#frozen.add(each);
    for (const link of this.#open) link.freeze(direction);
  }

  thaw(direction?: Direction): void {
    for (const each of directions(direction)) this.#frozen.delete(each);
    for (const link of this.#open) link.thaw(direction);
  }

  /** Bytes that wait inside the network. */
  get queuedBytes(): number {
    let sum = 0;
    for (const link of this.#open) sum += link.queuedBytes;
    return sum;
  }

  async close(): Promise<void> {
    for (const link of [...this.#open]) link.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    if (this.refuses) {
      reset(client);
      return;
    }
    const random = new Random(this.#seed * 1_000_003 + this.stats.accepted);
    this.stats.accepted++;
    const at = "path" in this.#to ? { path: this.#to.path } : { host: "127.0.0.1", ...this.#to };
    const server = netConnect({ ...at, allowHalfOpen: true, noDelay: true });
    const link = new WeakConnection(client, server, this.#profile, random, this.stats);
    this.links.add(link);
    this.#open.add(link);
    const { onBytes } = this;
    if (onBytes !== null) {
      client.on("data", (chunk: Buffer) => link.isCut || onBytes(link, "up", chunk));
      server.on("data", (chunk: Buffer) => link.isCut || onBytes(link, "down", chunk));
    }
    link.onCut = () => this.links.delete(link);
    link.onGone = () => {
      this.links.delete(link);
      this.#open.delete(link);
    };
    for (const direction of this.#frozen) link.freeze(direction);
  }
}

/** One connection through the relay. */
export class WeakConnection {
  onCut: () => void = () => {};
  onGone: () => void = () => {};
  readonly client: Socket;
  readonly server: Socket;
  #pipes: Record<Direction, Pipe>;
  #stats: LinkStats;
  #isCut = false;

  constructor(client: Socket, server: Socket, profile: LinkProfile, random: Random, stats: LinkStats) {
    this.client = client;
    this.server = server;
    this.#stats = stats;
    const radio: Radio = { wakeMs: profile.wakeMs, tailMs: profile.tailMs, activeUntil: 0 };
    this.#pipes = {
      up: new Pipe(
        client,
        server,
        new Lane(profile.up, new Random(random.integer(0, 2 ** 31))),
        radio,
        stats,
        "upBytes",
      ),
      down: new Pipe(
        server,
        client,
        new Lane(profile.down, new Random(random.integer(0, 2 ** 31))),
        radio,
        stats,
        "downBytes",
      ),
    };
    // The relay has accepted for the server: the round trip of the handshake falls on the first bytes up.
    this.#pipes.up.lane.holdUntil(performance.now() + profile.up.delayMs + profile.down.delayMs);
    for (const socket of [client, server]) {
      socket.once("close", () => {
        if (client.destroyed && server.destroyed) this.onGone();
      });
    }
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  get queuedBytes(): number {
    return this.#pipes.up.queuedBytes + this.#pipes.down.queuedBytes;
  }

  setProfile(profile: LinkProfile): void {
    this.#pipes.up.lane.profile = profile.up;
    this.#pipes.down.lane.profile = profile.down;
    for (const pipe of Object.values(this.#pipes))
      Object.assign(pipe.radio, { wakeMs: profile.wakeMs, tailMs: profile.tailMs });
  }

  cut(kind: CutKind): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#stats.cuts++;
    for (const pipe of Object.values(this.#pipes)) pipe.lose();
    if (kind === "fin") {
      endPolitely(this.client);
      endPolitely(this.server);
    }
    if (kind === "rst" || kind === "client-rst") reset(this.client);
    if (kind === "rst" || kind === "server-rst") reset(this.server);
    this.onCut();
  }

  freeze(direction?: Direction): void {
    for (const each of directions(direction)) this.#pipes[each].freeze();
  }

  thaw(direction?: Direction): void {
    for (const each of directions(direction)) this.#pipes[each].thaw();
  }

  destroy(): void {
    for (const pipe of Object.values(this.#pipes)) pipe.lose();
    this.client.destroy();
    this.server.destroy();
    this.onGone();
  }
}

/** Both directions of a connection share it. */
interface Radio {
  wakeMs: number;
  tailMs: number;
  activeUntil: number;
}

/** What happens at the far end at `at`: bytes, the end of the stream, or a reset. */
interface Arrival {
  readonly at: number;
  readonly what: Buffer | "end" | "reset";
}

/** One direction: reads `from`, waits as the lane says, writes `to`. */
class Pipe {
  readonly lane: Lane;
  readonly radio: Radio;
  queuedBytes = 0;
  #from: Socket;
  #to: Socket;
  #stats: LinkStats;
  #counter: "upBytes" | "downBytes";
  #queue: Arrival[] = [];
  #timer: NodeJS.Timeout | null = null;
  #frozen = false;
  #lost = false;
  #blocked = false;

  constructor(from: Socket, to: Socket, lane: Lane, radio: Radio, stats: LinkStats, counter: "upBytes" | "downBytes") {
    this.#from = from;
    this.#to = to;
    this.lane = lane;
    this.radio = radio;
    this.#stats = stats;
    this.#counter = counter;
    from.on("data", (chunk: Buffer) => this.#arrived(chunk));
    from.once("end", () => this.#push("end", 0));
    from.once("error", () => this.#push("reset", 0));
    to.on("drain", () => {
      this.#blocked = false;
      this.#pump();
    });
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    this.#pump();
  }

  /** From now on everything vanishes, what is on its way included. */
  lose(): void {
    this.#lost = true;
    this.#stats.lostBytes += this.queuedBytes;
    this.#queue = [];
    this.queuedBytes = 0;
    if (this.#timer) clearTimeout(this.#timer);
    if (!this.#from.destroyed) this.#from.resume();
  }

  #arrived(chunk: Buffer): void {
    if (this.#lost) {
      this.#stats.lostBytes += chunk.length;
      return;
    }
    this.#wakeRadio();
    if (this.lane.isInstant) {
      this.#push(chunk, chunk.length);
    } else {
      const { losses } = this.lane;
      for (let at = 0; at < chunk.length; at += SEGMENT_BYTES) {
        const segment = chunk.subarray(at, at + SEGMENT_BYTES);
        this.#push(segment, segment.length);
      }
      this.#stats.losses += this.lane.losses - losses;
    }
    // Half empty again, it is read on: see #pump.
    if (this.queuedBytes >= this.lane.profile.queueBytes) this.#from.pause();
  }

  #push(what: Arrival["what"], bytes: number): void {
    if (this.#lost) return;
    const now = performance.now();
    this.#queue.push({ at: this.lane.isInstant ? now : this.lane.arrival(now, bytes), what });
    this.queuedBytes += bytes;
    this.#pump();
  }

  #wakeRadio(): void {
    const { radio } = this;
    if (radio.wakeMs === 0) return;
    const now = performance.now();
    if (now > radio.activeUntil) {
      this.#stats.wakeups++;
      this.lane.holdUntil(now + radio.wakeMs);
    }
    radio.activeUntil = now + radio.tailMs;
  }

  #pump(): void {
    if (this.#frozen || this.#blocked || this.#timer) return;
    const now = performance.now();
    while (this.#queue.length > 0 && !this.#blocked) {
      const { at, what } = this.#queue[0]!;
      if (at > now) {
        this.#wait(at - now);
        break;
      }
      this.#queue.shift();
      this.#deliver(what);
    }
    if (this.#from.isPaused() && this.queuedBytes <= this.lane.profile.queueBytes / 2) this.#from.resume();
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#pump();
    }, ms);
  }

  #deliver(what: Arrival["what"]): void {
    if (what === "end") this.#to.end();
    else if (what === "reset") reset(this.#to);
    else {
      this.queuedBytes -= what.length;
      if (this.#to.destroyed) {
        this.#stats.lostBytes += what.length;
        return;
      }
      this.#stats[this.#counter] += what.length;
      this.#blocked = !this.#to.write(what);
    }
  }
}

function profileOf(profile: ProfileName | LinkProfile): LinkProfile {
  return typeof profile === "string" ? PROFILES[profile] : profile;
}

function directions(direction: Direction | undefined): Direction[] {
  return direction ? [direction] : ["up", "down"];
}

// FIN; and the socket goes when the other side has answered, or hangs on to nothing.
function endPolitely(socket: Socket): void {
  socket.end();
  socket.once("end", () => socket.destroy());
  if (socket.readableEnded) socket.destroy();
}
