import { lstatSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type Server } from "node:net";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import type { DrainState } from "../session/drainer.ts";
import type { Departure } from "../session/host.ts";
import { type DrainOrder, drainOrder } from "../session/options.ts";

/** How an upgrade goes, as any of the two processes tells it. */
export interface UpgradeState {
  /** `done`: this process has taken the place of `from`. `failed`: it serves as if there had been none. */
  readonly phase: "none" | "starting" | "handing-over" | "draining" | "done" | "failed";
  readonly pid: number;
  /** The new process, once it runs, and the one whose place this one has taken. */
  readonly heir?: number;
  readonly from?: number;
  readonly version?: string;
  readonly dormant: number;
  readonly handedOver: number;
  /** Connected clients that are still to go, of how many, and for how long that has been going on. */
  readonly left: number;
  readonly total: number;
  readonly seconds: number;
  readonly how?: Readonly<Record<Departure, number>>;
  readonly trouble?: string;
}

/** What can let the clients go: a `Drainer`, or a supervisor whose workers have one each. */
export interface Draining {
  state(): Promise<DrainState>;
  /** False when a drain is under way or over: nothing is done then. */
  begin(order: DrainOrder): Promise<boolean>;
  /** False when there is no drain to abort. Rejects when clients cannot be let in again. */
  abort(): Promise<boolean>;
}

/** What can put another process in this one's place. */
export interface Upgrading {
  readonly isUnderWay: boolean;
  state(): Promise<UpgradeState>;
  /** `launcher`: what to start, null for what this process was started with. A string says why not. */
  begin(launcher: string | null): string | null;
}

export type { DrainOrder, DrainState };

export interface Control {
  close(): void;
}

/** What every request is answered with; `trouble` says why it was not done. */
export interface ControlAnswer extends DrainState {
  readonly trouble?: string;
}

export type UpgradeAnswer = UpgradeState;

const READ_AND_WRITE_BY_OWNER = 0o600;

/**
 * Takes commands by HTTP on a unix socket that only this user may open: `GET /drain` tells how a drain goes,
 * `POST /drain?rate=&to=` begins one, `DELETE /drain` aborts it; `GET /upgrade` and `POST /upgrade?launcher=` are the same
 * for an upgrade. Rejects with BW_OPS_CONTROL when the path cannot be used.
 */
export async function openControl(path: string, draining: Draining, upgrading: Upgrading): Promise<Control> {
  await removeStale(path);
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://edge");
    const isUpgrade = pathname === "/upgrade";
    const answered = isUpgrade ? upgrade(request, searchParams, upgrading) : answer(request, draining, upgrading);
    answered
      .catch((error) => ({ status: 500, trouble: messageOf(error) }))
      .then(async ({ status, trouble }) => {
        const state = await (isUpgrade ? upgrading : draining).state();
        send(response, status, { ...state, ...(trouble && { trouble }) });
      });
  });
  await listening(server, path);
  // A process that ends by itself leaves its sockets behind.
  const remove = (): void => rmSync(path, { force: true });
  process.once("exit", remove);
  return {
    close: () => {
      process.off("exit", remove);
      server.close();
      server.closeAllConnections();
    },
  };
}

interface Result {
  readonly status: number;
  readonly trouble?: string;
}

async function upgrade({ method }: IncomingMessage, asked: URLSearchParams, upgrading: Upgrading): Promise<Result> {
  if (method === "GET") return { status: 200 };
  if (method !== "POST") return { status: 405, trouble: "there is GET and POST" };
  const trouble = upgrading.begin(asked.get("launcher"));
  return trouble === null ? { status: 202 } : { status: 409, trouble };
}

async function answer({ method, url }: IncomingMessage, draining: Draining, upgrading: Upgrading): Promise<Result> {
  const { pathname, searchParams } = new URL(url ?? "", "http://edge");
  if (pathname !== "/drain") return { status: 404, trouble: "there is /drain and /upgrade" };
  if (method === "GET") return { status: 200 };
  if (upgrading.isUnderWay) return { status: 409, trouble: "an upgrade is under way" };
  if (method === "POST") return await begin(searchParams, draining);
  if (method === "DELETE") return await abort(draining);
  return { status: 405, trouble: "there is GET, POST and DELETE" };
}

async function begin(asked: URLSearchParams, draining: Draining): Promise<Result> {
  const values = Object.fromEntries([...asked].map(([key, value]) => [key, key === "rate" ? Number(value) : value]));
  const order = drainOrder.safeParse(values);
  if (!order.success) {
    const trouble = order.error.issues.map(({ path, message }) => `--${path.join(".")}: ${message}`).join("; ");
    return { status: 400, trouble };
  }
  if (await draining.begin(order.data)) return { status: 202 };
  const { stopping, phase } = await draining.state();
  if (stopping) return { status: 409, trouble: "the edge is stopping" };
  return { status: 409, trouble: phase === "draining" ? "a drain is under way" : "the edge is drained" };
}

async function abort(draining: Draining): Promise<Result> {
  if (await draining.abort()) return { status: 200 };
  const trouble = (await draining.state()).stopping
    ? "the edge is stopping, which cannot be taken back"
    : "no drain is under way, clients are let in";
  return { status: 409, trouble };
}

function send(response: ServerResponse, status: number, body: ControlAnswer | UpgradeAnswer): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", connection: "close" });
  response.end(`${JSON.stringify(body)}\n`);
}

// ---- the socket

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(trouble(path, whyNot(error, path), error)));
    // It is made in this call: nobody else can open it for a moment, as they could before a later chmod.
    const before = process.umask(0o777 & ~READ_AND_WRITE_BY_OWNER);
    try {
      server.listen({ path }, resolve);
    } finally {
      process.umask(before);
    }
  });
}

/** Removes what a process left that was killed; a socket that answers is another edge's. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw trouble(path, "is there already and no socket; choose another path");
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
  if (answers) throw trouble(path, "is in use by another process; give each edge a path of its own");
  rmSync(path, { force: true });
}

function whyNot({ code, message }: NodeJS.ErrnoException, path: string): string {
  const why: Record<string, string> = {
    ENOENT: "cannot be made: its folder does not exist (systemd makes it with RuntimeDirectory=breakwater)",
    EACCES: "cannot be made: this user may not write to its folder",
    EINVAL: `cannot be made: ${Buffer.byteLength(path)} bytes are too long for a socket, 107 are possible`,
  };
  return why[code ?? ""] ?? `cannot be made: ${message}`;
}

function trouble(path: string, why: string, cause?: unknown): BreakwaterError {
  return new BreakwaterError("BW_OPS_CONTROL", `ops.control ${path} ${why}`, { cause });
}
