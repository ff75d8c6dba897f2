import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Clock } from "../base/clock.ts";
import type { CloseReason } from "../base/close-reasons.ts";
import { messageOf } from "../base/errors.ts";
import type { Janitor, Sweepable } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { Outbox } from "../base/outbox.ts";
import { handleOf, type SocketHandle } from "../base/socket-handle.ts";
import type { CoreEstate, CoreOwner, CoreStream, CoreTraits } from "../session/ports.ts";
import { isStanza, KIND } from "../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../xmpp/framer.ts";
import { FramingError } from "../xmpp/framing-error.ts";
import { selfContained } from "../xmpp/self-contained.ts";
import { STREAM_END } from "../xmpp/stream-error.ts";
import type { Dialing } from "./dial.ts";

const bytes = meter.counter("breakwater_core_bytes_total", "Bytes on streams to cores, by direction", ["direction"]);
const bytesFromCore = bytes.cell("from_core");
const bytesToCore = bytes.cell("to_core");
const opened = meter.counter("breakwater_core_streams_total", "Streams to cores, by core and result", [
  "core",
  "result",
]);
const misbehaved = meter.counter("breakwater_core_refused_total", "Streams of cores ended over what the core sent", [
  "core",
]);
const openStreams = meter.gauge("breakwater_core_open_streams", "Open streams to cores", ["core"]);

/** How long a core may take to close its half after the edge has said goodbye. */
const LINGER_MS = 5000;

export interface C2sHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
}

export interface C2sInit {
  readonly name: string;
  readonly traits: CoreTraits;
  readonly limits: FramerLimits;
  readonly connectTimeoutMs: number;
  readonly owner: CoreOwner | null;
  /** Sent before anything else, in the same tick as the connect: ejabberd accepts nobody else until it has it. */
  readonly proxyHeader: Buffer | null;
  /** The core took a connection, or did not: for its health. */
  readonly connected: (ok: boolean, detail: string) => void;
}

const CORE = Symbol("core");
type CoreSocket = Socket & { [CORE]?: C2sCore };

/** One client's stream to its core over TCP, a unix socket or TLS: connector `c2s`. */
export class C2sCore implements CoreStream, Sweepable {
  readonly coreName: string;
  readonly traits: CoreTraits;
  owner: CoreOwner | null;
  readonly #host: C2sHost;
  readonly #socket: CoreSocket;
  readonly #framer: StanzaFramer;
  readonly #outbox = new Outbox();
  readonly #connected: C2sInit["connected"];
  #up = false;
  #paused = false;
  #closed = false;
  // Connecting or lingering until then; the janitor looks.
  #deadlineAt: number;
  #trouble = "";

  constructor(dialing: Dialing, init: C2sInit, host: C2sHost) {
    this.coreName = init.name;
    this.traits = init.traits;
    this.owner = init.owner;
    this.#host = host;
    this.#connected = init.connected;
    this.#framer = new StanzaFramer(init.limits);
    this.#deadlineAt = host.clock.now() + init.connectTimeoutMs;
    const socket: CoreSocket = dialing.dial(onRead);
    socket[CORE] = this;
    this.#socket = socket;
    if (dialing.opensWith !== null) socket.on(dialing.opensWith, onConnect);
    socket.on("drain", onDrain);
    socket.on("error", onError);
    socket.on("close", onClose);
    if (init.proxyHeader !== null) socket.write(init.proxyHeader);
    host.janitor.add(this);
    openStreams.cell(init.name).value++;
  }

  /** Goes on with the stream of another process, on the socket that was dialed. */
  adopt({ header, unread }: CoreEstate): void {
    this.#up = true;
    this.#deadlineAt = Number.POSITIVE_INFINITY;
    this.#host.janitor.remove(this);
    this.#framer.feed(header, true);
    this.#framer.next();
    this.#framer.feed(Buffer.copyBytesFrom(unread), true);
  }

  get handle(): SocketHandle | null {
    return this.#up && !this.#closed && !(this.#socket instanceof TLSSocket) ? handleOf(this.#socket) : null;
  }

