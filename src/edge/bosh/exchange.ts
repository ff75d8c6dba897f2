import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { type Body, readNumber } from "./body.ts";

/** The level that a phone's or browser's answer is worth: deeper ones gain little on a few kilobytes. */
const GZIP = { level: 5 };

/** How an answer to a request has to look. */
export interface Reply {
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the client takes gzip. */
  readonly gzip: boolean;
  /** The port of the client, when the connection is its own; null behind a proxy, which has those of many clients. */
  readonly connection: number | null;
}

/** One HTTP request of a client: until its answer is taken, and as long as the answer is remembered. */
export class Exchange {
  readonly rid: number;
  /** XEP-0124 §15, as it came. */
  readonly key: string | undefined;
  /** Has payload, or changes the stream. */
  readonly matters: boolean;
  /** For how many seconds the client will be away (XEP-0124 §10); null: it has not said so. */
  readonly pause: number | null;
  readonly terminates: boolean;
  /** Of the request that is answered. */
  connection: number | null;
  /** `performance.now()` when the request was complete. */
  arrivedAt: number;
  /** From this size on the answer is compressed; 0: never. */
  gzipFrom = 0;
  // Null once the request has had its turn.
  #body: Body | null;
  #reply: Reply | null = null;

  constructor(rid: number, body: Body, reply: Reply, arrivedAt: number) {
    const { attributes } = body;
    this.rid = rid;
    this.key = attributes.get("key");
    this.matters = body.payload.length > 0 || body.restart;
    this.pause = readNumber(attributes.get("pause"));
    this.terminates = attributes.get("type") === "terminate";
    this.arrivedAt = arrivedAt;
    this.#body = body;
    this.connection = reply.connection;
    this.#use(reply);
  }

  /** Hands the body over, once: from then on only the answer is of interest. */
  takeBody(): Body {
    const body = this.#body!;
    this.#body = null;
    return body;
  }

  /** The connection is through with it: the answer was taken, or nobody is there to take it. */
  get closed(): boolean {
    return this.#reply === null;
  }

  /** The same request came again and takes over; what it replaces is answered with `error`. */
  replacedBy(again: Exchange, error: Buffer): void {
    this.answer(error);
    this.arrivedAt = again.arrivedAt;
    this.connection = again.connection;
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
    this.#reply?.response.destroy();
    this.#reply = null;
  }

  #use(reply: Reply): void {
    const { response } = reply;
    if (response.closed) return;
    this.#reply = reply;
    response.once("close", () => {
      if (this.#reply?.response === response) this.#reply = null;
    });
  }
}
