import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { Body } from "./body.ts";

/** The level that a phone's or browser's answer is worth: deeper ones gain little on a few kilobytes. */
const GZIP = { level: 5 };

/** How an answer to a request has to look. */
export interface Reply {
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the client takes gzip. */
  readonly gzip: boolean;
}

/** One HTTP request of a client: until its answer is taken, and as long as the answer is remembered. */
export class Exchange {
  readonly rid: number;
  /** XEP-0124 §15, as it came. */
  readonly key: string | undefined;
  /** `performance.now()` when the request was complete. */
  arrivedAt: number;
  /** From this size on the answer is compressed; 0: never. */
  gzipFrom = 0;
  // Null before the request has had its turn is never; after that nobody needs it.
  #body: Body | null;
  #reply: Reply | null = null;
  #onGone: (() => void) | null = null;

  constructor(rid: number, body: Body, reply: Reply, arrivedAt: number) {
    this.rid = rid;
    this.key = body.attributes.get("key");
    this.arrivedAt = arrivedAt;
    this.#body = body;
    this.#use(reply);
  }

  /** Until `release`. */
  get body(): Body {
    return this.#body!;
  }

  /** The request has had its turn: only its answer is still of interest. */
  release(): void {
    this.#body = null;
  }

  /** Has payload, or changes the stream. */
  get matters(): boolean {
    return this.body.payload.length > 0 || this.body.restart;
  }

  get pauses(): boolean {
    return this.body.attributes.has("pause");
  }

  get terminates(): boolean {
    return this.body.attributes.get("type") === "terminate";
  }

  /** The connection is through with it: the answer was taken, or nobody is there to take it. */
  get closed(): boolean {
    return this.#reply === null;
  }

  /** Called when the connection is through with it. */
  set onGone(tell: () => void) {
    this.#onGone = tell;
  }

  /** The same request came again and takes over; what it replaces is answered with `error`. */
  replacedBy(again: Exchange, error: Buffer): void {
    this.answer(error);
    this.arrivedAt = again.arrivedAt;
    if (again.#reply !== null) this.#use(again.#reply);
  }

  /** How many bytes went: none when nobody is there. `status`: for clients before BOSH 1.6. */
  answer(bytes: Buffer, status = 200): number {
    const reply = this.#reply;
    if (reply === null || reply.response.headersSent) return 0;
    const compress = reply.gzip && this.gzipFrom > 0 && bytes.length >= this.gzipFrom;
    const sent = compress ? gzipSync(bytes, GZIP) : bytes;
    const headers: Record<string, string | number> = { ...reply.headers, "Content-Length": sent.length };
    if (compress) headers["Content-Encoding"] = "gzip";
    reply.response.writeHead(status, headers);
    reply.response.end(sent);
    return sent.length;
  }

  /** Drops the connection with whatever waits in it. */
  drop(): void {
    this.#onGone = null;
    this.#reply?.response.destroy();
  }

  #use(reply: Reply): void {
    const { response } = reply;
    if (response.closed) return;
    this.#reply = reply;
    response.once("close", () => {
      if (this.#reply?.response !== response) return;
      this.#reply = null;
      this.#onGone?.();
      this.#onGone = null;
    });
  }
}
