import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../../base/clock.ts";
import type { Janitor } from "../../base/janitor.ts";
import type { Log } from "../../base/log.ts";
import { meter } from "../../base/meter.ts";
import type { Endpoint } from "../../session/ports.ts";
import type { Admission } from "../admission.ts";
import type { HttpOptions } from "../options.ts";
import { clientAddress } from "./forwarded.ts";
import { HttpConnection, type HttpConnectionInit, hasBody } from "./http-connection.ts";
import { answer, type HttpRoute, httpRefused, refuseUpgrade, type UpgradeRoute } from "./route.ts";
import { targetOf } from "./target.ts";

const requests = meter.counter("breakwater_http_requests_total", "Requests of browsers, by path and status", [
  "path",
  "status",
]);

export interface HttpHost {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  readonly admission: Admission;
  options(): HttpOptions;
}

// The handler is shared by all connections; the socket knows its own, as long as it is HTTP's.
const CONNECTION = Symbol("connection");
type HttpSocket = Socket & { [CONNECTION]?: HttpConnection | undefined };

/** What browsers find: some routes behind the limits of HTTP. Gets its sockets from the listeners. */
export class HttpPort {
  readonly #host: HttpHost;
  readonly #server: Server;
  readonly #routes = new Map<string, HttpRoute>();
  readonly #connections = new Set<HttpConnection>();
  #upgrade: UpgradeRoute | null = null;
  #stopping = false;

  constructor(host: HttpHost) {
    this.#host = host;
    const { max_header_bytes: maxHeaderSize } = host.options();
    this.#server = createServer(
      // Deadlines are HttpConnection's: those of Node's server only work when it listens by itself.
      {
        maxHeaderSize,
        keepAliveTimeout: 0,
        noDelay: true,
        shouldUpgradeCallback: (request) => this.#upgrades(request),
      },
      (request, response) => this.#answer(request, response),
    );
    this.#server.on("upgrade", (request, socket, head) => this.#leave(request, socket as Socket, head));
    this.#server.on("clientError", (error, socket) => this.#refuse(error, socket as Socket));
  }

  add(route: HttpRoute): void {
    this.#routes.set(route.path, route);
  }

  addUpgrade(route: UpgradeRoute): void {
    this.add(route);
    this.#upgrade = route;
  }

  /** A connection that speaks HTTP, encrypted or not. Its socket may hold bytes that were read and put back. */
  take(socket: HttpSocket, init: HttpConnectionInit): void {
    const connection = new HttpConnection(socket, init, this.#host, this.#connections);
    socket[CONNECTION] = connection;
    socket.on("close", onClose);
    this.#server.emit("connection", socket);
    socket.resume();
  }

  /** No further request on any connection; those that are being answered go on. */
  stop(): void {
    this.#stopping = true;
    for (const connection of this.#connections) if (connection.idle) connection.socket.destroy();
  }

  // ---- requests

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const connection = connectionOf(request);
    if (connection === null) return void request.socket.destroy();
    connection.began(request, response);
    if (connection.crowded) {
      httpRefused.inc("pipelined");
      return void request.socket.destroy();
    }
    response.once("close", () => this.#answered(connection));
    if (this.#stopping || connection.spent) response.shouldKeepAlive = false;
    const path = targetOf(request)?.path ?? null;
    const route = path === null ? undefined : this.#routes.get(path);
    if (connection.init.relayed !== true)
      response.once("finish", () => requests.inc(route?.path ?? "other", String(response.statusCode)));
    const refusal = refusalOf(request, path, route);
    if (refusal !== null) {
      // What may still come of a body is not worth reading.
      if (hasBody(request)) response.shouldKeepAlive = false;
      httpRefused.inc(refusal.reason);
      return answer(response, refusal.status, refusal.text, refusal.headers);
    }
    const { server, secure } = connection.init;
    route!.handle(request, response, clientOf(request, connection), server, secure);
  }

  // What was in progress when the port stopped was the connection's last.
  #answered({ idle, socket }: HttpConnection): void {
    if (this.#stopping && idle) socket.destroySoon();
  }

  #upgrades(request: IncomingMessage): boolean {
    return (
      this.#upgrade !== null &&
      request.headers.upgrade?.toLowerCase() === "websocket" &&
      targetOf(request)?.path === this.#upgrade.path &&
      hasOneHost(request) &&
      request.method === "GET" &&
      // An answer that is still due would come out between the messages (RFC 9110 §7.8).
      connectionOf(request)?.idle === true
    );
  }

  #leave(request: IncomingMessage, socket: HttpSocket, head: Buffer): void {
    const connection = connectionOf(request);
    if (connection === null || this.#stopping) return void socket.destroy();
    connection.release();
    socket[CONNECTION] = undefined;
    const client = clientOf(request, connection);
    const { admission } = this.#host;
    if (!admission.accepts) return refuseUpgrade(socket, 503, "draining", "Service Unavailable");
    if (connection.init.forwarded !== null) {
      if (!admission.claim(client.address)) return refuseUpgrade(socket, 429, "connections", "Too Many Requests");
      socket.once("close", () => admission.unclaim(client.address));
    }
    this.#upgrade!.upgrade(request, socket, head, client, connection.init.server);
  }

  // What is not HTTP, or too much of it (RFC 9112 §3, RFC 6585 §5).
  #refuse(error: Error & { code?: string }, socket: Socket): void {
    const tooLarge = error.code === "HPE_HEADER_OVERFLOW";
    // What the parser says; any other error is the connection's, which is gone.
    if (error.code?.startsWith("HPE_")) httpRefused.inc(tooLarge ? "header_size" : "malformed");
    const connection = (socket as HttpSocket)[CONNECTION];
    if (!socket.writable || connection === undefined || !connection.idle) return void socket.destroy();
    const status = tooLarge ? "431 Request Header Fields Too Large" : "400 Bad Request";
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
  }
}

function onClose(this: HttpSocket): void {
  this[CONNECTION]?.release();
}

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function refusalOf(request: IncomingMessage, path: string | null, route: HttpRoute | undefined): Refusal | null {
  if (path === null || !hasOneHost(request)) return { status: 400, reason: "malformed", text: "Bad request" };
  if (route === undefined) return { status: 404, reason: "path", text: "Not found" };
  if (!route.methods.includes(request.method ?? "")) {
    const headers = { Allow: route.methods.join(", ") };
    return { status: 405, reason: "method", text: "Method not allowed", headers };
  }
  const takesBody = route.methods.includes("POST");
  if (!takesBody && hasBody(request)) return { status: 413, reason: "body_size", text: "No body is taken here" };
  return null;
}

// RFC 9112 §3.2: two Host headers are two readings for two programs on the way. Node has refused a request without any.
function hasOneHost({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.toLowerCase() === "host") count++;
  return count === 1 || (count === 0 && httpVersion === "1.0");
}

function connectionOf(request: IncomingMessage): HttpConnection | null {
  return (request.socket as HttpSocket)[CONNECTION] ?? null;
}

function clientOf(request: IncomingMessage, { init }: HttpConnection): Endpoint {
  if (init.forwarded === null) return init.client;
  const value = request.headers[init.forwarded.header];
  const address = clientAddress(init.client.address, Array.isArray(value) ? value.join(",") : value, init.forwarded);
  // A balancer's connection is nobody's own, also where its header is missing: it has the requests of many clients.
  return { address, port: 0 };
}
