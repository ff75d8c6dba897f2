import assert from "node:assert/strict";
import { test } from "node:test";
import { dnsRecords, hostName } from "../../src/cli/dns.ts";
import { parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { breakwater, configFile } from "./support.ts";

const text = (listeners: string, more = "") => `
domains:
  - { name: example.org, certificate: a.crt, key: a.key }
  - { name: bücher.example, certificate: a.crt, key: a.key }
listeners:
${listeners}
cores: [{ name: main, kind: other, connect: "tcp://127.0.0.1:5222" }]
${more}
`;

function records(yaml: string): string[] {
  const loaded = parseConfig(yaml, "/etc/breakwater/breakwater.yaml");
  if (loaded instanceof ConfigMistakes) throw new Error(loaded.lines().join("\n"));
  return dnsRecords(loaded.config, "edge.example.org").trim().split("\n");
}

test("each domain gets SRV and TXT records for the ports that clients reach, in ASCII", () => {
  const listeners = `
  - { kind: starttls, listen: ":5222" }
  - { kind: tls, listen: ":5223" }
  - { kind: all, listen: ":443" }`;
  assert.deepEqual(records(text(listeners)), [
    "; example.org",
    "_xmpp-client._tcp.example.org. 3600 IN SRV 10 0 5222 edge.example.org.",
    "_xmpps-client._tcp.example.org. 3600 IN SRV 5 0 5223 edge.example.org.",
    "_xmpps-client._tcp.example.org. 3600 IN SRV 15 0 443 edge.example.org.",
    '_xmppconnect.example.org. 3600 IN TXT "_xmpp-client-websocket=wss://edge.example.org/ws"',
    '_xmppconnect.example.org. 3600 IN TXT "_xmpp-client-xbosh=https://edge.example.org/http-bind"',
    "",
    "; bücher.example",
    "_xmpp-client._tcp.xn--bcher-kva.example. 3600 IN SRV 10 0 5222 edge.example.org.",
    "_xmpps-client._tcp.xn--bcher-kva.example. 3600 IN SRV 5 0 5223 edge.example.org.",
    "_xmpps-client._tcp.xn--bcher-kva.example. 3600 IN SRV 15 0 443 edge.example.org.",
    '_xmppconnect.xn--bcher-kva.example. 3600 IN TXT "_xmpp-client-websocket=wss://edge.example.org/ws"',
    '_xmppconnect.xn--bcher-kva.example. 3600 IN TXT "_xmpp-client-xbosh=https://edge.example.org/http-bind"',
    "",
    "; the certificates must also name edge.example.org, where browsers are sent there",
  ]);
});

test("the addresses of host_meta count, and ports behind a balancer get a note instead of a record", () => {
  const listeners = `
  - { kind: http, listen: "127.0.0.1:5280" }
  - { kind: tls, listen: ":5224", proxy_protocol: { trusted: ["10.0.0.1"] } }`;
  const more = `http: { host_meta: { websocket: "wss://web.{domain}/ws", bosh: "https://web.{domain}/bind" } }`;
  assert.deepEqual(records(text(listeners, more)).slice(0, 3), [
    "; example.org",
    '_xmppconnect.example.org. 3600 IN TXT "_xmpp-client-websocket=wss://web.example.org/ws"',
    '_xmppconnect.example.org. 3600 IN TXT "_xmpp-client-xbosh=https://web.example.org/bind"',
  ]);
  assert.deepEqual(records(text(listeners, more)).slice(-2), [
    "; http on 127.0.0.1:5280 is behind a balancer: write a record for the balancer's port",
    "; tls on [::]:5224 is behind a balancer: write a record for the balancer's port",
  ]);
});

test("breakwater dns prints them", async (t) => {
  const { file } = await configFile(t);
  const { code, out } = await breakwater("dns", "--config", file, "--target", "edge.example.org");
  assert.equal(code, 0);
  assert.match(out, /^; example\.org\n/);
});

test("a target is a name in ASCII, however it is written", () => {
  assert.equal(hostName("Edge.example.org."), "edge.example.org");
  assert.equal(hostName("bücher.example"), "xn--bcher-kva.example");
  assert.equal(hostName("host_1"), "host_1");
});

test("a target that no record may have is refused", async (t) => {
  const { file } = await configFile(t);
  for (const target of ["https://edge.example.org", "192.0.2.1", "2001:db8::1", "edge example", "edge..example", ""]) {
    const { code, out, err } = await breakwater("dns", "--config", file, "--target", target);
    assert.deepEqual([code, out], [64, ""], target);
    assert.match(err, /--target|argument/, target);
  }
});

test("one port on several addresses is one record", () => {
  const listeners = `
  - { kind: starttls, listen: "192.0.2.1:5222" }
  - { kind: starttls, listen: "[2001:db8::1]:5222" }
  - { kind: starttls, listen: "[2001:db8::1]:5322" }`;
  assert.deepEqual(records(text(listeners)).slice(0, 4), [
    "; example.org",
    "_xmpp-client._tcp.example.org. 3600 IN SRV 10 0 5222 edge.example.org.",
    "_xmpp-client._tcp.example.org. 3600 IN SRV 10 0 5322 edge.example.org.",
    "",
  ]);
});
