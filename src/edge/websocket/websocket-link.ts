import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { WebSocket } from "ws";
import type { CloseReason } from "../../base/close-reasons.ts";
import type { Sweepable } from "../../base/janitor.ts";
import type { Endpoint, Link, LinkOwner } from "../../session/ports.ts";
import { KIND } from "../../xmpp/frame.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { brokenBy, bytesFromClient, bytesToClient, LINGER_MS, nextLinkId, openLinks } from "../links.ts";
import { closeElement, openFor } from "./framing.ts";
import { MessageReader } from "./message-reader.ts";
import { elementFrame, textFrame } from "./text-frame.ts";
import type { WebSocketHost } from "./websocket-port.ts";

const openWebSockets = openLinks.cell("websocket");

// RFC 6455 §7.4.1
const CLOSE_NORMAL = 1000;
const CLOSE_UNSUPPORTED = 1003;
const CLOSE_TOO_BIG = 1009;
/** Frame headers and control frames that may come with a message of the greatest size. */
const FRAMING_BYTES = 16 * 1024;
const CONTROL_HEADER_BYTES = 6;

// Handlers are shared by all links; socket and WebSocket know their own.
const LINK = Symbol("link");
type Linked<T> = T & { [LINK]?: WebSocketLink };

export interface WebSocketInit {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly limits: FramerLimits;
}

/**
 * A client on WebSocket (RFC 7395). Reads with ws, writes its own frames: one socket write per flush, whatever the number
 * of messages in it. The stream inside looks to its owner like one on TCP.
 */
export class WebSocketLink implements Link, Sweepable {
  readonly id = nextLinkId();
  readonly transport = "websocket";
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly secure = true;
  owner: LinkOwner | null = null;
  heardAt: number;
  wroteAt: number;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #host: WebSocketHost;
  readonly #reader: MessageReader;
  // Whether our <open/> has gone, for the current stream.
  #answered = false;
  // Messages that came while nothing is read; null: a binary one.
  #waiting: (Buffer | null)[] = [];
  #out: Buffer[] = [];
  #paused = false;
  #pumping = false;
  #handled = false;
  // Bytes since the last complete message, by chunks.
  #unread = 0;
  #pingedAt = 0;
  #closeCode = CLOSE_NORMAL;
  #endedAt = 0;
  #closed = false;

  constructor(ws: WebSocket, socket: Socket, init: WebSocketInit, host: WebSocketHost) {
    this.client = init.client;
    this.server = init.server;
    this.#ws = ws;
    this.#socket = socket;
    this.#host = host;
    this.#reader = new MessageReader(init.limits);
    this.heardAt = this.wroteAt = host.clock.now();
    (ws as Linked<WebSocket>)[LINK] = this;
    (socket as Linked<Socket>)[LINK] = this;
    ws.on("message", onMessage);
    ws.on("ping", onControl);
    ws.on("pong", onControl);
    ws.on("error", onError);
    // Behind ws's own listener: what a chunk completes has been handed over by then.
    socket.on("data", onData);
    socket.on("drain", onDrain);
    socket.on("close", onClose);
    host.janitor.add(this);
    openWebSockets.value++;
  }

