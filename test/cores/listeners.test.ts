import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { type Ejabberd, startEjabberd } from "../support/cores/index.ts";
import { spawnEdge, startEdge, type TestEdge } from "../support/edge.ts";

const domains = ["one.example", "two.example"];
const login = { user: "alice", password: "pw" };

describe("an edge in front of ejabberd", () => {
  let core: Ejabberd;

  before(async () => {
    core = await startEjabberd({ domain: domains[0]!, domains: [domains[1]!], tls: true });
    for (const domain of domains) await core.register("alice", "pw", domain);
  });
  after(() => core.stop());

  const edgeFor = (t: { after(run: () => Promise<void>): void }, options: object = {}): Promise<TestEdge> =>
    startEdge({ core: { ...core, kind: "ejabberd" }, domains, ...options }).then((edge) => {
      t.after(() => edge.stop());
      return edge;
    });

  const logsIn = async ({ tls: port, ca }: TestEdge) => {
    const client = await RawClient.login({ ...login, port, tls: "direct", ca, domain: "one.example" });
    await client.fence();
    await client.end();
  };

  test("one listener serves several domains, by the stream's `to`, whatever the SNI", async (t) => {
    const edge = await edgeFor(t);
    for (const [domain, servername] of [
      ["one.example", "one.example"],
      ["two.example", "two.example"],
      ["two.example", "one.example"],
      ["two.example", null],
    ] as const) {
      const client = await RawClient.login({
        ...login,
        port: edge.tls,
        tls: "direct",
        ca: edge.ca,
        domain,
        servername,
      });
      assert.match(client.jid!, new RegExp(`^alice@${domain}/`));
      await client.end();
    }
  });

  test("clients come over IPv6 as over IPv4", async (t) => {
    const edge = await edgeFor(t, { listenHost: "[::1]" });
    const client = await RawClient.login({
      ...login,
      host: "::1",
      port: edge.starttls,
      tls: "starttls",
      ca: edge.ca,
      domain: "one.example",
    });
    await client.fence();
    await client.end();
  });

  for (const version of ["v1", "v2"] as const) {
    test(`the core sees the client's own address through PROXY ${version}`, async (t) => {
      const edge = await edgeFor(t, {
        connect: `tcp://127.0.0.1:${core.proxyPort}`,
        coreConfig: `    proxy_protocol: ${version}`,
        listenerConfig: `    proxy_protocol: { trusted: ["127.0.0.1"] }`,
      });
      for (const [header, address] of [
        ["PROXY TCP4 203.0.113.7 198.51.100.1 50003 5222\r\n", "203.0.113.7"],
        ["PROXY TCP6 2001:db8::5 2001:db8::1 50004 5222\r\n", "2001:db8::5"],
      ] as const) {
        const options = {
          port: edge.tls,
          tls: "direct",
          ca: edge.ca,
          domain: "one.example",
          preamble: header,
        } as const;
        const client = await RawClient.login({ ...login, ...options, resource: "proxied" });
        client.presence();
        await client.fence();
        const users = await core.ctl("connected_users_info");
        assert.match(users, new RegExp(`proxied.*${address.replaceAll(".", "\\.")}`));
        await client.end();
      }
    });
  }

  test("a PROXY header is required from a trusted balancer and refused from anybody else", async (t) => {
    const trusting = await edgeFor(t, { listenerConfig: `    proxy_protocol: { trusted: ["127.0.0.1"] }` });
    const bare = connectTcp(trusting.starttls, "127.0.0.1").on("error", () => {});
    bare.write("<?xml version='1.0'?><stream:stream");
    await new Promise((resolve) => bare.once("close", resolve));
    assert.equal(await trusting.metric("breakwater_proxy_header_refused_total", { reason: "malformed" }), 1);

    const strict = await edgeFor(t, { listenerConfig: `    proxy_protocol: { trusted: ["203.0.113.1"] }` });
    const spoofer = connectTcp(strict.starttls, "127.0.0.1").on("error", () => {});
    await new Promise((resolve) => spoofer.once("close", resolve));
    assert.equal(await strict.metric("breakwater_proxy_header_refused_total", { reason: "untrusted" }), 1);
  });

  test("the core may be reached over a unix socket", async (t) => {
    const edge = await edgeFor(t, { connect: `unix:${core.unixPath}` });
    await logsIn(edge);
  });

  test("the core may be reached over TLS, and its certificate is checked", async (t) => {
    const connect = `tls://127.0.0.1:${core.tlsPort}`;
    const tls = (servername: string) =>
      `    tls: { ca: ${core.ca}, servername: ${servername} }\n    mechanisms: [PLAIN, SCRAM-SHA-1, SCRAM-SHA-256]`;
    const edge = await edgeFor(t, { connect, coreConfig: tls("one.example") });
    await logsIn(edge);

    const wrong = await edgeFor(t, { connect, coreConfig: tls("other.example") });
    const refused = await RawClient.connect({ port: wrong.tls, tls: "direct", ca: wrong.ca, domain: "one.example" });
    await assert.rejects(refused.open(), /remote-connection-failed/);
  });

  test("garbage after the TLS handshake ends that connection and no other", async (t) => {
    const edge = await edgeFor(t);
    const options = { port: edge.tls, tls: "direct", ca: edge.ca, domain: "one.example" } as const;
    const well = await RawClient.login({ ...login, ...options });
    const raw = connectTcp(edge.tls, "127.0.0.1");
    const tls = connectTls({ socket: raw, ca: readFileSync(edge.ca), servername: "one.example" });
    tls.on("error", () => {});
    await new Promise((resolve) => tls.once("secureConnect", resolve));
    const gone = new Promise((resolve) => raw.once("close", resolve));
    raw.write(Buffer.alloc(100, 0x17));
    await gone;
    await well.fence();
    await well.end();
  });

  for (const how of ["SIGHUP", "file change"] as const) {
    test(`a new certificate is served after ${how}, a broken one refused, and nobody is dropped`, async (t) => {
      const edge = await spawnEdge({ core: { ...core, kind: "ejabberd" }, domains });
      t.after(() => edge.stop());
      const options = { port: edge.tls, tls: "direct", domain: "one.example" } as const;
      const early = await RawClient.login({ ...login, ...options, ca: edge.ca });
      const serial = (client: RawClient) => (client.socket as TLSSocket).getPeerCertificate().serialNumber;
      const tell = () => how === "SIGHUP" && edge.process.kill("SIGHUP");

      const renewed = developmentCertificate(domains);
      const ca = join(edge.dir, "renewed-ca.pem");
      writeFileSync(ca, renewed.ca);
      writeFileSync(join(edge.dir, "edge.key"), renewed.key);
      writeFileSync(join(edge.dir, "edge.crt"), renewed.certificate);
      tell();
      const later = await until(() => RawClient.login({ ...login, ...options, ca }));
      assert.notEqual(serial(later), serial(early));

      copyFileSync(ca, join(edge.dir, "edge.crt"));
      tell();
      await until(async () => assert.match(edge.log(), /refused/));
      const last = await RawClient.login({ ...login, ...options, ca });
      assert.equal(serial(last), serial(later));
      await early.fence();
    });
  }
});

/** What `attempt` answers as soon as it does not fail; its last error after a minute. */
async function until<T>(attempt: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + 60_000; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
