import type { IncomingMessage, ServerResponse } from "node:http";
import type { Endpoint } from "../../session/ports.ts";

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

type Headers = Readonly<Record<string, string>>;
