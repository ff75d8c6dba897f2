import assert from "node:assert/strict";
import { test } from "node:test";
import { RawHttp } from "../../support/raw-http.ts";
import { Wire } from "../../support/wire.ts";

const get = (path: string, host: string) => `GET ${path} HTTP/1.1\nHost: ${host}`;
const json = "/.well-known/host-meta.json";

test("host-meta tells where WebSocket and BOSH are, as XML and as JSON, to pages of any origin", async (t) => {
  const wire = await Wire.start(t);
  const http = await RawHttp.connect({ port: wire.edge.https, ca: wire.edge.ca });
  const xrd = await http.request(get("/.well-known/host-meta", "localhost:8443"));
  assert.equal(xrd.status, 200);
  assert.match(xrd.head, /content-type: application\/xrd\+xml/i);
  assert.match(xrd.head, /access-control-allow-origin: \*/i);
  assert.match(xrd.body, /<XRD xmlns='http:\/\/docs.oasis-open.org\/ns\/xri\/xrd-1.0'>/);
  assert.match(xrd.body, /<Link rel='urn:xmpp:alt-connections:websocket' href='wss:\/\/localhost:8443\/ws'\/>/);
  const { head, body } = await http.request(get(json, "localhost"));
  assert.match(head, /content-type: application\/json/i);
  assert.deepEqual(JSON.parse(body), {
    links: [
      { rel: "urn:xmpp:alt-connections:websocket", href: "wss://localhost/ws" },
      { rel: "urn:xmpp:alt-connections:xbosh", href: "https://localhost/http-bind" },
    ],
  });
  const preflight = await http.request(`OPTIONS ${json} HTTP/1.1\nHost: localhost\nOrigin: https://a.example`);
  assert.equal(preflight.status, 204);
  const asHead = await http.request(`HEAD ${json} HTTP/1.1\nHost: localhost`);
  assert.equal(asHead.status, 200);
  http.drop();
});

test("each domain has its own, by the Host header, with the addresses of the configuration", async (t) => {
  const config = `http: { websocket: { path: /xmpp }, host_meta: { websocket: "wss://web.{domain}/xmpp", bosh: "https://web.{domain}/b?a&b" } }`;
  const wire = await Wire.start(t, { domains: ["one.example", "bücher.example"], config });
  const http = await RawHttp.connect({ port: wire.edge.http });
  const { body } = await http.request(get(json, "one.example"));
  assert.deepEqual(
    JSON.parse(body).links.map((link: { href: string }) => link.href),
    ["wss://web.one.example/xmpp", "https://web.one.example/b?a&b"],
  );
  const xrd = await http.request(get("/.well-known/host-meta", "one.example"));
  assert.match(xrd.body, /href='https:\/\/web.one.example\/b\?a&amp;b'/);
  assert.equal((await http.request(get(json, "xn--bcher-kva.example"))).status, 200);
  assert.equal((await http.request(get(json, "other.example"))).status, 404);
  // Where a proxy has left the whole address in the request that counts in place of the header.
  const whole = await http.request(get(`http://one.example${json}?x`, "other.example"));
  assert.match(whole.body, /web\.one\.example/);
  assert.equal((await http.request(get(`http://other.example${json}`, "one.example"))).status, 404);
  assert.equal((await http.request(get("/ws", "one.example"))).status, 404);
  assert.equal((await http.request(get("/xmpp", "one.example"))).status, 426);
  http.drop();
});

test("what is in a Host header comes back in no answer unless it is a name", async (t) => {
  const wire = await Wire.start(t);
  const http = await RawHttp.connect({ port: wire.edge.http });
  assert.equal((await http.request(get(json, `a"b'<c>`))).status, 404);
  http.drop();
});