  get servername(): string | null {
    const name: unknown =
      this.#socket instanceof TLSSocket ? (this.#socket as { servername?: unknown }).servername : null;
    return typeof name === "string" ? name : null;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  setLimits(limits: FramerLimits): void {
    this.#reader.limits = limits;
  }

  restartStream(): void {
    this.#reader.restart();
    this.#answered = false;
  }

  /** RFC 7395 §3.9: TLS is the WebSocket's, below HTTP. */
  startTls(): boolean {
    return false;
  }

  write(bytes: Buffer, start: number, end: number): void {
    const second = bytes[start + 1];
    if (second === 0x3f) return; // <?xml …?>
    if (second === 0x2f) this.#out.push(textFrame(closeElement(this.#host.seeOtherUri())));
    else if (this.#answered) this.#out.push(elementFrame(bytes, start, end));
    else {
      this.#answered = true;
      this.#out.push(textFrame(openFor(bytes, start, end)));
    }
  }

  flush(): void {
    const out = this.#out;
    if (out.length === 0) return;
    this.#out = [];
    if (this.#ws.readyState !== WebSocket.OPEN || !this.#socket.writable) return;
    const bytes = out.length === 1 ? out[0]! : Buffer.concat(out);
    this.#socket.write(bytes);
    bytesToClient.value += bytes.length;
    this.wroteAt = this.#host.clock.now();
  }

  keepAlive(): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    this.#ws.ping();
    this.wroteAt = this.#host.clock.now();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#ws.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#pingedAt = 0;
    // What is unread goes first, and not from inside the owner's call.
    process.nextTick(pumpLater, this);
    this.#ws.resume();
  }

  fence(): void {
    this.owner = null;
  }

  end(): void {
    if (this.#closed || this.#endedAt > 0) return;
    this.owner = null;
    this.#waiting = [];
    this.flush();
    this.#paused = false;
    this.#ws.resume();
    this.#endedAt = this.#host.clock.now();
    this.#ws.close(this.#closeCode);
  }

  drop(): void {
    this.owner = null;
    this.#ws.terminate();
  }

  sweep(now: number): void {
    if (this.#endedAt > 0) {
      if (now - this.#endedAt > LINGER_MS) this.#socket.destroy();
      return;
    }
    // Who is not read cannot answer.
    if (this.#paused) return;
    const { ping_interval: interval, pong_timeout: timeout } = this.#host.options();
    if (this.#pingedAt > this.heardAt) {
      if (now - this.#pingedAt >= timeout * 1000) this.#lost("link-silent");
    } else if (interval > 0 && now - Math.min(this.heardAt, this.wroteAt) >= interval * 1000) {
      this.keepAlive();
      this.#pingedAt = now;
    }
  }

  // ---- for the handlers below

  received(message: Buffer | null): void {
    this.#handled = true;
    if (this.owner === null) return;
    this.#waiting.push(message);
    this.pump();
  }

  /** The whole of a chunk was read. */
  chunkRead(length: number): void {
    this.heardAt = this.#host.clock.now();
    bytesFromClient.value += length;
    if (this.#handled) {
      this.#handled = false;
      this.#unread = 0;
      this.owner?.linkChunkEnd(this);
      return;
    }
    this.#unread += length;
    const most = this.#reader.limits.maxBytes;
    if (this.#unread > most + FRAMING_BYTES) this.#tooBig(`a message longer than ${most} bytes`);
  }

  controlFrame(length: number): void {
    this.#unread = Math.max(0, this.#unread - length - CONTROL_HEADER_BYTES);
  }

  pumpAndFlush(): void {
    if (this.#waiting.length === 0) return;
    this.pump();
    this.owner?.linkChunkEnd(this);
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#waiting.length > 0 && !this.#paused && this.owner !== null)
        this.#take(this.#waiting.shift()!, this.owner);
    } catch (thrown) {
      this.#waiting = [];
      brokenBy(thrown, this, this.owner, this.#host.log);
    } finally {
      this.#pumping = false;
    }
  }

  /** ws has refused what came and has said why in its Close frame: the owner has no say on the wire any more. */
  failed(error: Error & { code?: string }): void {
    if (error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH") return this.#tooBig(error.message);
    if (!error.code?.startsWith("WS_ERR_")) return; // the socket's; its end follows
    this.owner?.linkRefused(this, new FramingError("not-well-formed", error.message));
  }

  drained(): void {
    this.owner?.linkDrained(this);
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#out = [];
    this.#waiting = [];
    this.#host.janitor.remove(this);
    openWebSockets.value--;
    const owner = this.owner;
    this.owner = null;
    // Without <close/> first, even a WebSocket closed by its handshake is a lost link, to be resumed (RFC 7395 §3.6).
    owner?.linkLost(this, "link-lost");
  }

  // ---- messages

  #take(message: Buffer | null, owner: LinkOwner): void {
    if (message === null) {
      this.#closeCode = CLOSE_UNSUPPORTED;
      throw new FramingError("bad-format", "a binary message: XMPP is text (RFC 7395 §3.2)");
    }
    const frame = this.#reader.read(message);
    if (frame === null) return;
    if (frame === "close") owner.linkStreamEnd(this);
    else if (frame.kind === KIND.streamHeader) owner.linkHeader(this, frame);
    else owner.linkFrame(this, frame);
  }

  #tooBig(text: string): void {
    this.#closeCode = CLOSE_TOO_BIG;
    this.owner?.linkRefused(this, new FramingError("policy-violation", text));
  }

  #lost(reason: CloseReason): void {
    const owner = this.owner;
    this.drop();
    owner?.linkLost(this, reason);
  }
}

function onMessage(this: Linked<WebSocket>, data: unknown, isBinary: boolean): void {
  this[LINK]!.received(isBinary ? null : (data as Buffer));
}

function onControl(this: Linked<WebSocket>, data: Buffer): void {
  this[LINK]!.controlFrame(data.length);
}

function onError(this: Linked<WebSocket>, error: Error): void {
  this[LINK]!.failed(error);
}

function onData(this: Linked<Socket>, chunk: Buffer): void {
  this[LINK]!.chunkRead(chunk.length);
}

function onDrain(this: Linked<Socket>): void {
  this[LINK]!.drained();
}

function onClose(this: Linked<Socket>): void {
  this[LINK]!.closed();
}

function pumpLater(link: WebSocketLink): void {
  link.pumpAndFlush();
}
