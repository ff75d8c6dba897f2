import ipaddr from "ipaddr.js";
import type { Endpoint } from "../session/ports.ts";

const V2_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_PROXY = 0x21;
const V2_TCP4 = 0x11;
const V2_TCP6 = 0x21;

export type ProxyVersion = "v1" | "v2";

/**
 * The PROXY header that tells a core whose connection this is (haproxy.org/download/3.2/doc/proxy-protocol.txt).
 * When one end is IPv4 and the other IPv6, the IPv4 one is written as ::ffff:a.b.c.d. Both addresses must be IP.
 * Write it before anything else and in the tick that connects: ejabberd accepts nobody else until it has the header.
 */
export function proxyHeader(version: ProxyVersion, source: Endpoint, destination: Endpoint): Buffer {
  const from = ipaddr.process(source.address);
  const to = ipaddr.process(destination.address);
  if (from.kind() === "ipv4" && to.kind() === "ipv4") {
    return version === "v1"
      ? line("TCP4", from, to, source, destination)
      : binary(V2_TCP4, from, to, source, destination);
  }
  const from6 = asIPv6(from);
  const to6 = asIPv6(to);
  return version === "v1"
    ? line("TCP6", from6, to6, source, destination)
    : binary(V2_TCP6, from6, to6, source, destination);
}

/** The addresses of a connected socket, as net.Socket has them. A Unix socket has none. */
export interface SocketEnds {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

const NOWHERE = "127.0.0.1";

/**
 * The header for connections that the edge makes for itself: probes. It names the connection's own two ends, as the
 * specification advises (§2.1), because the words meant for this are not safe: ejabberd closes on version 1 UNKNOWN, and
 * Tigase throws on version 2 LOCAL without addresses.
 */
export function ownProxyHeader(version: ProxyVersion, socket: SocketEnds): Buffer {
  return proxyHeader(
    version,
    { address: socket.localAddress ?? NOWHERE, port: socket.localPort ?? 0 },
    { address: socket.remoteAddress ?? NOWHERE, port: socket.remotePort ?? 0 },
  );
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

function asIPv6(address: Address): ipaddr.IPv6 {
  // A zone ("fe80::1%eth0") names a link of this host and means nothing to the core.
  const parts = address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress().parts : address.parts;
  return new ipaddr.IPv6(parts);
}

function line(family: "TCP4" | "TCP6", from: Address, to: Address, source: Endpoint, destination: Endpoint): Buffer {
  return Buffer.from(`PROXY ${family} ${from} ${to} ${source.port} ${destination.port}\r\n`, "latin1");
}

function binary(family: number, from: Address, to: Address, source: Endpoint, destination: Endpoint): Buffer {
  const fromBytes = from.toByteArray();
  const length = 2 * fromBytes.length + 4;
  const header = Buffer.allocUnsafe(16 + length);
  V2_SIGNATURE.copy(header);
  header[12] = V2_PROXY;
  header[13] = family;
  header.writeUInt16BE(length, 14);
  header.set(fromBytes, 16);
  header.set(to.toByteArray(), 16 + fromBytes.length);
  header.writeUInt16BE(source.port, 12 + length);
  header.writeUInt16BE(destination.port, 14 + length);
  return header;
}
