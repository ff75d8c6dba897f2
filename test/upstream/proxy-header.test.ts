import assert from "node:assert/strict";
import { test } from "node:test";
import type { Endpoint } from "../../src/session/ports.ts";
import { ownProxyHeader, proxyHeader } from "../../src/upstream/proxy-header.ts";

const at = (address: string, port: number): Endpoint => ({ address, port });
const hex = (header: Buffer): string => header.toString("hex");

test("version 1 is one line, in the family of its addresses", () => {
  assert.equal(
    proxyHeader("v1", at("192.0.2.7", 56324), at("198.51.100.1", 5222)).toString("latin1"),
    "PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222\r\n",
  );
  assert.equal(
    proxyHeader("v1", at("2001:db8::7", 65535), at("2001:db8:0:0:0:0:0:1", 0)).toString("latin1"),
    "PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n",
  );
});

test("version 2 is the bytes of the specification (§2.2)", () => {
  assert.equal(
    hex(proxyHeader("v2", at("192.0.2.7", 56324), at("198.51.100.1", 5222))),
    "0d0a0d0a000d0a515549540a" + "21" + "11" + "000c" + "c0000207" + "c6336401" + "dc04" + "1466",
  );
  assert.equal(
    hex(proxyHeader("v2", at("2001:db8::7", 1), at("2001:db8::1", 2))),
    "0d0a0d0a000d0a515549540a2121" +
      "0024" +
      "20010db8000000000000000000000007" +
      "20010db8000000000000000000000001" +
      "00010002",
  );
});

test("when the families differ, the IPv4 address is written as ::ffff:a.b.c.d in both versions", () => {
  const [v4, v6] = [at("192.0.2.7", 1), at("2001:db8::1", 2)];
  assert.equal(proxyHeader("v1", v4, v6).toString("latin1"), "PROXY TCP6 ::ffff:c000:207 2001:db8::1 1 2\r\n");
  assert.match(hex(proxyHeader("v2", v6, v4)), /00000000000000000000ffffc000020700020001$/);
});

test("a mapped IPv4 address is an IPv4 address", () => {
  assert.equal(
    proxyHeader("v1", at("::ffff:192.0.2.7", 1), at("198.51.100.1", 2)).toString("latin1"),
    "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
  );
});

test("the zone of a link-local address, which only this machine knows, is left out", () => {
  const line = proxyHeader("v1", at("fe80::7%eth0", 1), at("fe80::1%eth0", 2)).toString("latin1");
  assert.equal(line, "PROXY TCP6 fe80::7 fe80::1 1 2\r\n");
});

test("a probe names its own connection, and loopback where it has no addresses", () => {
  const socket = { localAddress: "10.0.0.2", localPort: 40000, remoteAddress: "10.0.0.3", remotePort: 5222 };
  assert.equal(ownProxyHeader("v1", socket).toString("latin1"), "PROXY TCP4 10.0.0.2 10.0.0.3 40000 5222\r\n");
  assert.equal(ownProxyHeader("v1", {}).toString("latin1"), "PROXY TCP4 127.0.0.1 127.0.0.1 0 0\r\n");
});
