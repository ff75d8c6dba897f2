import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { Mailbox } from "../../support/clients/mailbox.ts";
import { Wire } from "../../support/wire.ts";

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameIn {
  fin?: boolean;
  rsv?: number;
  op: number;
  payload?: string | Buffer;
  /** Without: a fault of the client's. */
  masked?: boolean;
  /** Announced, where it is not the payload's. */
  length?: number;
}

export function frame({ fin = true, rsv = 0, op, payload = "", masked = true, length }: FrameIn): Buffer {
  const data = Buffer.from(payload as string);
  const size = length ?? data.length;
  const head = [((fin ? 1 : 0) << 7) | (rsv << 4) | op];
  const bit = masked ? 0x80 : 0;
  if (size < 126) head.push(bit | size);
  else if (size < 65_536) head.push(bit | 126, size >> 8, size & 255);
  else head.push(bit | 127, 0, 0, 0, 0, size >>> 24, (size >> 16) & 255, (size >> 8) & 255, size & 255);
  if (!masked) return Buffer.concat([Buffer.from(head), data]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, data.map((byte, i) => byte ^ key[i & 3]!)]);
}

interface FrameOut {
  readonly op: number;
  readonly compressed: boolean;
  readonly payload: Buffer;
}

/** A WebSocket by hand. */
export class Peer {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  readonly frames = new Mailbox<FrameOut>(({ op, payload }) => `${op}: ${payload}`);
  /** What the handshake was answered with. */
  readonly head: string;
  readonly wire: Wire;
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket, head: string, wire: Wire) {
    this.socket = socket;
    this.head = head;
    this.wire = wire;
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.once("close", () => this.frames.close("the connection was closed"));
    socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#read();
    });
  }

  send(...frames: FrameIn[]): void {
    this.socket.write(Buffer.concat(frames.map(frame)));
  }

  async next(op: number): Promise<Buffer> {
    return (await this.nextFrame(op)).payload;
  }

  nextFrame(op: number): Promise<FrameOut> {
    return this.frames.take((one) => one.op === op, `a frame with opcode ${op}`);
  }

  async closeCode(): Promise<number> {
    const payload = await this.next(OP.close);
    return payload.length === 0 ? 1005 : payload.readUInt16BE(0);
  }

  #read(): void {
    for (;;) {
      const bytes = this.#bytes;
      if (bytes.length < 2) return;
      assert.equal(bytes[1]! & 0x80, 0, "a server masks nothing (RFC 6455 §5.1)");
      assert.equal(bytes[0]! & 0xb0, 0x80, "whole messages, no reserved bits but for compression");
      const compressed = (bytes[0]! & 0x40) !== 0;
      if (compressed) assert.match(this.head, /\r\nSec-WebSocket-Extensions: permessage-deflate;/);
      const short = bytes[1]! & 0x7f;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (bytes.length < head) return;
      const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
      if (bytes.length < head + length) return;
      this.frames.push({ op: bytes[0]! & 15, compressed, payload: bytes.subarray(head, head + length) });
      this.#bytes = bytes.subarray(head + length);
    }
  }
}

const HANDSHAKE = [
  "GET /ws HTTP/1.1",
  "Host: localhost",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Protocol: xmpp",
];

export interface PeerOptions {
  /** Further YAML of the edge. */
  config?: string;
  /** Further lines of the handshake. */
  headers?: readonly string[];
}

export async function peer(t: TestContext, { config, headers = [] }: PeerOptions = {}): Promise<Peer> {
  let socket: Socket | null = null;
  // Before the edge stops, which would wait for it.
  t.after(() => socket?.destroy());
  const wire = await Wire.start(t, config === undefined ? {} : { config });
  socket = connect(wire.edge.http, "127.0.0.1");
  socket.write(`${[...HANDSHAKE, ...headers].join("\r\n")}\r\n\r\n`);
  const head = String((await once(socket, "data"))[0]);
  assert.match(head, /^HTTP\/1\.1 101 /);
  // The example of RFC 6455 §1.3.
  assert.match(head, /\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
  assert.match(head, /\r\nSec-WebSocket-Protocol: xmpp\r\n/);
  return new Peer(socket, head, wire);
}

export const OPEN = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";

/** A stream, so that text is answered. */
export async function opened(t: TestContext, options: PeerOptions = {}): Promise<Peer> {
  const one = await peer(t, options);
  one.send({ op: OP.text, payload: OPEN });
  await one.next(OP.text);
  await one.next(OP.text);
  return one;
}
