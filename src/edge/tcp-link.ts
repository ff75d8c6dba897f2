import type { Socket } from "node:net";
import { TLSSocket, type TLSSocketOptions } from "node:tls";
import type { Clock } from "../base/clock.ts";
import type { CloseReason } from "../base/close-reasons.ts";
import type { Janitor, Sweepable } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { Outbox } from "../base/outbox.ts";
import type { Endpoint, Link, LinkOwner } from "../session/ports.ts";
import type { TlsKind } from "../tls/contexts.ts";
import { PacedTlsSocket } from "../tls/paced-socket.ts";
import { KIND } from "../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../xmpp/framer.ts";
import { selfContained } from "../xmpp/self-contained.ts";
import { brokenBy, bytesFromClient, bytesToClient, LINGER_MS, openLinks } from "./links.ts";
import type { AtTheTurnstile, Place, Turnstile } from "./turnstile.ts";
import { untakenBytes } from "./untaken.ts";

const openTcp = openLinks.cell("tcp");
export const handshakes = meter.counter("breakwater_tls_handshakes_total", "TLS handshakes with clients, by result", [
  "result",
  "version",
]);

/** A keepalive (RFC 6120 §4.6.1). */
const SPACE = Buffer.from(" ");

/** What all links of a process share. */
export interface LinkHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  readonly turnstile: Turnstile;
  /** The shared options object for TLS sockets of this kind; asked anew for each handshake. */
  tlsOptions(kind: TlsKind): TLSSocketOptions;
}

export interface LinkInit {
  readonly id: number;
  readonly kind: "starttls" | "tls" | "plaintext";
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly limits: FramerLimits;
}

// Handlers are shared by all links; the socket knows its own. A closure for each event would cost more than the link.
const LINK = Symbol("link");
type LinkedSocket = Socket & { [LINK]?: TcpLink };

/** A client on TCP, with STARTTLS (RFC 6120 §5), direct TLS (XEP-0368) or behind a trusted balancer without. */
export class TcpLink implements Link, Sweepable, AtTheTurnstile {
  readonly logsIn = true;
  readonly id: number;
  readonly transport = "tcp";
  readonly client: Endpoint;
  readonly server: Endpoint;
  secure: boolean;
  owner: LinkOwner | null = null;
  heardAt: number;
  wroteAt: number;
  writtenBytes = 0;
  #flushedBytes = 0;
  #takenBytes = 0;
  #socket: LinkedSocket;
  #tls: boolean;
  #shaken = false;
  readonly #host: LinkHost;
  #framer: StanzaFramer;
  readonly #outbox = new Outbox();
  // Between <starttls/> and a handshake that has to wait.
  #place: Place | null = null;
  #proceed: Buffer | null = null;
  #paused = false;
  #pumping = false;
  #endedAt = 0;
  #closed = false;

  /** A `plaintext` socket may be one that has shaken hands already. */
  constructor(socket: Socket, init: LinkInit, host: LinkHost) {
    this.id = init.id;
    this.client = init.client;
    this.server = init.server;
    this.secure = init.kind !== "starttls";
    this.#tls = this.#shaken = socket instanceof TLSSocket;
    this.#host = host;
    this.#framer = new StanzaFramer(init.limits);
    this.heardAt = this.wroteAt = host.clock.now();
    openTcp.value++;
    this.#socket = socket;
    if (init.kind === "tls") this.#wrap("tls");
    else {
      this.#listen(socket);
      socket.resume();
    }
  }

