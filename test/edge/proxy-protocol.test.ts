import assert from "node:assert/strict";
import { test } from "node:test";
import { BreakwaterError } from "../../src/base/errors.ts";
import { type ProxyHeader, ProxyHeaderReader } from "../../src/edge/proxy-protocol.ts";
import type { Endpoint } from "../../src/session/ports.ts";
import { proxyHeader } from "../../src/upstream/proxy-header.ts";

const STREAM = "<?xml version='1.0'?><stream:stream to='chat.example'>";
const V4 = { source: { address: "192.0.2.7", port: 56324 }, destination: { address: "198.51.100.1", port: 5222 } };
const V6 = { source: { address: "2001:db8::7", port: 56324 }, destination: { address: "2001:db8::1", port: 5222 } };
const UNTOLD = { source: null, destination: null };

type Outcome = Pick<ProxyHeader, "source" | "destination"> & { rest: string };

/** Feeds the bytes in chunks of these sizes, the last one repeated, and gives what comes out in the end. */
function read(bytes: Buffer, ...sizes: number[]): Outcome | "more" {
  const reader = new ProxyHeaderReader();
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)] ?? bytes.length;
    const result = reader.push(bytes.subarray(at, at + size));
    at += size;
    if (!result.done) continue;
    // What comes after the header's chunk is the caller's business.
    const rest = result.rest.toString("latin1") + bytes.subarray(at).toString("latin1");
    return { source: result.source, destination: result.destination, rest };
  }
  return "more";
}

/** The outcome of the header with a stream behind it, which must not depend on where it is cut. */
function reads(header: Buffer): Pick<Outcome, "source" | "destination"> {
  const bytes = Buffer.concat([header, Buffer.from(STREAM)]);
  const whole = read(bytes);
  for (const sizes of [[1], [2], [5, 1], [header.length], [header.length - 1, 2], [13, 1000], [16, 3]]) {
    assert.deepEqual(read(bytes, ...sizes), whole, `cut into ${sizes}`);
  }
  assert.notEqual(whole, "more");
  const { source, destination, rest } = whole as Outcome;
  assert.equal(rest, STREAM);
  return { source, destination };
}

function refuses(header: Buffer | string, why: RegExp): void {
  const bytes = Buffer.isBuffer(header) ? header : Buffer.from(header, "latin1");
  for (const size of [bytes.length, 1]) {
    assert.throws(
      () => read(bytes, size),
      (error) => error instanceof BreakwaterError && error.code === "BW_PROXY_HEADER" && why.test(error.message),
      `${JSON.stringify(bytes.toString("latin1"))} in chunks of ${size}`,
    );
  }
}

const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, "latin1");

interface V2 {
  version?: number;
  command?: number;
  family?: number;
  body?: Buffer;
  length?: number;
}

function v2({ version = 2, command = 1, family = 0x11, body = Buffer.alloc(12), length = body.length }: V2): Buffer {
  const header = Buffer.concat([Buffer.from("0d0a0d0a000d0a515549540a00000000", "hex"), body]);
  header[12] = (version << 4) | command;
  header[13] = family;
  header.writeUInt16BE(length, 14);
  return header;
}

const tlv = (type: number, value: Buffer): Buffer =>
  Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 255), value]);
const addresses = Buffer.from("c0000207c6336401dc041466", "hex");

test("version 1 gives both ends, however it is cut", () => {
  assert.deepEqual(reads(line("PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222")), V4);
  assert.deepEqual(reads(line("PROXY TCP6 2001:db8::7 2001:DB8:0:0:0:0:0:1 56324 5222")), V6);
  assert.deepEqual(reads(line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535")), {
    source: { address: "0.0.0.0", port: 0 },
    destination: { address: "255.255.255.255", port: 65535 },
  });
});

test("an IPv4 address in IPv6 clothes is told as IPv4, in both versions", () => {
  for (const text of ["::ffff:192.0.2.7", "::ffff:c000:207", "0:0:0:0:0:FFFF:C000:0207"]) {
    assert.equal(reads(line(`PROXY TCP6 ${text} 2001:db8::1 1 2`)).source!.address, "192.0.2.7");
  }
  const mapped = Buffer.from("00000000000000000000ffffc000020720010db800000000000000000000000100010002", "hex");
  assert.equal(reads(v2({ family: 0x21, body: mapped })).source!.address, "192.0.2.7");
});

