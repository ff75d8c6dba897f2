import type { Socket } from "node:net";
import type { WebSocket } from "ws";

/** What a WebSocket and the socket below it tell. */
export interface WebSocketEvents {
  /** Null: a binary message. */
  received(message: Buffer | null): void;
  /** A ping or pong with so many bytes of data. */
  controlFrame(length: number): void;
  /** ws has refused what came, or the socket failed: `code` tells. */
  failed(error: Error & { code?: string }): void;
  /** ws has seen the whole of a chunk. */
  chunkRead(length: number): void;
  drained(): void;
  closed(): void;
}

// Handlers are shared by all links; socket and WebSocket know their own.
const LINK = Symbol("link");
type Linked<T> = T & { [LINK]?: WebSocketEvents };

export function listen(ws: WebSocket, socket: Socket, link: WebSocketEvents): void {
  (ws as Linked<WebSocket>)[LINK] = link;
  (socket as Linked<Socket>)[LINK] = link;
  ws.on("message", onMessage);
  ws.on("ping", onControl);
  ws.on("pong", onControl);
  ws.on("error", onError);
  // Behind ws's own listener: what a chunk completes has been handed over by then.
  socket.on("data", onData);
  socket.on("drain", onDrain);
  socket.on("close", onClose);
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
