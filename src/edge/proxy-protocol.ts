import { isIPv4, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { BreakwaterError } from "../base/errors.ts";
import type { Endpoint } from "../session/ports.ts";

const V1_SIGNATURE = Buffer.from("PROXY ");
const V1_MAX_BYTES = 107;
const V2_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_FIXED_BYTES = 16;
/** The spec aims at one small segment (536 bytes); a TLV with a client's certificate is larger. */
const V2_MAX_BYTES = 4096;
const TLV_CRC32C = 0x03;

const NOTHING = Buffer.alloc(0);

/** What a balancer says of a connection. Null endpoints: the socket's own addresses are the true ones. */
export interface ProxyHeader {
  readonly done: true;
  readonly source: Endpoint | null;
  readonly destination: Endpoint | null;
  /** The client's first bytes, behind the header: a slice of the last chunk. */
  readonly rest: Buffer;
}

const MORE = { done: false } as const;

/**
 * Reads the PROXY header, version 1 or 2, that a trusted balancer puts before the client's bytes
 * (haproxy.org/download/3.2/doc/proxy-protocol.txt). One per connection; feed it until it is done, then drop it.
 * How the bytes are cut into chunks makes no difference. Holds at most 4096 bytes; the time limit is the listener's.
 * Throws BreakwaterError("BW_PROXY_HEADER") as soon as the bytes cannot be a header: the connection must be dropped.
 */
export class ProxyHeaderReader {
  #held: Buffer = NOTHING;

  push(chunk: Buffer): ProxyHeader | { readonly done: false } {
    const before = this.#held.length;
    const bytes = before === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const length = headerLength(bytes);
    if (length === null || bytes.length < length) {
      // A copy: the chunk belongs to the socket, and a slice would pin it.
      this.#held = before === 0 ? Buffer.from(chunk) : bytes;
      return MORE;
    }
    this.#held = NOTHING;
    const header = bytes.subarray(0, length);
    const ends = header[0] === V1_SIGNATURE[0] ? readLine(header) : readBinary(header);
    return { done: true, source: ends.source, destination: ends.destination, rest: chunk.subarray(length - before) };
  }
}

interface Ends {
  readonly source: Endpoint | null;
  readonly destination: Endpoint | null;
}

const UNTOLD: Ends = { source: null, destination: null };

/** How many bytes the header has, or null while too few came to know. */
function headerLength(bytes: Buffer): number | null {
  if (bytes.length === 0) return null;
  if (begins(bytes, V1_SIGNATURE)) {
    const end = bytes.subarray(0, V1_MAX_BYTES).indexOf("\r\n");
    if (end >= 0) return end + 2;
    if (bytes.length >= V1_MAX_BYTES) throw malformed("its line has no end within 107 bytes");
    return null;
  }
  if (begins(bytes, V2_SIGNATURE)) {
    if (bytes.length < V2_FIXED_BYTES) return null;
    const length = V2_FIXED_BYTES + bytes.readUInt16BE(14);
    if (length > V2_MAX_BYTES) throw malformed(`it announces ${length} bytes, more than ${V2_MAX_BYTES}`);
    return length;
  }
  throw new BreakwaterError(
    "BW_PROXY_HEADER",
    "the connection does not begin with a PROXY header: does the balancer send one to this listener?",
  );
}

/** Whether these bytes are, or may become, something that begins with `signature`. */
function begins(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}

/** Version 1 (§2.1). */
function readLine(header: Buffer): Ends {
  const line = header.toString("latin1", 0, header.length - 2);
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) return UNTOLD;
  const words = line.split(" ");
  const [, family, source, destination, sourcePort, destinationPort] = words;
  const mayBe = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : null;
  if (mayBe === null) throw malformed("its family is not TCP4, TCP6 or UNKNOWN");
  if (words.length !== 6) throw malformed("its line does not have six words");
  const endpoint = (address: string, port: string): Endpoint => {
    if (!mayBe(address) || address.includes("%")) throw malformed(`it has a wrong ${family} address`);
    if (!/^(?:0|[1-9][0-9]{0,4})$/.test(port) || Number(port) > 65535) throw malformed("it has a wrong port");
    return { address: ipaddr.process(address).toString(), port: Number(port) };
  };
  return { source: endpoint(source!, sourcePort!), destination: endpoint(destination!, destinationPort!) };
}

/** Version 2 (§2.2). */
function readBinary(header: Buffer): Ends {
  const version = header[12]! >> 4;
  const command = header[12]! & 0x0f;
  const family = header[13]! >> 4;
  const transport = header[13]! & 0x0f;
  if (version !== 2) throw malformed(`its version is ${version}`);
  if (command > 1) throw malformed(`its command is ${command}`);
  // LOCAL: the balancer speaks for itself (health checks); addresses and even the family mean nothing.
  if (command === 0) return UNTOLD;
  if (family > 3) throw malformed(`its address family is ${family}`);
  if (transport > 2) throw malformed(`its transport is ${transport}`);
  const addressBytes = [0, 4, 16, 108][family]!;
  const portBytes = family === 1 || family === 2 ? 2 : 0;
  const blockEnd = V2_FIXED_BYTES + 2 * (addressBytes + portBytes);
  if (header.length < blockEnd) throw malformed("it is too short for its addresses");
  if (family !== 0) checkExtras(header, blockEnd);
  // Unix sockets and datagrams are valid and say nothing that we could use (§2.2: fall back to UNSPEC).
  if (portBytes === 0 || transport !== 1) return UNTOLD;
  const endpoint = (i: number): Endpoint => {
    const at = V2_FIXED_BYTES + i * addressBytes;
    const address = ipaddr.process(ipaddr.fromByteArray([...header.subarray(at, at + addressBytes)]).toString());
    const port = header.readUInt16BE(V2_FIXED_BYTES + 2 * addressBytes + i * portBytes);
    return { address: address.toString(), port };
  };
  return { source: endpoint(0), destination: endpoint(1) };
}

/** Walks the TLVs behind the addresses: we use none, but they must fit, and a checksum must be right (§2.2.3). */
function checkExtras(header: Buffer, from: number): void {
  let at = from;
  while (at < header.length) {
    const valueAt = at + 3;
    const length = valueAt <= header.length ? header.readUInt16BE(at + 1) : Number.POSITIVE_INFINITY;
    if (valueAt + length > header.length) throw malformed("a TLV reaches beyond its end");
    if (header[at] === TLV_CRC32C) {
      if (length !== 4) throw malformed("its checksum does not have four bytes");
      const sent = header.readUInt32BE(valueAt);
      if (crc32c(header, valueAt) !== sent) throw malformed("its checksum is wrong");
    }
    at = valueAt + length;
  }
}

/** CRC-32C (RFC 9260, appendix A) of `bytes`, with the four bytes at `hole` read as zero. */
function crc32c(bytes: Buffer, hole: number): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc ^= i >= hole && i < hole + 4 ? 0 : bytes[i]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function malformed(what: string): BreakwaterError {
  return new BreakwaterError("BW_PROXY_HEADER", `malformed PROXY header: ${what}`);
}
