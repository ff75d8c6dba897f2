import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import { DOMAIN, type Place, place } from "./place.ts";

test("a good certificate is taken into use without a word", (t) => {
  const { at, made } = place(t);
  at.open();
  assert.deepEqual([at.used.length, at.last.chain, at.lines], [1, made.certificate, []]);
});

test("an encrypted key is opened with its passphrase, once", (t) => {
  const { at, made } = place(t);
  const locked = execFileSync("openssl", ["pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:sesame"], {
    input: made.key,
  });
  at.write(made.certificate, locked.toString());
  at.open(undefined, { passphrase: "sesame" });
  assert.match(String(at.last.key), /BEGIN PRIVATE KEY/);
  assert.throws(() => at.open(), /tls\.key is encrypted: give its passphrase/);
  assert.throws(
    () => at.open(undefined, { passphrase: "wrong" }),
    /tls\.key cannot be opened: is the passphrase right/,
  );
});

for (const [what, spoil, says] of [
  [
    "a missing certificate",
    (at: Place) => rmSync(at.path("tls.crt")),
    /tls\.crt cannot be read: there is no such file/,
  ],
  ["a missing key", (at: Place) => rmSync(at.path("tls.key")), /tls\.key cannot be read: there is no such file/],
  [
    "a directory",
    (at: Place) => {
      rmSync(at.path("tls.key"));
      mkdirSync(at.path("tls.key"));
    },
    /tls\.key cannot be read/,
  ],
  ["a file without a certificate", (at: Place) => writeFileSync(at.path("tls.crt"), "hello"), /tls\.crt holds no PEM/],
  [
    "a file without a key",
    (at: Place) => writeFileSync(at.path("tls.key"), "hello"),
    /tls\.key holds no PEM private key/,
  ],
  [
    "a damaged certificate",
    (at: Place) => writeFileSync(at.path("tls.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    /certificate 1 in .*tls\.crt is damaged/,
  ],
  [
    "the key of another certificate",
    (at: Place) => writeFileSync(at.path("tls.key"), developmentCertificate([DOMAIN]).key),
    /tls\.key is not the key of .*tls\.crt/,
  ],
] as const) {
  test(`at the start ${what} is told with its file and what to do`, (t) => {
    const { at } = place(t);
    spoil(at);
    assert.throws(() => at.open(), { code: "BW_TLS_CERTIFICATE", message: says });
    assert.equal(at.used.length, 0);
  });
}

test("a certificate for other names is used, with a warning that says which names it has", (t) => {
  const { at } = place(t);
  const other = developmentCertificate(["talk.example"]);
  at.write(other.certificate, other.key);
  at.open();
  assert.match(String(at.logged("certificate")[0]!["warning"]), /not for chat\.example but for .*DNS:talk\.example/);
});

test("wildcards cover a domain one level down, and SRVName covers the domain that it names", (t) => {
  const { at } = place(t);
  at.domain = "im.chat.example";
  const wildcard = developmentCertificate(["*.chat.example"]);
  at.write(wildcard.certificate, wildcard.key);
  at.open();
  const srv = execFileSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"],
    ...["-keyout", at.path("tls.key"), "-addext"],
    `subjectAltName=otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-client.${at.domain}`,
  ]);
  writeFileSync(at.path("tls.crt"), srv);
  at.open();
  assert.deepEqual(at.logged("certificate"), []);
});

test("an expired certificate is used, with a warning and the date", (t) => {
  const { at } = place(t);
  at.clock.advance({ seconds: 10 * 366 * 86_400 });
  at.open();
  assert.match(String(at.logged("certificate")[0]!["warning"]), /tls\.crt expired on 20\d\d-/);
});

test("a chain in the wrong order is used, with a warning that says what to do", (t) => {
  const { at, made } = place(t);
  at.write(made.certificate + made.ca, made.key);
  at.open();
  assert.deepEqual(at.logged("certificate"), []);
  at.write(made.certificate + developmentCertificate([DOMAIN]).ca, made.key);
  at.open();
  assert.match(String(at.logged("certificate")[0]!["warning"]), /certificate 2 in .* did not issue certificate 1/);
});
