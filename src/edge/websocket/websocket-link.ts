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
import { untakenBytes } from "../untaken.ts";
import type { DeflateTerms } from "./deflate-offer.ts";
import { listen, type WebSocketEvents } from "./events.ts";
import { Inflater } from "./inflater.ts";
import { CLOSE, MessageError } from "./message-error.ts";
import { MessageReader } from "./message-reader.ts";
import { MessageWriter } from "./message-writer.ts";
import { Patience } from "./patience.ts";
import type { WebSocketHost } from "./websocket-port.ts";

const openWebSockets = openLinks.cell("websocket");

/** Frame headers and control frames that may come with a message of the greatest size. */
const FRAMING_BYTES = 16 * 1024;
const CONTROL_HEADER_BYTES = 6;
const NOTHING: Buffer = Buffer.alloc(0);

export interface WebSocketInit {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly limits: FramerLimits;
  /** Null: nothing is compressed. */
  readonly deflate: (DeflateTerms & { readonly beforeLogin: boolean }) | null;
}

/**
 * A client on WebSocket (RFC 7395). Reads with ws, writes its own frames: one socket write per flush, whatever the number
 * of messages in it. The stream inside looks to its owner like one on TCP.
 */
export class WebSocketLink implements Link, Sweepable, WebSocketEvents {
  readonly id = nextLinkId();
  readonly transport = "websocket";
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly secure = true;
  owner: LinkOwner | null = null;
  heardAt: number;
  wroteAt: number;
  #flushedBytes = 0;
  #takenBytes = 0;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #host: WebSocketHost;
  readonly #reader: MessageReader;
  readonly #writer: MessageWriter;
  readonly #inflater: Inflater | null;
  // Messages that came while nothing is read; null: a binary one.
  #waiting: (Buffer | null)[] = [];
  #paused = false;
  #pumping = false;
  #handled = false;
  // Bytes since the last complete message, by chunks.
  #unread = 0;
  #pingedAt = 0;
  readonly #patience = new Patience();
  #closeCode: number = CLOSE.normal;
  #endedAt = 0;
  #closed = false;

