import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { meter } from "../../base/meter.ts";
import type { Endpoint } from "../../session/ports.ts";

export const httpRefused = meter.counter(
  "breakwater_http_refused_total",
  "Requests and connections of browsers refused, by reason",
  ["reason"],
);

/** One path that browsers find. The port has checked path and method, and the client's true address is known. */
export interface HttpRoute {
  readonly path: string;
  /** Anything else is answered 405. A request with a body is refused unless POST is among them. */
  readonly methods: readonly string[];
  /**
   * Answers the request, now or later; until then the connection has no deadline, except for a body that is still on
   * its way. `secure`: encrypted, or declared trusted by its listener.
   */
  handle(request: IncomingMessage, response: ServerResponse, client: Endpoint, server: Endpoint, secure: boolean): void;
}

/** The route for `Upgrade: websocket`; what comes to it without that header is answered by `handle`. */
export interface UpgradeRoute extends HttpRoute {
  /** Takes the socket over, or answers on it and ends it (`refuseUpgrade`). */
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer, client: Endpoint, server: Endpoint): void;
}

/** A short answer that is the same for everybody. */
export function answer(response: ServerResponse, status: number, text: string, headers: Headers = {}): void {
  const body = Buffer.from(`${text}\n`);
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": body.length,
    ...headers,
  });
  response.end(body);
}

/** The same where the socket has left HTTP; counted under `reason`. */
export function refuseUpgrade(socket: Socket, status: number, reason: string, text: string, headers = ""): void {
  httpRefused.inc(reason);
  socket.on("error", () => {});
  const body = `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`,
    () => socket.destroy(),
  );
}

type Headers = Readonly<Record<string, string>>;