  estate(): CoreEstate {
    return { core: this.coreName, header: this.#framer.openingTag()!, unread: this.#framer.unreadBytes() };
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  restartStream(): void {
    this.#framer.restart();
  }

  write(bytes: Buffer, start: number, end: number): void {
    this.#outbox.add(bytes, start, end);
  }

  flush(): void {
    if (this.#outbox.empty) return;
    const socket = this.#socket;
    if (this.#closed || socket.destroyed || !socket.writable) return this.#outbox.clear();
    // Frames of a client are stable and our own buffers are not reused: the socket may keep them.
    bytesToCore.value += this.#outbox.flush(socket, false);
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  end(): void {
    if (this.#closed) return;
    this.write(STREAM_END, 0, STREAM_END.length);
    this.flush();
    this.resume();
    this.#linger();
  }

  drop(): void {
    this.owner = null;
    this.#socket.destroy();
  }

  sweep(now: number): void {
    if (now < this.#deadlineAt) return;
    if (!this.#up) this.#trouble = "no answer in time";
    this.#socket.destroy();
  }

  #linger(): void {
    this.#deadlineAt = this.#host.clock.now() + LINGER_MS;
    this.#host.janitor.add(this);
  }

  // ---- the socket's events

  connected(): void {
    this.#up = true;
    if (this.#deadlineAt !== Number.POSITIVE_INFINITY && this.owner !== null) {
      this.#deadlineAt = Number.POSITIVE_INFINITY;
      this.#host.janitor.remove(this);
    }
    opened.inc(this.coreName, "connected");
    this.#connected(true, "");
    this.owner?.coreConnected(this);
  }

  received(chunk: Buffer, borrowed: boolean): void {
    bytesFromCore.value += chunk.length;
    try {
      this.#framer.feed(chunk, !borrowed);
      this.#walk();
    } catch (thrown) {
      this.#broken(thrown);
    }
  }

  #walk(): void {
    for (;;) {
      // Read to the end even without an owner: the framer must have taken what the shared buffer holds.
      const frame = this.#framer.next();
      if (frame === null) break;
      const owner = this.owner;
      if (frame === "end") {
        owner?.coreStreamEnd(this);
        this.#socket.destroySoon();
      } else if (owner === null) {
      } else if (frame.kind === KIND.streamHeader) owner.coreHeader(this, frame);
      else if (frame.usesStreamPrefix && isStanza(frame)) {
        owner.coreFrame(this, selfContained(frame, this.#framer.header!)); // it may be sent on another link, later
      } else owner.coreFrame(this, frame);
    }
    this.owner?.coreChunkEnd(this);
  }

  #broken(thrown: unknown): void {
    const framing = thrown instanceof FramingError;
    // The edge has taken its leave, perhaps in the middle of a login: the core may answer that with a stream of its own.
    if (framing && this.owner === null) return this.drop();
    if (framing) misbehaved.inc(this.coreName);
    this.#host.log.error(
      framing ? "a core sent what is not taken; the stream is closed" : "a core's input met a mistake in the edge",
      {
        core: this.coreName,
        error: framing || !(thrown instanceof Error) ? messageOf(thrown) : (thrown.stack ?? thrown.message),
      },
    );
    const owner = this.owner;
    this.drop();
    owner?.coreGone(this, "core-misbehaved", messageOf(thrown));
  }

  drained(): void {
    this.owner?.coreDrained(this);
  }

  failed(error: Error): void {
    this.#trouble = error.message;
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbox.clear();
    this.#host.janitor.remove(this);
    openStreams.cell(this.coreName).value--;
    const reason: CloseReason = this.#up ? "core-gone" : "core-unreachable";
    if (!this.#up) {
      opened.inc(this.coreName, "failed");
      this.#connected(false, this.#trouble);
    }
    const owner = this.owner;
    this.owner = null;
    owner?.coreGone(this, reason, this.#trouble || "the connection was closed");
  }
}

function onRead(this: CoreSocket, chunk: Buffer, borrowed: boolean): void {
  this[CORE]?.received(chunk, borrowed);
}

function onConnect(this: CoreSocket): void {
  this[CORE]?.connected();
}

function onDrain(this: CoreSocket): void {
  this[CORE]?.drained();
}

function onError(this: CoreSocket, error: Error): void {
  this[CORE]?.failed(error);
}

function onClose(this: CoreSocket): void {
  this[CORE]?.closed();
}
