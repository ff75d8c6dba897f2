import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Timer } from "../base/clock.ts";
import { ALPN_HTTP, ALPN_XMPP_CLIENT } from "../tls/contexts.ts";
import { PacedTlsSocket } from "../tls/paced-socket.ts";
import { handshakes, type LinkHost } from "./tcp-link.ts";

/** What comes out of the door, encrypted; bytes that were looked at are back in the socket. */
export interface DoorGuests<Visit> {
  xmpp(socket: TLSSocket, visit: Visit): void;
  http(socket: TLSSocket, visit: Visit): void;
}

/** A connection that is not in yet. */
interface Door {
  readonly kind: "https" | "all";
  readonly patience: Timer;
  shaken: boolean;
  enter(socket: TLSSocket, as: "xmpp" | "http"): void;
}

// Handlers are shared by all connections. The socket knows its door, and forgets it when it is through.
const DOOR = Symbol("door");
type DoorSocket = TLSSocket & { [DOOR]?: Door | null };

const LESS_THAN = 0x3c;
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * TLS from the first byte where browsers come: `https` lets in HTTP only, `all` XMPP too (XEP-0368), told apart by ALPN
 * and, for a client without ALPN, by its first byte: XMPP begins with `<`, HTTP with the letters of a method.
 * Whoever takes more than `patienceMs` is dropped. The guests get `visit` as it is.
 */
export function openDoor<Visit>(
  raw: Socket,
  kind: "https" | "all",
  host: LinkHost,
  patienceMs: number,
  guests: DoorGuests<Visit>,
  visit: Visit,
): void {
  raw.on("error", ignore);
  raw.pause(); // what waits in it is read by the TLS socket, and only then
  const socket: DoorSocket = new PacedTlsSocket(raw, host.tlsOptions(kind));
  const patience = host.clock.after(patienceMs, () => socket.destroy());
  socket[DOOR] = { kind, patience, shaken: false, enter: (socket, as) => guests[as](socket, visit) };
  socket.on("error", ignore);
  // Without a tls.Server, Node reports an error after the handshake here and nowhere else.
  socket.on("_tlsError", onTlsError);
  socket.on("close", onClose);
  socket.on("secure", onSecure);
}

function onTlsError(this: DoorSocket): void {
  if (this[DOOR]?.shaken === false) handshakes.inc("failed", "none");
  this.destroy();
}

function onClose(this: DoorSocket): void {
  this[DOOR]?.patience.cancel();
}

function onSecure(this: DoorSocket): void {
  const door = this[DOOR];
  if (!door || door.shaken) return;
  door.shaken = true;
  handshakes.inc(this.isSessionReused() ? "resumed" : "full", this.getProtocol() ?? "unknown");
  if (this.alpnProtocol === ALPN_XMPP_CLIENT) enter(this, door, "xmpp");
  else if (door.kind === "https" || this.alpnProtocol === ALPN_HTTP) enter(this, door, "http");
  else this.on("data", onFirst);
}

function onFirst(this: DoorSocket, chunk: Buffer): void {
  this.off("data", onFirst);
  this.pause();
  this.unshift(chunk);
  const first = chunk[0]!;
  enter(this, this[DOOR]!, first === LESS_THAN || WHITE_SPACE.has(first) ? "xmpp" : "http");
}

function enter(socket: DoorSocket, door: Door, as: "xmpp" | "http"): void {
  door.patience.cancel();
  socket[DOOR] = null;
  door.enter(socket, as);
}

function ignore(): void {}
