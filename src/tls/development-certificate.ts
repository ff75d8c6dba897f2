import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { domainToASCII } from "node:url";
import forge from "node-forge";
import { BreakwaterError } from "../base/errors.ts";

const { asn1, pki } = forge;

const YEAR_MS = 365 * 24 * 3600 * 1000;
const CLOCK_SKEW_MS = 3600 * 1000;
const OID_ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2"; // RFC 5758 §3.2
const OID_SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
const OID_AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";

/** Three PEM texts; none of them is encrypted. `certificate` is the leaf alone: the CA is trusted, never sent. */
export interface DevelopmentCertificate {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/**
 * A throw-away authority and an ECDSA P-256 certificate that it signed, for trials and tests. Valid for one year, for
 * `domains` (dNSName) and for localhost, 127.0.0.1 and ::1. The authority's key is forgotten when this returns.
 *
 * node-forge writes the certificates but knows only RSA, so node:crypto makes the keys and the signatures.
 */
export function developmentCertificate(domains: readonly string[]): DevelopmentCertificate {
  const names = [...new Set([...domains.map(asciiName), "localhost"])];
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
  // Two authorities must not look alike in a trust store.
  const issuer = `Breakwater development CA ${randomBytes(4).toString("hex")}`;
  const ca = issue({
    subject: issuer,
    issuer,
    publicKey: authority.publicKey,
    issuerKey: authority.privateKey,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const certificate = issue({
    subject: names[0]!,
    issuer,
    publicKey: leaf.publicKey,
    issuerKey: authority.privateKey,
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      { name: "subjectAltName", altNames: [...names.map(dnsName), ipAddress("127.0.0.1"), ipAddress("::1")] },
    ],
  });
  return { ca, certificate, key: leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

function asciiName(domain: string): string {
  const ascii = domainToASCII(domain);
  if (ascii === "") throw new BreakwaterError("BW_TLS_NAME", `"${domain}" is not a domain name: no certificate for it`);
  return ascii;
}

const dnsName = (value: string) => ({ type: 2, value });
const ipAddress = (ip: string) => ({ type: 7, ip });

interface Issue {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly Record<string, unknown>[];
}

/** Writes and signs one X.509 v3 certificate (RFC 5280 §4.1), as PEM. */
function issue(what: Issue): string {
  const draft = pki.createCertificate();
  // Positive and never zero (RFC 5280 §4.1.2.2).
  draft.serialNumber = `01${randomBytes(15).toString("hex")}`;
  draft.validity.notBefore = new Date(Date.now() - CLOCK_SKEW_MS);
  draft.validity.notAfter = new Date(Date.now() + YEAR_MS);
  // A common name holds at most 64 characters (RFC 5280, ub-common-name); the names that count are the SANs.
  draft.setSubject([{ name: "commonName", value: what.subject.slice(0, 64) }]);
  draft.setIssuer([{ name: "commonName", value: what.issuer }]);
  draft.setExtensions([
    ...what.extensions,
    { id: OID_SUBJECT_KEY_IDENTIFIER, value: octets(keyIdentifier(what.publicKey)) },
    { id: OID_AUTHORITY_KEY_IDENTIFIER, value: authorityKeyIdentifier(createPublicKey(what.issuerKey)) },
  ]);

  // forge leaves room for an RSA key and signature; ours take the same places in the sequence.
  draft.publicKey = pki.setRsaPublicKey(new forge.jsbn.BigInteger("3"), new forge.jsbn.BigInteger("3"));
  draft.siginfo.algorithmOid = draft.signatureOid = pki.oids["sha256WithRSAEncryption"]!;
  const [body] = pki.certificateToAsn1(draft).value as [forge.asn1.Asn1];
  const fields = body.value as forge.asn1.Asn1[];
  fields[2] = algorithm();
  fields[6] = asn1.fromDer(what.publicKey.export({ type: "spki", format: "der" }).toString("binary"));
  const signature = sign("sha256", Buffer.from(asn1.toDer(body).getBytes(), "binary"), what.issuerKey);
  const { SEQUENCE, BITSTRING } = asn1.Type;
  const whole = asn1.create(asn1.Class.UNIVERSAL, SEQUENCE, true, [
    body,
    algorithm(),
    asn1.create(asn1.Class.UNIVERSAL, BITSTRING, false, `\u0000${signature.toString("binary")}`),
  ]);
  return forge.pem.encode({ type: "CERTIFICATE", body: asn1.toDer(whole).getBytes() });
}

/** ecdsa-with-SHA256 takes no parameters, not even NULL (RFC 5758 §3.2). */
function algorithm(): forge.asn1.Asn1 {
  const oid = asn1.oidToDer(OID_ECDSA_WITH_SHA256).getBytes();
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [
    asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, oid),
  ]);
}

/** SHA-1 over the key's bits (RFC 5280 §4.2.1.2): strict verifiers ask for both identifiers. */
function keyIdentifier(key: KeyObject): string {
  const { x, y } = key.export({ format: "jwk" });
  const point = Buffer.concat([Buffer.of(4), Buffer.from(x!, "base64url"), Buffer.from(y!, "base64url")]);
  return createHash("sha1").update(point).digest("binary");
}

function octets(value: string): string {
  return asn1.toDer(asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, value)).getBytes();
}

function authorityKeyIdentifier(key: KeyObject): string {
  const identifier = asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, false, keyIdentifier(key));
  return asn1.toDer(asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [identifier])).getBytes();
}
