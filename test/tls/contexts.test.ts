import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BreakwaterError } from "../../src/base/errors.ts";
import { TlsContexts } from "../../src/tls/contexts.ts";
import { TicketKeys } from "../../src/tls/tickets.ts";
import { testAuthority } from "../support/certificates.ts";
import { TurnedClock } from "../support/clock.ts";
import { certificateFor, interactiveClient, sClient, tlsServer, visit } from "./support.ts";

const trustAll = { checkServerIdentity: () => undefined };

test("each domain's clients get the certificate of their domain", async (t) => {
  const server = await tlsServer(t, { domains: ["chat.example", "talk.example"] });
  assert.equal((await visit(server, { servername: "chat.example" })).name, "chat.example");
  assert.equal((await visit(server, { servername: "talk.example" })).name, "talk.example");
  assert.equal((await visit(server, { servername: "TALK.example" })).name, "talk.example");
});

test("a domain outside ASCII is found by the A-labels that clients send", async (t) => {
  const server = await tlsServer(t, { domains: ["chat.example", "bücher.example"] });
  assert.equal((await visit(server, { servername: "xn--bcher-kva.example" })).name, "xn--bcher-kva.example");
});

test("a client that names no domain, or one that is not served, gets the first domain's certificate", async (t) => {
  const server = await tlsServer(t, { domains: ["chat.example", "talk.example"] });
  assert.equal((await visit(server, { servername: "", ...trustAll })).name, "chat.example");
  assert.equal((await visit(server, { servername: "other.example", ...trustAll })).name, "chat.example");
  assert.equal((await visit(server, { servername: "x".repeat(60), ...trustAll })).name, "chat.example");
  assert.deepEqual(server.errors, []);
});

test("the TLS sockets of one kind share one options object, whatever is replaced", async (t) => {
  const server = await tlsServer(t);
  const before = server.contexts.serverOptions("tls");
  const { certificate, key } = certificateFor("chat.example");
  server.contexts.set({ domain: "chat.example", certificates: [{ chain: certificate, key }] });
  assert.equal(server.contexts.serverOptions("tls"), before);
  assert.equal(before.secureContext, server.contexts.secureContextFor(undefined));
});

test("with an ECDSA and an RSA certificate each client gets the one that it can verify", async (t) => {
  const [ec, rsa] = (["ec", "rsa"] as const).map((kind) => testAuthority().issue(["chat.example"], kind));
  const server = await tlsServer(t, {
    domains: [],
    setUp: (contexts) =>
      contexts.set({
        domain: "chat.example",
        certificates: [ec!, rsa!].map((one) => ({ chain: readFileSync(one.cert), key: readFileSync(one.key) })),
      }),
  });
  for (const version of ["-tls1_2", "-tls1_3"]) {
    const verify = [version, "-CAfile", testAuthority().ca, "-servername", "chat.example"];
    assert.match(
      await sClient(server, ...verify, "-sigalgs", "ECDSA+SHA256"),
      /signature type: ECDSA\b[\s\S]*Verification: OK/,
    );
    assert.match(
      await sClient(server, ...verify, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"),
      /signature type: RSA-PSS\b[\s\S]*Verification: OK/,
    );
    // Who can verify both gets the smaller one.
    assert.match(await sClient(server, ...verify), /signature type: ECDSA\b[\s\S]*Verification: OK/);
  }
});

test("direct TLS agrees on xmpp-client, and takes clients without ALPN (XEP-0368 §2)", async (t) => {
  const server = await tlsServer(t);
  assert.equal((await visit(server, { ALPNProtocols: ["xmpp-client"] })).alpn, "xmpp-client");
  assert.equal((await visit(server, { ALPNProtocols: ["h2", "xmpp-client"] })).alpn, "xmpp-client");
  assert.equal((await visit(server)).alpn, false);
});

test("direct TLS refuses a client that offers only other protocols, with the alert made for it (RFC 7301 §3.2)", async (t) => {
  const server = await tlsServer(t);
  assert.match(await sClient(server, "-alpn", "h2,xmpp-server"), /alert no application protocol/);
});

test("STARTTLS has no use for ALPN and refuses nobody over it", async (t) => {
  const server = await tlsServer(t, { kind: "starttls" });
  assert.equal((await visit(server, { ALPNProtocols: ["h2"] })).alpn, false);
});

test("a client older than the configured version is refused", async (t) => {
  const server = await tlsServer(t, { settings: { minVersion: "TLSv1.3" } });
  await assert.rejects(visit(server, { maxVersion: "TLSv1.2" }));
  assert.equal((await visit(server)).protocol, "TLSv1.3");
});

test("ciphers and key exchange groups are the configured ones", async (t) => {
  const settings = { ciphers: "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384", groups: "P-256" };
  const server = await tlsServer(t, { settings });
  assert.match(await sClient(server), /Server Temp Key: ECDH, prime256v1[\s\S]*Cipher is TLS_CHACHA20_POLY1305_SHA256/);
  assert.match(await sClient(server, "-tls1_2"), /Cipher is ECDHE-ECDSA-AES256-GCM-SHA384/);
});

test("a client that asks to renegotiate under TLS 1.2 gets nothing but a refusal", async (t) => {
  const server = await tlsServer(t);
  const client = interactiveClient(t, server, "-tls1_2");
  let printed = "";
  const ended = new Promise<void>((resolve) => {
    const read = (chunk: Buffer): void => {
      const greeted = printed.includes("hi");
      printed += chunk.toString("latin1");
      if (!greeted && printed.includes("hi")) client.stdin!.write("R\n");
    };
    client.stdout!.on("data", read);
    client.stderr!.on("data", read);
    client.once("close", () => resolve());
  });
  await ended;
  assert.match(printed, /no renegotiation/);
});

test("a certificate that OpenSSL refuses is told by its domain, and the one in use stays", async (t) => {
  const server = await tlsServer(t);
  const wrong = { chain: certificateFor("chat.example").certificate, key: certificateFor("talk.example").key };
  assert.throws(
    () => server.contexts.set({ domain: "chat.example", certificates: [wrong] }),
    (error: BreakwaterError) => error.code === "BW_TLS_CERTIFICATE" && /chat\.example/.test(error.message),
  );
  assert.equal((await visit(server)).name, "chat.example");
});

test("without any certificate there are no options to wrap a socket with", () => {
  const clock = new TurnedClock();
  const contexts = new TlsContexts({ minVersion: "TLSv1.2" }, new TicketKeys({ clock, rotateSeconds: 60 }));
  assert.equal(contexts.secureContextFor("chat.example"), null);
  assert.throws(() => contexts.serverOptions("tls"), BreakwaterError);
});
