import assert from "node:assert/strict";
import { test } from "node:test";
import { BreakwaterError } from "../../src/base/errors.ts";
import { TrustedNetworks } from "../../src/edge/trusted-networks.ts";

test("an address is trusted when it lies in one of the networks, and only then", () => {
  const trusted = new TrustedNetworks(["10.0.0.0/8", "192.0.2.7", "fd00::/8", "2001:db8::1"]);
  for (const address of ["10.0.0.0", "10.255.255.255", "192.0.2.7", "fd12::1", "2001:db8::1", "2001:db8:0:0::1"]) {
    assert.ok(trusted.includes(address), address);
  }
  for (const address of ["9.255.255.255", "11.0.0.0", "192.0.2.8", "fe00::", "2001:db8::2", "::1", "127.0.0.1"]) {
    assert.ok(!trusted.includes(address), address);
  }
});

test("IPv4 and its IPv6-mapped form are the same, in the list and in the address", () => {
  assert.ok(new TrustedNetworks(["10.0.0.0/8"]).includes("::ffff:10.1.2.3"));
  assert.ok(new TrustedNetworks(["::ffff:10.0.0.0/104"]).includes("10.1.2.3"));
  assert.ok(!new TrustedNetworks(["::ffff:10.0.0.0/104"]).includes("11.1.2.3"));
  assert.ok(!new TrustedNetworks(["::/0"]).includes("10.1.2.3"));
  assert.ok(!new TrustedNetworks(["0.0.0.0/0"]).includes("2001:db8::1"));
});

test("a link-local address is judged without its zone", () => {
  assert.ok(new TrustedNetworks(["fe80::/10"]).includes("fe80::1%eth0"));
});

test("an empty list trusts nobody, and what is no address is never trusted", () => {
  assert.ok(!new TrustedNetworks([]).includes("10.0.0.1"));
  const everyone = new TrustedNetworks(["0.0.0.0/0", "::/0"]);
  for (const address of [undefined, "", "localhost", "10.1", "0x7f.0.0.1", "/run/edge.sock"]) {
    assert.ok(!everyone.includes(address), String(address));
  }
});

test("what is no network is refused with an example of one", () => {
  for (const text of [
    "",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10.0.0.0/-1",
    "10/8",
    "0x0a.0.0.0/8",
    "010.0.0.0/8",
    "balancer",
    "fe80::%eth0/64",
    "10.0.0.0/8 ",
  ]) {
    assert.throws(
      () => new TrustedNetworks([text]),
      (error) =>
        error instanceof BreakwaterError && error.code === "BW_NETWORK" && error.message.includes("10.0.0.0/8"),
      text,
    );
  }
});
