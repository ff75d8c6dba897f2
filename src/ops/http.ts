import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import type { Address } from "../base/option-types.ts";
import { handleOf, type SocketHandle } from "../base/socket-handle.ts";
import type { Failure } from "./health.ts";

export interface OpsServer {
  /** Where it listens: with port 0 in the options, the one that was free. */
  readonly address: Address;
  /** Its socket: for a process that takes this one's place. */
  readonly handle: SocketHandle | null;
  /** Takes no new request, and drops the connections that are open. */
  close(): Promise<void>;
}

/** What the server tells: of this process, or of all workers. */
export interface Told {
  readonly health: { failures(): readonly Failure[] | Promise<readonly Failure[]> };
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

export interface OpsInit extends Told {
  readonly listen: Address;
  /** In place of `listen`: the socket of the process before this one. */
  readonly socket?: SocketHandle | null;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const JSON_TYPE = "application/json; charset=utf-8";
const TEXT_TYPE = "text/plain; charset=utf-8";

/**
 * Serves `/metrics`, `/healthz` (200 while the event loop turns) and `/readyz` (200, or 503 with the checks that fail).
 * Rejects with BW_OPS_LISTEN when the address cannot be had.
 */
export async function startOpsServer(options: OpsInit): Promise<OpsServer> {
  const server = createServer({
    maxHeaderSize: 8192,
    headersTimeout: 5000,
    requestTimeout: 10_000,
    keepAliveTimeout: 5000,
  });
  server.maxConnections = 64;
  server.maxRequestsPerSocket = 1000;
  server.on("request", (request, response) => {
    answer(request, options)
      .catch((error): Answer => ({ status: 500, type: TEXT_TYPE, body: `${messageOf(error)}\n` }))
      .then((result) => send(request, response, result));
  });
  await listening(server, options);
  const { address, port } = server.address() as AddressInfo;
  return {
    address: { host: address, port },
    handle: handleOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, { health, metrics }: Told): Promise<Answer> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return { status: 405, type: TEXT_TYPE, body: "only GET and HEAD\n" };
  switch (request.url?.split("?", 1)[0]) {
    case "/metrics":
      return { status: 200, type: metrics.contentType, body: await metrics.text() };
    case "/healthz":
      return { status: 200, type: JSON_TYPE, body: '{"status":"ok"}\n' };
    case "/readyz":
      return readiness(await health.failures());
    default:
      return { status: 404, type: TEXT_TYPE, body: "there is /metrics, /healthz and /readyz\n" };
  }
}

function readiness(failing: readonly Failure[]): Answer {
  const ready = failing.length === 0;
  const body = ready ? { status: "ready" } : { status: "not ready", failing };
  return { status: ready ? 200 : 503, type: JSON_TYPE, body: `${JSON.stringify(body)}\n` };
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, body }: Answer): void {
  // a body that nobody asked for is not read, so the connection cannot serve another request
  const unread = request.method !== "GET" && request.method !== "HEAD";
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...(status === 405 && { allow: "GET, HEAD" }),
    ...(unread && { connection: "close" }),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function listening(server: Server, { listen: { host, port }, socket = null }: OpsInit): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new BreakwaterError("BW_OPS_LISTEN", listenTrouble(error, host, port), { cause: error }));
    });
    if (socket === null) server.listen({ host, port }, resolve);
    else server.listen(socket, resolve);
  });
}

function listenTrouble(error: NodeJS.ErrnoException, host: string, port: number): string {
  const place = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const why: Record<string, string> = {
    EADDRINUSE: "another program listens there; stop it or choose another port",
    EADDRNOTAVAIL: "this machine has no such address",
    EACCES: "this user may not open that port; choose one from 1024 on",
    ENOTFOUND: "that name has no address",
  };
  return `ops.listen ${place} cannot be opened: ${why[error.code ?? ""] ?? messageOf(error)}`;
}
