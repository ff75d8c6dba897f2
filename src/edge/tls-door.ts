import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Timer } from "../base/clock.ts";
import { ALPN_HTTP, ALPN_XMPP_CLIENT } from "../tls/contexts.ts";
import { PacedTlsSocket } from "../tls/paced-socket.ts";
import { handshakes, type LinkHost } from "./tcp-link.ts";

/** What comes out of the door, encrypted; bytes that were looked at are back in the socket. */
export interface DoorGuests {
  xmpp(socket: TLSSocket): void;
  http(socket: TLSSocket): void;
}

const LESS_THAN = 0x3c;
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * TLS from the first byte where browsers come: `https` lets in HTTP only, `all` XMPP too (XEP-0368), told apart by ALPN
 * and, for a client without ALPN, by its first byte: XMPP begins with `<`, HTTP with the letters of a method.
 * Whoever takes more than `patienceMs` is dropped.
 */
export function openDoor(
  raw: Socket,
  kind: "https" | "all",
  host: LinkHost,
  patienceMs: number,
  guests: DoorGuests,
): void {
  raw.on("error", ignore);
  raw.pause(); // what waits in it is read by the TLS socket, and only then
  const socket = new PacedTlsSocket(raw, host.tlsOptions(kind));
  const patience = host.clock.after(patienceMs, () => socket.destroy());
  let shaken = false;
  socket.on("error", ignore);
  const failed = (): void => {
    if (!shaken) handshakes.inc("failed", "none");
    socket.destroy();
  };
  // Without a tls.Server, Node reports an error after the handshake here and nowhere else.
  socket.on("_tlsError", failed);
  socket.once("close", () => patience.cancel());
  socket.once("secure", () => {
    shaken = true;
    handshakes.inc(socket.isSessionReused() ? "resumed" : "full", socket.getProtocol() ?? "unknown");
    if (socket.alpnProtocol === ALPN_XMPP_CLIENT) return admit(socket, patience, guests.xmpp);
    if (kind === "https" || socket.alpnProtocol === ALPN_HTTP) return admit(socket, patience, guests.http);
    socket.once("data", (chunk: Buffer) => {
      socket.pause();
      socket.unshift(chunk);
      const first = chunk[0]!;
      admit(socket, patience, first === LESS_THAN || WHITE_SPACE.has(first) ? guests.xmpp : guests.http);
    });
  });
}

function admit(socket: TLSSocket, patience: Timer, enter: (socket: TLSSocket) => void): void {
  patience.cancel();
  enter(socket);
}

function ignore(): void {}
