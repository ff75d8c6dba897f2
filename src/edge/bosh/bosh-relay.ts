import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, request as send } from "node:http";
import { connect, type Socket } from "node:net";
import { constants, gunzipSync } from "node:zlib";
import { secretId } from "../../base/ids.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { Seat } from "../../base/seat.ts";
import type { Endpoint } from "../../session/ports.ts";
import { contentEncoding } from "../http/body.ts";
import { hasBody } from "../http/http-connection.ts";
import { answer, type HttpRoute, httpRefused } from "../http/route.ts";
import { sidIn } from "./body.ts";

const relayed = meter.counter(
  "breakwater_bosh_relayed_total",
  "BOSH requests handed to the worker that has their session",
);

/** Tells the client's address to the process that has the session. */
export const RELAYED_FOR = "x-forwarded-for" as const;
/** So far the sid is looked for: a `<body ...>` is shorter. Compressed, this is a megabyte at most. */
const PEEK_BYTES = 16_384;
const PEEK_GZIP_BYTES = 1024;
/** They are about one connection (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"];

/** A session id; with several processes it begins with the number of the one that has the session. */
export function newSid(seat: Seat | null): string {
  return seat === null ? secretId() : `${seat.number}.${secretId()}`;
}

interface OwnSessions extends HttpRoute {
  has(sid: string): boolean;
}

/**
 * BOSH where several processes share the ports: a request may reach any of them, on connections that the client chooses
 * anew. One whose sid names another process is handed on to it, as it comes, and its answer goes back, as through any
 * HTTP proxy.
 */
export class BoshRelay implements HttpRoute {
  readonly path: string;
  readonly methods: readonly string[];
  readonly #own: OwnSessions;
  readonly #seat: Seat;
  readonly #log: Log;

  constructor(own: OwnSessions, seat: Seat, log: Log) {
    this.path = own.path;
    this.methods = own.methods;
    this.#own = own;
    this.#seat = seat;
    this.#log = log;
  }

  handle(
    request: IncomingMessage,
    response: ServerResponse,
    client: Endpoint,
    server: Endpoint,
    secure: boolean,
  ): void {
    const here = (): void => this.#own.handle(request, response, client, server, secure);
    if (request.method !== "POST" || !hasBody(request)) return here();
    peek(request, (soFar) => {
      const owner = this.#ownerOf(sidIn(soFar));
      if (owner === null) here();
      else this.#handOn(owner, request, response, client, here);
    });
  }

  /** The socket of the process that has the session; null: this one, or none. */
  #ownerOf(sid: string | null): string | null {
    const { number, sockets, before = null } = this.#seat;
    const owner = Number(/^(\d{1,3})\./.exec(sid ?? "")?.[1]);
    if (owner !== number) return sockets[owner - 1] ?? null;
    return this.#own.has(sid!) ? null : before;
  }

  #handOn(path: string, request: IncomingMessage, response: ServerResponse, client: Endpoint, here: () => void): void {
    const socket = connect({ path });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (response.closed) return;
      // Its process has ended, and the session with it: no session of this sid is known here either.
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") return here();
      this.#unavailable(error, request, response);
    });
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      if (response.closed) return void socket.destroy();
      relayed.inc();
      this.#exchange(socket, request, response, client);
    });
  }

  #exchange(socket: Socket, request: IncomingMessage, response: ServerResponse, client: Endpoint): void {
    const headers = { ...endToEnd(request.headers), [RELAYED_FOR]: client.address };
    const passed = send({ createConnection: () => socket, method: "POST", path: this.path, headers });
    passed.on("error", (error) => this.#unavailable(error, request, response));
    passed.once("response", (answered) => {
      // What may still come of the body is not worth reading.
      if (!request.complete) response.shouldKeepAlive = false;
      response.writeHead(answered.statusCode ?? 502, endToEnd(answered.headers));
      answered.on("error", () => response.destroy());
      answered.pipe(response);
    });
    response.once("close", () => {
      if (!response.writableFinished) socket.destroy();
    });
    request.pipe(passed);
  }

  // The client asks again: if the session is gone by then, it is told so.
  #unavailable(error: Error, request: IncomingMessage, response: ServerResponse): void {
    if (response.closed) return;
    if (response.headersSent) return void response.destroy();
    this.#log.warn("a BOSH request could not be handed to its worker", { error: error.message });
    httpRefused.inc("worker");
    if (!request.complete) response.shouldKeepAlive = false;
    const { origin } = request.headers;
    const cors = origin === undefined ? {} : { "Access-Control-Allow-Origin": origin, Vary: "Origin" };
    answer(response, 503, "The worker that has this session does not answer; try again", cors);
  }
}

/** Looks at how a body begins, and leaves the request as if nothing of it had been read. */
function peek(request: IncomingMessage, look: (soFar: Buffer) => void): void {
  const gzip = contentEncoding(request) === "gzip";
  const enough = gzip ? PEEK_GZIP_BYTES : PEEK_BYTES;
  let read: Buffer = Buffer.alloc(0);
  const onReadable = (): void => {
    for (let chunk = request.read(); chunk !== null; chunk = request.read()) read = Buffer.concat([read, chunk]);
    const soFar = gzip ? inflatedStart(read.subarray(0, enough)) : read;
    if (sidIn(soFar) === null && read.length < enough && !request.complete) return;
    request.off("readable", onReadable);
    if (read.length > 0) request.unshift(read);
    look(soFar);
  };
  request.on("readable", onReadable);
}

function inflatedStart(bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return Buffer.alloc(0); // no gzip: that is told where it is read
  }
}

function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}
