import assert from "node:assert/strict";
import { test } from "node:test";
import { mayConnect } from "../../../src/edge/http/origins.ts";

const domains = new Set(["example.org", "bücher.example"]);
const may = (origin: string | undefined, listed: readonly string[] = []) => mayConnect(origin, domains, listed);

test("native clients, which send no Origin, may connect", () => assert.equal(may(undefined), true));

test("pages of the served domains may connect, at any port, over https", () => {
  for (const origin of ["https://example.org", "https://EXAMPLE.org:8443", "https://xn--bcher-kva.example"]) {
    assert.equal(may(origin), true, origin);
  }
  for (const origin of [
    "http://example.org",
    "https://example.org.evil.example",
    "https://evil-example.org",
    "https://chat.example.org",
    "https://example.org@evil.example",
    "null",
    "",
    "file://",
  ]) {
    assert.equal(may(origin), false, origin);
  }
});

test("the list adds origins, exactly as browsers write them", () => {
  const listed = ["https://chat.example.com:8443", "http://localhost:8000"];
  assert.equal(may("https://chat.example.com:8443", listed), true);
  assert.equal(may("http://localhost:8000", listed), true);
  assert.equal(may("https://chat.example.com", listed), false);
  assert.equal(may("https://anything.example", ["*"]), true);
  assert.equal(may("null", ["*"]), true);
});
