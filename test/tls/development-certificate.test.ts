import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";

const DAY_MS = 24 * 3600 * 1000;

test("a development certificate is an ECDSA one for its domains and this machine, signed by its authority", () => {
  const made = developmentCertificate(["chat.example", "bücher.example"]);
  const [ca, leaf] = [new X509Certificate(made.ca), new X509Certificate(made.certificate)];
  assert.equal(leaf.publicKey.asymmetricKeyType, "ec");
  assert.ok(leaf.verify(ca.publicKey) && leaf.checkIssued(ca) && ca.ca && !leaf.ca);
  for (const name of ["chat.example", "xn--bcher-kva.example", "localhost"]) {
    assert.equal(leaf.checkHost(name, { subject: "never" }), name);
  }
  for (const ip of ["127.0.0.1", "::1"]) assert.equal(leaf.checkIP(ip), ip);
  assert.equal(leaf.checkHost("other.example"), undefined);
  assert.ok(leaf.checkPrivateKey(createPrivateKey(made.key)));
});

test("it is valid now and for a year", () => {
  const leaf = new X509Certificate(developmentCertificate(["chat.example"]).certificate);
  assert.ok(leaf.validFromDate.getTime() < Date.now());
  assert.equal(Math.round((leaf.validToDate.getTime() - Date.now()) / DAY_MS), 365);
});

test("two of them have nothing in common: neither serial, name nor key of the authority", () => {
  const [one, other] = [1, 2].map(() => new X509Certificate(developmentCertificate(["chat.example"]).ca));
  assert.notEqual(one!.serialNumber, other!.serialNumber);
  assert.notEqual(one!.subject, other!.subject);
  assert.notEqual(
    one!.publicKey.export({ type: "spki", format: "pem" }),
    other!.publicKey.export({ type: "spki", format: "pem" }),
  );
});

test("a domain with a long name gets a certificate too", () => {
  const long = `${"a".repeat(60)}.${"b".repeat(60)}.example`;
  assert.equal(new X509Certificate(developmentCertificate([long]).certificate).checkHost(long), long);
});

test("what is no domain name is refused", () => {
  assert.throws(() => developmentCertificate(["not a name"]), { code: "BW_TLS_NAME" });
});