  constructor(ws: WebSocket, socket: Socket, init: WebSocketInit, host: WebSocketHost) {
    this.client = init.client;
    this.server = init.server;
    this.#ws = ws;
    this.#socket = socket;
    this.#host = host;
    this.#reader = new MessageReader(init.limits);
    const { deflate } = init;
    this.#writer = new MessageWriter(() => host.seeOtherUri(), deflate?.windowBits ?? null);
    this.#inflater = deflate === null ? null : new Inflater(ws, deflate.beforeLogin);
    this.heardAt = this.wroteAt = host.clock.now();
    listen(ws, socket, this);
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

  get writtenBytes(): number {
    return this.#writer.bytes;
  }

  get takenBytes(): number {
    const untaken = untakenBytes(this.#socket);
    // A ping before it counts as not taken, for a moment.
    if (untaken !== null) this.#takenBytes = Math.max(this.#takenBytes, this.#flushedBytes - untaken);
    return this.#takenBytes;
  }

  /** Called once, when the client has logged in. */
  setLimits(limits: FramerLimits): void {
    this.#reader.limits = limits;
    this.#inflater?.loggedIn();
    this.#writer.loggedIn();
  }

  restartStream(): void {
    this.#reader.restart();
    this.#writer.restart();
  }

  /** RFC 7395 §3.9: TLS is the WebSocket's, below HTTP. */
  startTls(): "pipelined" {
    return "pipelined";
  }

  write(bytes: Buffer, start: number, end: number): void {
    this.#writer.write(bytes, start, end);
  }

  flush(): void {
    const bytes = this.#writer.take();
    if (bytes === null || this.#ws.readyState !== WebSocket.OPEN || !this.#socket.writable) return;
    this.#noteTaken(); // of what was written before: this write may fail
    this.#socket.write(bytes);
    this.#flushedBytes += bytes.length;
    this.#noteTaken();
    bytesToClient.value += bytes.length;
    this.wroteAt = this.#host.clock.now();
  }

  // Kept for when the socket is gone.
  #noteTaken(): void {
    if (this.#socket.writableLength === 0) this.#takenBytes = this.#flushedBytes;
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

  recall(): void {
    if (this.takenBytes < this.writtenBytes) this.drop();
  }

  sweep(now: number): void {
    if (this.#endedAt > 0) {
      if (now - this.#endedAt > LINGER_MS) this.#socket.destroy();
      return;
    }
    // Who is not read cannot answer.
    if (this.#paused) return;
    const { ping_interval: interval, pong_timeout: timeout } = this.#host.options();
    this.#patience.look(now, this.writtenBytes, this.takenBytes);
    if (this.#pingedAt > this.heardAt) {
      if (this.#patience.isOver(now, this.#pingedAt, timeout * 1000, this.writtenBytes)) this.#lost("link-silent");
    } else if (interval > 0 && now - Math.min(this.heardAt, this.wroteAt) >= interval * 1000) {
      this.keepAlive();
      this.#pingedAt = now;
    }
  }

  // ---- events

  received(message: Buffer | null): void {
    this.#handled = true;
    if (this.owner === null) return;
    this.#waiting.push(message);
    this.pump();
  }

  /** The whole of a chunk was read. */
  chunkRead(length: number): void {
    this.heardAt = this.#host.clock.now();
    this.#patience.heard(this.writtenBytes);
    bytesFromClient.value += length;
    this.#inflate();
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

  /** Takes what came while nothing was read. */
  pumpAndFlush(): void {
    if (this.#waiting.length === 0 && !this.#inflater?.waiting) return;
    this.pump();
    this.#inflate();
    this.#handled = false;
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
      this.#broken(thrown);
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
    this.#noteTaken();
    this.owner?.linkDrained(this);
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer.clear();
    this.#waiting = [];
    this.#host.janitor.remove(this);
    openWebSockets.value--;
    const owner = this.owner;
    this.owner = null;
    // Without <close/> first, even a WebSocket closed by its handshake is a lost link, to be resumed (RFC 7395 §3.6).
    owner?.linkLost(this, "link-lost");
  }

  // ---- messages

  // ws has stopped at a compressed frame of the chunk, and goes on from in here when it has it back.
  #inflate(): void {
    const inflater = this.#inflater;
    if (!inflater?.waiting) return;
    // Of what the frame adds to a message, the inflater keeps count.
    this.#handled = true;
    while (inflater.waiting && !this.#paused) {
      let message = NOTHING;
      try {
        if (this.owner !== null) message = inflater.read(this.#reader.limits.maxBytes);
      } catch (thrown) {
        this.#broken(thrown);
      }
      inflater.release(message);
    }
  }

  #take(message: Buffer | null, owner: LinkOwner): void {
    if (message === null) {
      throw new MessageError(CLOSE.unsupported, "bad-format", "a binary message: XMPP is text (RFC 7395 §3.2)");
    }
    const frame = this.#reader.read(message);
    if (frame === null) return;
    if (frame === "close") owner.linkStreamEnd(this);
    else if (frame.kind === KIND.streamHeader) owner.linkHeader(this, frame);
    else owner.linkFrame(this, frame);
    this.#reader.release();
  }

  #tooBig(text: string): void {
    this.#broken(new MessageError(CLOSE.tooBig, "policy-violation", text));
  }

  #broken(thrown: unknown): void {
    if (thrown instanceof MessageError) this.#closeCode = thrown.closeCode;
    brokenBy(thrown, this, this.owner, this.#host.log);
  }

  #lost(reason: CloseReason): void {
    const owner = this.owner;
    this.drop();
    owner?.linkLost(this, reason);
  }
}

function pumpLater(link: WebSocketLink): void {
  link.pumpAndFlush();
}
