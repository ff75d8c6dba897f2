import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Sweepable } from "../../base/janitor.ts";
import type { Endpoint } from "../../session/ports.ts";
import type { ForwardedBy } from "./forwarded.ts";
import type { HttpHost } from "./http-port.ts";
import { httpRefused } from "./route.ts";

/** What the listener knows of a connection. */
export interface HttpConnectionInit {
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** Encrypted, or declared trusted by its listener. */
  readonly secure: boolean;
  /** Which header tells the client's address; null: `client` is the true one. */
  readonly forwarded: ForwardedBy | null;
  /** Another process of this edge has it from the client, and counts what it hands on. */
  readonly relayed?: boolean;
}

/** Requests that may wait for their answers on one connection. Pipelining is for few: each one costs memory. */
const MAX_PIPELINED = 16;
/** A long answer or body may take this much longer: 2 KB/s are no standstill. */
const MS_PER_BYTE = 0.5;

/**
 * One socket that speaks HTTP: its deadlines. Janitor-driven; a request in progress has none but for its body, and for
 * an answer that nobody takes.
 */
export class HttpConnection implements Sweepable {
  readonly socket: Socket;
  readonly init: HttpConnectionInit;
  readonly #host: HttpHost;
  readonly #all: Set<HttpConnection>;
  #deadlineAt: number;
  #timeout: "header" | "body" | "idle" = "header";
  #requests = 0;
  #served = 0;
  #bodies = 0;
  // Bytes that had come when the body that is waited for began.
  #readBefore = 0;
  // Bytes of answers that waited at the last look, and when they last became fewer.
  #pending = 0;
  #takenAt = 0;

  /** Is one of `all` until it is released. */
  constructor(socket: Socket, init: HttpConnectionInit, host: HttpHost, all: Set<HttpConnection>) {
    this.socket = socket;
    this.init = init;
    this.#host = host;
    this.#all = all;
    this.#deadlineAt = host.clock.now() + host.options().header_timeout * 1000;
    host.janitor.add(this);
    all.add(this);
  }

  /** No request is being answered. */
  get idle(): boolean {
    return this.#requests === 0;
  }

  /** It has had all the requests that one connection may have. */
  get spent(): boolean {
    return this.#served >= this.#host.options().max_requests;
  }

  /** More requests than may wait have come: the connection is closed. */
  get crowded(): boolean {
    return this.#requests > MAX_PIPELINED;
  }

  began(request: IncomingMessage, response: ServerResponse): void {
    const { clock, options } = this.#host;
    this.#requests++;
    this.#served++;
    response.once("close", () => {
      this.#requests--;
      this.#takenAt = clock.now();
      this.#wait();
    });
    if (!hasBody(request)) return this.#wait();
    this.#bodies++;
    this.#timeout = "body";
    this.#readBefore = this.socket.bytesRead;
    this.#deadlineAt = clock.now() + options().body_timeout * 1000;
    request.once("close", () => {
      this.#bodies--;
      this.#wait();
    });
  }

  /** The socket is gone, or no longer HTTP's. */
  release(): void {
    this.#host.janitor.remove(this);
    this.#all.delete(this);
  }

  sweep(now: number): void {
    if (this.#takesNothing(now)) this.#giveUp("write");
    else if (now >= this.#deadlineAt + this.#bodyMs) this.#giveUp(this.#timeout);
  }

  // For what has come of a body. What never comes gives no time.
  get #bodyMs(): number {
    return this.#timeout === "body" ? (this.socket.bytesRead - this.#readBefore) * MS_PER_BYTE : 0;
  }

  // TCP alone never gives up a peer that is there and does not read. A write counts as taken when all of it is.
  #takesNothing(now: number): boolean {
    const pending = this.socket.writableLength;
    if (pending === 0 || pending < this.#pending || this.#pending === 0) this.#takenAt = now;
    this.#pending = pending;
    const patience = this.#host.options().write_timeout * 1000 + pending * MS_PER_BYTE;
    return pending > 0 && now - this.#takenAt >= patience;
  }

  #giveUp(what: "header" | "body" | "idle" | "write"): void {
    httpRefused.inc(`${what}_timeout`);
    this.release();
    this.socket.destroy();
  }

  #wait(): void {
    if (this.#bodies > 0) return;
    this.#timeout = "idle";
    const { clock, options } = this.#host;
    this.#deadlineAt = this.idle ? clock.now() + options().idle_timeout * 1000 : Number.POSITIVE_INFINITY;
  }
}

export function hasBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && Number(length) !== 0);
}
