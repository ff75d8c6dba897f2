import assert from "node:assert/strict";
import { test } from "node:test";
import { addressRange, coreAddress, listenAddress } from "../../src/base/option-types.ts";

const parse = (schema: { safeParse(value: unknown): { data?: unknown } }, text: unknown) => schema.safeParse(text).data;

test("addresses to listen on: a port alone is every address, IPv6 stands in brackets", () => {
  const listen = (text: unknown) => parse(listenAddress(), text);
  assert.deepEqual(listen(":5222"), { host: "::", port: 5222 });
  assert.deepEqual(listen("0.0.0.0:0"), { host: "0.0.0.0", port: 0 });
  assert.deepEqual(listen("[2001:db8::1]:5222"), { host: "2001:db8::1", port: 5222 });
  assert.deepEqual(listen("localhost:5222"), { host: "localhost", port: 5222 });
  for (const wrong of [
    "5222",
    "::1:5222",
    "[example.org]:5",
    "host:",
    "host:65536",
    "ho st:1",
    "a/b:1",
    "",
    5222,
    null,
  ])
    assert.equal(listen(wrong), undefined, String(wrong));
});

test("addresses of cores: tcp, tls and unix", () => {
  const core = (text: unknown) => parse(coreAddress(), text);
  assert.deepEqual(core("tcp://10.0.0.1:5222"), { transport: "tcp", host: "10.0.0.1", port: 5222 });
  assert.deepEqual(core("tls://[::1]:5223"), { transport: "tls", host: "::1", port: 5223 });
  assert.deepEqual(core("unix:/run/c2s.sock"), { transport: "unix", path: "/run/c2s.sock" });
  for (const wrong of ["10.0.0.1:5222", "tcp://host", "tcp:host:1", "tcp://host:0", "http://host:1", "unix:", "tls://"])
    assert.equal(core(wrong), undefined, wrong);
});

test("ranges of addresses always carry their prefix length", () => {
  const range = (text: unknown) => parse(addressRange(), text);
  assert.equal(range("10.0.0.0/8"), "10.0.0.0/8");
  assert.equal(range("192.0.2.7"), "192.0.2.7/32");
  assert.equal(range("::1"), "::1/128");
  for (const wrong of ["10.0.0.0/33", "10.0.0", "example.org", "10", "::1/129", ""])
    assert.equal(range(wrong), undefined, wrong);
});
