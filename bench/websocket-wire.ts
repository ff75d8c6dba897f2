import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { closed, type LoadTarget, NO_OWNER, openSocket, type Wire } from "./wire.ts";

const FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** XMPP over WebSocket (RFC 7395), with no more of RFC 6455 than a client of well-behaved servers needs. */
export class WebSocketWire implements Wire {
  readonly xmlns = " xmlns='jabber:client'";
  onBytes: Wire["onBytes"] = NO_OWNER;
  onLost: Wire["onLost"] = NO_OWNER;
  readonly #socket: Socket;
  readonly #domain: string;
  #rest: Buffer | null = null;
  #ending = false;

  private constructor(socket: Socket, domain: string) {
    this.#socket = socket;
    this.#domain = domain;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("error", (error) => this.onLost(error.message));
    socket.on("close", () => this.onLost("closed"));
  }

  static async connect(target: LoadTarget): Promise<WebSocketWire> {
    const socket = await openSocket(target);
    socket.write(
      `GET ${target.http!.path} HTTP/1.1\r\nHost: ${target.domain}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n` +
        `Sec-WebSocket-Protocol: xmpp\r\nOrigin: https://${target.domain}\r\n\r\n`,
    );
    // A server says nothing more until the client has opened the stream.
    let head = "";
    while (!head.includes("\r\n\r\n")) head += ((await once(socket, "data")) as [Buffer])[0].toString("latin1");
    if (!head.startsWith("HTTP/1.1 101")) throw new Error(`WebSocket refused: ${head}`);
    return new WebSocketWire(socket, target.domain);
  }

  open(): void {
    this.write(Buffer.from(`<open xmlns='${FRAMING}' to='${this.#domain}' version='1.0' xml:lang='en'/>`));
  }

  write(...elements: Buffer[]): void {
    const frames = elements.map((element) => frame(TEXT, element));
    this.#socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
  }

  async end(): Promise<void> {
    this.#ending = true;
    if (!this.#socket.destroyed) this.write(Buffer.from(`<close xmlns='${FRAMING}'/>`));
    await closed(this.#socket);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    let bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    while (bytes.length > 0) {
      const start = bytes[1] === 126 ? 4 : 2;
      const length = bytes.length < start ? 0 : start === 4 ? bytes.readUInt16BE(2) : bytes[1]!;
      if (bytes.length < start + length) {
        this.#rest = bytes;
        return;
      }
      this.#message(bytes[0]!, bytes.subarray(start, start + length));
      bytes = bytes.subarray(start + length);
    }
  }

  #message(first: number, payload: Buffer): void {
    if (first === (0x80 | TEXT)) {
      // The one who has asked for the end closes the WebSocket (RFC 7395 §3.6).
      if (this.#ending && payload.includes("<close")) this.#socket.end(frame(CLOSE, Buffer.alloc(0)));
      else this.onBytes(payload);
    } else if (first === (0x80 | PING)) this.#socket.write(frame(PONG, payload));
    else if (first === (0x80 | CLOSE)) this.#socket.end(frame(CLOSE, payload));
    else if (first !== (0x80 | PONG)) {
      this.onLost(`a WebSocket frame that begins with ${first}`);
      this.#socket.destroy();
    }
  }
}

function frame(kind: number, payload: Buffer): Buffer {
  const start = payload.length < 126 ? 6 : 8;
  const bytes = Buffer.allocUnsafe(start + payload.length);
  bytes[0] = 0x80 | kind;
  bytes[1] = 0x80 | Math.min(payload.length, 126);
  if (start === 8) bytes.writeUInt16BE(payload.length, 2);
  const mask = start - 4;
  bytes.writeInt32BE((Math.random() * 0x1_0000_0000) | 0, mask);
  for (let i = 0; i < payload.length; i++) bytes[start + i] = payload[i]! ^ bytes[mask + (i & 3)]!;
  return bytes;
}