  get servername(): string | null {
    if (!this.#tls) return null;
    const name: unknown = (this.#socket as TLSSocket & { servername?: unknown }).servername;
    return typeof name === "string" ? name : null;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get takenBytes(): number {
    const untaken = untakenBytes(this.#socket);
    if (untaken !== null) this.#takenBytes = this.#flushedBytes - untaken;
    return this.#takenBytes;
  }

  setLimits(limits: FramerLimits): void {
    this.#framer.limits = limits;
  }

  restartStream(): void {
    this.#framer.restart();
  }

  startTls(proceed: Buffer): "now" | "wait" | "pipelined" {
    if (this.#framer.unread() > 0) return "pipelined";
    const { turnstile } = this.#host;
    this.#proceed = proceed;
    if (turnstile.passes(true)) {
      this.#shakeHands();
      return "now";
    }
    this.#place = turnstile.wait(this, false);
    return "wait";
  }

  goIn(): void {
    this.#place = null;
    this.owner?.linkTurn?.(this);
    this.#shakeHands();
  }

  turnAway(): void {
    this.#place = null;
    this.owner?.linkNotSecured?.(this, "too-many-connections");
  }

  #shakeHands(): void {
    const proceed = this.#proceed!;
    this.#proceed = null;
    this.write(proceed, 0, proceed.length);
    this.flush();
    this.#framer = new StanzaFramer(this.#framer.limits);
    this.#socket.off("data", onData);
    this.#wrap("starttls");
    this.secure = true;
  }

  #leaveLine(): void {
    if (this.#place === null) return;
    this.#host.turnstile.leave(this.#place);
    this.#place = null;
  }

  write(bytes: Buffer, start: number, end: number): void {
    this.writtenBytes += end - start;
    this.#outbox.add(bytes, start, end);
  }

  flush(): void {
    if (this.#outbox.empty) return;
    const socket = this.#socket;
    if (this.#closed || socket.destroyed || !socket.writable) return this.#outbox.clear();
    this.#noteTaken(); // of what was written before: this write may fail
    // An idle TLS socket encrypts before write returns; any other may keep the bytes, which are only borrowed.
    const copy = !this.#tls || socket.writableLength > 0;
    const length = this.#outbox.flush(socket, copy);
    this.#flushedBytes += length;
    this.#noteTaken();
    bytesToClient.value += length;
    this.wroteAt = this.#host.clock.now();
  }

  // Kept for when the socket is gone.
  #noteTaken(): void {
    if (this.#socket.writableLength === 0) this.#takenBytes = this.#flushedBytes;
  }

  keepAlive(): void {
    this.write(SPACE, 0, 1);
    this.flush();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // What is unread goes first, and not from inside the owner's call.
    process.nextTick(pumpLater, this);
    this.#socket.resume();
  }

  fence(): void {
    this.owner = null;
  }

  end(): void {
    if (this.#closed) return;
    this.owner = null;
    this.#leaveLine();
    this.flush();
    this.#socket.end();
    // Reading on, so that the peer's close is seen; nobody owns what comes.
    this.#paused = false;
    this.#socket.resume();
    this.#endedAt = this.#host.clock.now();
    this.#host.janitor.add(this);
  }

  drop(): void {
    this.owner = null;
    this.#leaveLine();
    this.#socket.destroy();
  }

  recall(): void {
    if (this.takenBytes < this.writtenBytes) this.drop();
  }

  sweep(now: number): void {
    if (this.#endedAt > 0 && now - this.#endedAt > LINGER_MS) this.#socket.destroy();
  }

  // ---- the socket's events

  #listen(socket: LinkedSocket): void {
    this.#socket = socket;
    socket[LINK] = this;
    socket.on("data", onData);
    socket.on("drain", onDrain);
    socket.on("error", onError);
    socket.on("close", onClose);
  }

  #wrap(kind: "starttls" | "tls"): void {
    const raw = this.#socket;
    // The TLS socket takes the handle over and closes with it; an error of the raw socket has to be heard all the same.
    raw.off("drain", onDrain);
    raw.off("close", onClose);
    if (raw.listenerCount("error") === 0) raw.on("error", ignore);
    raw.pause(); // what waits in it is read by the TLS socket, and only then
    const socket = new PacedTlsSocket(raw, this.#host.tlsOptions(kind));
    this.#tls = true;
    this.#listen(socket);
    socket.once("secure", onSecure);
    socket.on("_tlsError", onTlsError);
  }

  /** For the handlers below. */
  received(chunk: Buffer): void {
    this.heardAt = this.#host.clock.now();
    if (this.owner === null) return;
    // It is read all the same, so that its end is noticed.
    if (this.#place !== null) return this.owner.linkNotSecured?.(this, "starttls-pipelined");
    bytesFromClient.value += chunk.length;
    this.#framer.feed(chunk, true);
    if (!this.#paused) this.pump();
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#walk();
    } catch (thrown) {
      brokenBy(thrown, this, this.owner, this.#host.log);
    } finally {
      this.#pumping = false;
    }
  }

  #walk(): void {
    // The owner, the framer and the pause may change with every frame.
    for (;;) {
      if (this.owner === null || this.#paused) break;
      const frame = this.#framer.next();
      if (frame === null) break;
      if (frame === "end") this.owner.linkStreamEnd(this);
      else if (frame.kind === KIND.streamHeader) this.owner.linkHeader(this, frame);
      else if (frame.usesStreamPrefix) this.owner.linkFrame(this, selfContained(frame, this.#framer.header!));
      else this.owner.linkFrame(this, frame);
    }
    this.owner?.linkChunkEnd(this);
  }

  drained(): void {
    this.#noteTaken();
    this.owner?.linkDrained(this);
  }

  secured(): void {
    this.#shaken = true;
    const socket = this.#socket as TLSSocket;
    handshakes.inc(socket.isSessionReused() ? "resumed" : "full", socket.getProtocol() ?? "unknown");
  }

  failed(error: Error): void {
    if (!this.#tls || this.#shaken) return;
    handshakes.inc("failed", "none");
    this.#host.log.debug("TLS handshake failed", { client: this.client.address, error: error.message });
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaveLine();
    openTcp.value--;
    this.#outbox.clear();
    this.#host.janitor.remove(this);
    const owner = this.owner;
    this.owner = null;
    const reason: CloseReason = this.#tls && !this.#shaken ? "tls-failed" : "link-lost";
    owner?.linkLost(this, reason);
  }
}

function onData(this: LinkedSocket, chunk: Buffer): void {
  this[LINK]!.received(chunk);
}

function onDrain(this: LinkedSocket): void {
  this[LINK]!.drained();
}

function onSecure(this: LinkedSocket): void {
  this[LINK]!.secured();
}

function onError(this: LinkedSocket, error: Error): void {
  this[LINK]!.failed(error);
}

// Without a tls.Server, Node reports an error after the handshake here and nowhere else.
function onTlsError(this: LinkedSocket, error: Error): void {
  this[LINK]!.failed(error);
  this.destroy();
}

function onClose(this: LinkedSocket): void {
  this[LINK]!.closed();
}

function ignore(): void {}

function pumpLater(link: TcpLink): void {
  link.pump();
}
