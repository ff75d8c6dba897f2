import assert from "node:assert/strict";
import { test } from "node:test";
import { clientAddress } from "../../../src/edge/http/forwarded.ts";
import { TrustedNetworks } from "../../../src/edge/trusted-networks.ts";

const trusted = new TrustedNetworks(["10.0.0.0/8", "fd00::/8"]);
const xff = (value: string | undefined, peer = "10.0.0.1") =>
  clientAddress(peer, value, { header: "x-forwarded-for", trusted });
const forwarded = (value: string | undefined, peer = "10.0.0.1") =>
  clientAddress(peer, value, { header: "forwarded", trusted });

test("the client is the first address from the right that no trusted balancer has", () => {
  assert.equal(xff("203.0.113.7"), "203.0.113.7");
  assert.equal(xff("198.51.100.1, 203.0.113.7, 10.0.0.3"), "203.0.113.7");
  assert.equal(xff("203.0.113.7:4711,fd00::3"), "203.0.113.7");
  assert.equal(xff("2001:db8::5"), "2001:db8::5");
  assert.equal(xff("[2001:db8::5]:443"), "2001:db8::5");
  assert.equal(xff("::ffff:203.0.113.7"), "203.0.113.7");
});

test("what a client claims about itself is not believed", () => {
  assert.equal(xff("10.9.9.9, 203.0.113.7"), "203.0.113.7");
  assert.equal(xff("203.0.113.7", "198.51.100.9"), "198.51.100.9");
});

test("without a header, and at what is no address, the last that is known counts", () => {
  assert.equal(xff(undefined), "10.0.0.1");
  assert.equal(xff(""), "10.0.0.1");
  assert.equal(xff("203.0.113.7, unknown"), "10.0.0.1");
  assert.equal(xff("203.0.113.7, 999.1.1.1, 10.0.0.3"), "10.0.0.3");
  assert.equal(xff("fe80::1%eth0"), "10.0.0.1");
});

test("Forwarded is read as RFC 7239 writes it", () => {
  assert.equal(forwarded("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
  assert.equal(forwarded('For="[2001:db8:cafe::17]:4711"'), "2001:db8:cafe::17");
  assert.equal(
    forwarded('for=198.51.100.1;host="a,for=192.0.2.1", FOR=203.0.113.7 , for=10.0.0.2;proto=https'),
    "203.0.113.7",
  );
  assert.equal(forwarded('for="_hidden", for=10.0.0.2'), "10.0.0.2");
  assert.equal(forwarded("proto=https"), "10.0.0.1");
  assert.equal(forwarded('for="unfinished'), "10.0.0.1");
});

test("quotes that a client leaves open do not reach into what the balancer has written", () => {
  const balancer = 'for="[2001:db8::9]:4711";proto=https';
  for (const claim of [
    'for=192.0.2.1;x="',
    'for=192.0.2.1;x="\\',
    'for=192.0.2.1;x="a, for=192.0.2.2;y="',
    'for="192.0.2.1", "',
    "for=192.0.2.1;x=\\",
    '",for=10.0.0.9;x="',
  ]) {
    assert.equal(forwarded(`${claim}, ${balancer}`), "2001:db8::9", claim);
    assert.equal(forwarded(`${claim}, ${balancer}, for="10.0.0.2:443"`), "2001:db8::9", claim);
  }
  assert.equal(forwarded('for=203.0.113.7;host="a\\",for=192.0.2.1"'), "203.0.113.7");
});