test("UNKNOWN is a good header that tells nothing, whatever stands behind it", () => {
  assert.deepEqual(reads(line("PROXY UNKNOWN")), UNTOLD);
  assert.deepEqual(reads(line("PROXY UNKNOWN ff:: :: 65535 hello\n\r world")), UNTOLD);
  const longest = `PROXY UNKNOWN ${"f".repeat(107 - 14 - 2)}`;
  assert.deepEqual(reads(line(longest)), UNTOLD);
});

test("a line without an end within 107 bytes is refused, and not one byte earlier", () => {
  refuses(`PROXY UNKNOWN ${"f".repeat(93)}`, /no end within 107 bytes/);
  refuses(`PROXY UNKNOWN ${"f".repeat(92)}\r\n`, /no end within 107 bytes/);
  assert.equal(read(Buffer.from(`PROXY UNKNOWN ${"f".repeat(92)}`)), "more");
  refuses(`PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n${"<stream>".repeat(10)}`, /no end within/);
});

test("version 1 follows its grammar to the letter (§2.1)", () => {
  for (const [text, why] of [
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1", /six words/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3", /six words/],
    ["PROXY TCP4 192.0.2.7  198.51.100.1 1 2", /six words/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1 2 ", /six words/],
    ["PROXY TCP4\t192.0.2.7 198.51.100.1 1 2", /family/],
    ["PROXY  TCP4 192.0.2.7 198.51.100.1 1 2", /family/],
    ["PROXY tcp4 192.0.2.7 198.51.100.1 1 2", /family/],
    ["PROXY UDP4 192.0.2.7 198.51.100.1 1 2", /family/],
    ["PROXY UNKNOWNS", /family/],
    ["PROXY ", /family/],
    ["PROXY TCP4 2001:db8::7 2001:db8::1 1 2", /TCP4 address/],
    ["PROXY TCP6 192.0.2.7 198.51.100.1 1 2", /TCP6 address/],
    ["PROXY TCP4 192.0.02.7 198.51.100.1 1 2", /TCP4 address/],
    ["PROXY TCP4 192.0.2.256 198.51.100.1 1 2", /TCP4 address/],
    ["PROXY TCP4 192.0.2 198.51.100.1 1 2", /TCP4 address/],
    ["PROXY TCP4 0x7f.1.1.1 198.51.100.1 1 2", /TCP4 address/],
    ["PROXY TCP6 2001:db8::7::1 2001:db8::1 1 2", /TCP6 address/],
    ["PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2", /TCP6 address/],
    ["PROXY TCP4 chat.example 198.51.100.1 1 2", /TCP4 address/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 01 2", /port/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1 65536", /port/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 -1 2", /port/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1e3 2", /port/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r", /port/],
    ["PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", /port/],
  ] as const) {
    refuses(line(text), why);
  }
});

test("version 2 gives both ends, and its TLVs are skipped", () => {
  assert.deepEqual(reads(v2({ body: addresses })), V4);
  const extras = Buffer.concat([
    addresses,
    tlv(0x02, Buffer.from("chat.example")),
    tlv(0x04, Buffer.alloc(0)),
    tlv(0xe0, Buffer.alloc(900)),
  ]);
  assert.deepEqual(reads(v2({ body: extras })), V4);
});

test("a health check (LOCAL) is a good header that tells nothing, whatever its family says", () => {
  for (const family of [0x00, 0x11, 0x21, 0xff]) {
    assert.deepEqual(reads(v2({ command: 0, family, body: Buffer.alloc(0) })), UNTOLD);
    assert.deepEqual(reads(v2({ command: 0, family, body: Buffer.from("anything") })), UNTOLD);
  }
});

test("Unix sockets, datagrams and the unspecified are good headers that tell nothing (§2.2)", () => {
  for (const family of [0x31, 0x32, 0x30]) assert.deepEqual(reads(v2({ family, body: Buffer.alloc(216) })), UNTOLD);
  for (const family of [0x12, 0x10]) assert.deepEqual(reads(v2({ family, body: addresses })), UNTOLD);
  assert.deepEqual(reads(v2({ family: 0x00, body: Buffer.from("not a TLV") })), UNTOLD);
});

test("version 2 is refused where it breaks its rules", () => {
  refuses(v2({ version: 1 }), /version is 1/);
  refuses(v2({ version: 3 }), /version is 3/);
  refuses(v2({ command: 2 }), /command is 2/);
  refuses(v2({ family: 0x41 }), /family is 4/);
  refuses(v2({ family: 0x13 }), /transport is 3/);
  refuses(v2({ body: Buffer.alloc(11) }), /too short/);
  refuses(v2({ family: 0x21, body: Buffer.alloc(35) }), /too short/);
  refuses(v2({ family: 0x31, body: Buffer.alloc(215) }), /too short/);
  refuses(v2({ body: Buffer.concat([addresses, Buffer.of(4)]) }), /TLV/);
  refuses(v2({ body: Buffer.concat([addresses, Buffer.of(4, 0, 1)]) }), /TLV/);
});

test("a header that announces more than 4096 bytes is refused before they come", () => {
  refuses(v2({ length: 65535 }), /65551 bytes/);
  assert.equal(read(v2({ length: 4080 })), "more");
});

test("a checksum has to be right when there is one (§2.2.3)", () => {
  const summed = (sum: number): Buffer => {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(sum);
    return v2({
      body: Buffer.concat([addresses, tlv(0x04, Buffer.from("123456789")), tlv(0x03, value), tlv(0x04, Buffer.of(1))]),
    });
  };
  assert.equal(crc32cOf(Buffer.from("123456789")), 0xe3069283);
  const sum = crc32cOf(summed(0));
  assert.deepEqual(reads(summed(sum)), V4);
  refuses(summed(sum ^ 1), /checksum is wrong/);
  refuses(v2({ body: Buffer.concat([addresses, tlv(0x03, Buffer.of(1, 2))]) }), /four bytes/);
});

test("what is no PROXY header at all is refused at its first wrong byte", () => {
  for (const text of [
    "<stream:stream",
    "\x16\x03\x01\x02\x00",
    "GET / HTTP/1.1",
    "PROXX",
    "proxy TCP4",
    "\r\n\r\n<stream",
    " PROXY",
  ]) {
    refuses(text, /does not begin with a PROXY header/);
  }
  assert.equal(read(Buffer.from("PROX")), "more");
  assert.equal(read(Buffer.from("\r\n\r\n\0\r")), "more");
});

test("an empty chunk changes nothing", () => {
  const reader = new ProxyHeaderReader();
  assert.equal(reader.push(Buffer.alloc(0)).done, false);
  assert.equal(reader.push(line("PROXY UNKNOWN")).done, true);
});

test("what upstream/ writes for any two ends reads back as the same two ends", () => {
  const next = generator(7);
  for (let round = 0; round < 500; round++) {
    const [source, destination] = [anyEndpoint(next), anyEndpoint(next)];
    for (const version of ["v1", "v2"] as const) {
      assert.deepEqual(reads(proxyHeader(version, source, destination)), { source, destination });
    }
  }
});

/** Numbers below 2^32 that look random and are the same in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

function anyEndpoint(next: () => number): Endpoint {
  const port = next() >>> 16;
  if (next() & 0x10000) {
    return { address: Array.from({ length: 4 }, () => next() >>> 24).join("."), port };
  }
  // The first group is not zero, so this is never a mapped IPv4 address; many groups are, so that :: appears.
  const groups = Array.from({ length: 8 }, (_, i) => (i === 0 ? 0x2001 : next() & 0x30000 ? 0 : next() >>> 16));
  const address = new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]/`).hostname.slice(1, -1);
  return { address, port };
}

/** CRC-32C by long division (RFC 9260, appendix A). */
function crc32cOf(bytes: Buffer): number {
  const divide = (crc: number): number => (crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1);
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = divide(crc);
  }
  return ~crc >>> 0;
}
