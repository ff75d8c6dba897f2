import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, renameSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { meter } from "../../src/base/meter.ts";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import { until } from "../support/wire.ts";
import { DOMAIN, Place, place } from "./place.ts";
import { echo, stay, tlsServer, visit } from "./support.ts";

/** The value of a series of this domain. */
function metric(name: string, labels: Record<string, string>): number | undefined {
  const series = [...meter.all()].find((one) => one.name === name)!;
  assert.ok("cells" in series);
  return [...series.cells()].find((one) => isDeepStrictEqual({ ...one.labels }, labels))?.cell.value;
}

test("the gauge tells when the certificate expires, in seconds since 1970", (t) => {
  const { at, made } = place(t);
  at.open();
  const expiry = new X509Certificate(made.certificate).validToDate.getTime() / 1000;
  assert.equal(metric("breakwater_tls_certificate_expiry_seconds", { domain: DOMAIN }), expiry);
});

test("what was loaded and what was refused is counted for each domain", (t) => {
  const { at, made } = place(t);
  at.domain = "counted.example";
  at.open().watch();
  at.write("broken", made.key);
  at.look();
  at.write(made.certificate, made.key);
  at.look();
  const loads = (result: string) => metric("breakwater_tls_certificate_loads_total", { domain: at.domain, result });
  assert.deepEqual([loads("loaded"), loads("refused")], [2, 1]);
});

test("files that are renamed into place are noticed at once, and used when they have settled", async (t) => {
  const { at } = place(t);
  at.open().watch();
  const next = developmentCertificate([DOMAIN]);
  writeFileSync(at.path("new.crt"), next.certificate);
  writeFileSync(at.path("new.key"), next.key);
  renameSync(at.path("new.crt"), at.path("tls.crt"));
  renameSync(at.path("new.key"), at.path("tls.key"));
  // The kernel tells of changes when it likes. In all of the test's patience no minute passes, after which it would look by itself.
  await until(() => {
    at.clock.advance({ ms: 4 });
    return at.used.length === 2;
  }, "they are used");
  assert.equal(at.last.chain, next.certificate);
  assert.equal(at.logged("certificate refused, the old one stays in use").length, 0);
});

test("a swapped ..data symlink, as Kubernetes does it, brings the new certificate", (t) => {
  const at = new Place(t);
  const [first, second] = [developmentCertificate([DOMAIN]), developmentCertificate([DOMAIN])];
  mkdirSync(at.path("one"));
  mkdirSync(at.path("two"));
  at.write(first!.certificate, first!.key, "one");
  at.write(second!.certificate, second!.key, "two");
  symlinkSync("one", at.path("..data"));
  symlinkSync("..data/tls.crt", at.path("tls.crt"));
  symlinkSync("..data/tls.key", at.path("tls.key"));
  at.open().watch();
  symlinkSync("two", at.path("..tmp"));
  renameSync(at.path("..tmp"), at.path("..data"));
  at.look();
  assert.equal(at.last.chain, second!.certificate);
});

test("without any sign from the kernel a change is found within a minute", (t) => {
  const { at } = place(t);
  at.open().watch();
  const next = developmentCertificate([DOMAIN]);
  at.write(next.certificate, next.key);
  at.look();
  assert.equal(at.last.chain, next.certificate);
});

test("a broken new certificate is refused with file and reason, told once, and the old one stays until it is mended", (t) => {
  const { at, made } = place(t);
  at.open().watch();
  const next = developmentCertificate([DOMAIN]);
  writeFileSync(at.path("tls.crt"), next.certificate);
  at.look();
  at.look();
  assert.equal(at.last.chain, made.certificate);
  const refusals = at.logged("certificate refused, the old one stays in use");
  assert.deepEqual([refusals.length, refusals[0]!["domain"]], [1, DOMAIN]);
  assert.match(String(refusals[0]!["reason"]), /tls\.key is not the key of .*tls\.crt/);
  writeFileSync(at.path("tls.key"), next.key);
  at.look();
  assert.equal(at.last.chain, next.certificate);
});

test("files that are only touched or copied over themselves change nothing that clients see", (t) => {
  const { at, made } = place(t);
  at.open().watch();
  utimesSync(at.path("tls.crt"), new Date(), new Date());
  copyFileSync(at.path("tls.key"), at.path("tls.key.bak"));
  at.look();
  assert.equal(at.last.chain, made.certificate);
  assert.equal(at.logged("certificate refused, the old one stays in use").length, 0);
});

test("new handshakes get the new certificate while those who are inside stay inside", async (t) => {
  const { at, made } = place(t);
  const server = await tlsServer(t, {
    domains: [],
    setUp: (contexts) => void at.open((domain) => contexts.set(domain)).watch(),
  });
  const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber;
  const inside = await stay(t, server.port, made.ca);
  assert.equal(inside.getPeerX509Certificate()!.serialNumber, serialOf(made.certificate));
  const next = developmentCertificate([DOMAIN]);
  at.write(next.certificate, next.key);
  at.look();
  const fresh = await stay(t, server.port, next.ca);
  assert.equal(fresh.getPeerX509Certificate()!.serialNumber, serialOf(next.certificate));
  assert.equal(await echo(inside, "still here"), "still here");
  await assert.rejects(visit({ ...server, ca: [made.ca] }));
});

test("what OpenSSL itself refuses is refused like any other broken certificate", (t) => {
  const { at, made } = place(t);
  let angry = false;
  at.open(() => {
    if (angry) throw new Error("ee key too small");
  }).watch();
  angry = true;
  const next = developmentCertificate([DOMAIN]);
  at.write(next.certificate, next.key);
  at.look();
  assert.equal(at.last.chain, made.certificate);
  assert.equal(at.logged("certificate refused, the old one stays in use")[0]!["reason"], "ee key too small");
});

test("a closed store looks no more", (t) => {
  const { at } = place(t);
  const store = at.open();
  store.watch();
  store.close();
  const next = developmentCertificate([DOMAIN]);
  at.write(next.certificate, next.key);
  at.look();
  assert.equal(at.used.length, 1);
  assert.notEqual(readFileSync(at.path("tls.crt"), "utf8"), at.last.chain);
});
