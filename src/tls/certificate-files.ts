import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { domainToASCII } from "node:url";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import type { Certificate } from "./contexts.ts";

/** Where one certificate lies. Both files are PEM; `certificate` holds the chain, the leaf first. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
  readonly passphrase?: string | undefined;
}

/** What was read, and what an operator may want to know of it. */
export interface LoadedCertificate extends Certificate {
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** Each one sentence: things that work here and will fail at the clients. */
  readonly warnings: readonly string[];
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads one certificate and its key, and checks that they belong together.
 * Throws BreakwaterError("BW_TLS_CERTIFICATE") that names the file and what to do. `now` is wall time in ms.
 */
export function loadCertificate(domain: string, files: CertificateFiles, now: number): LoadedCertificate {
  const chain = read(files.certificate);
  const certificates = parseChain(chain, files.certificate);
  const leaf = certificates[0]!;
  const pem = read(files.key);
  const key = parseKey(pem, files);
  if (!leaf.checkPrivateKey(key)) {
    throw refused(`${files.key} is not the key of ${files.certificate}: give the two that were made together`);
  }
  const expiresAt = Math.min(...certificates.map((one) => one.validToDate.getTime()));
  return {
    chain,
    // Unlocked here once, so that no passphrase travels further and each new context is quick.
    key: key.export({ type: "pkcs8", format: "pem" }).toString(),
    expiresAt,
    warnings: warningsFor(domain, certificates, files.certificate, now),
  };
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const advice =
      code === "ENOENT"
        ? "there is no such file"
        : code === "EACCES"
          ? "this process may not read it: check its owner and mode"
          : messageOf(cause);
    throw refused(`${file} cannot be read: ${advice}`, cause);
  }
}

function parseChain(pem: string, file: string): X509Certificate[] {
  const blocks = pem.match(PEM_CERTIFICATE);
  if (!blocks) throw refused(`${file} holds no PEM certificate ("-----BEGIN CERTIFICATE-----")`);
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw refused(`certificate ${i + 1} in ${file} is damaged: ${messageOf(cause)}`, cause);
    }
  });
}

function parseKey(pem: string, { key: file, passphrase }: CertificateFiles) {
  const encrypted = /ENCRYPTED/.test(pem); // "BEGIN ENCRYPTED PRIVATE KEY", or the older "Proc-Type: 4,ENCRYPTED"
  if (encrypted && passphrase === undefined) throw refused(`${file} is encrypted: give its passphrase`);
  try {
    return createPrivateKey({ key: pem, ...(encrypted && { passphrase: passphrase! }) });
  } catch (cause) {
    const what = encrypted ? "cannot be opened: is the passphrase right?" : "holds no PEM private key";
    throw refused(`${file} ${what} (${messageOf(cause)})`, cause);
  }
}

function warningsFor(domain: string, chain: readonly X509Certificate[], file: string, now: number): string[] {
  const leaf = chain[0]!;
  const warnings: string[] = [];
  for (const one of chain) {
    const name = one === leaf ? file : `an issuer in ${file}`;
    if (one.validToDate.getTime() <= now) warnings.push(`${name} expired on ${one.validToDate.toISOString()}`);
    if (one.validFromDate.getTime() > now)
      warnings.push(`${name} is not valid before ${one.validFromDate.toISOString()}`);
  }
  if (!covers(leaf, domain)) {
    warnings.push(
      `${file} is not for ${domain} but for ${leaf.subjectAltName ?? "no name at all"}: clients will refuse it`,
    );
  }
  for (let i = 1; i < chain.length; i++) {
    if (!chain[i - 1]!.checkIssued(chain[i]!)) {
      warnings.push(
        `certificate ${i + 1} in ${file} did not issue certificate ${i}: put the leaf first, then its issuers`,
      );
    }
  }
  return warnings;
}

/** By dNSName, wildcards included, or by SRVName (RFC 6120 §13.7.1.2). */
function covers(leaf: X509Certificate, domain: string): boolean {
  const ascii = domainToASCII(domain) || domain;
  if (leaf.checkHost(ascii, { subject: "never" }) !== undefined) return true;
  const names = leaf.subjectAltName?.split(", ") ?? [];
  return names.some((name) => /^othername: ?SRVName:/i.test(name) && name.endsWith(`:_xmpp-client.${ascii}`));
}

function refused(message: string, cause?: unknown): BreakwaterError {
  return new BreakwaterError("BW_TLS_CERTIFICATE", message, { cause });
}
