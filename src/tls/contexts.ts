import { constants } from "node:crypto";
import type { SecureContext, SecureVersion, TLSSocketOptions } from "node:tls";
import * as tls from "node:tls";
import { domainToASCII } from "node:url";
import { BreakwaterError, messageOf } from "../base/errors.ts";
import type { TicketKeys } from "./tickets.ts";

/** The ALPN name of direct TLS (XEP-0368 §2). */
export const ALPN_XMPP_CLIENT = "xmpp-client";
/** The ALPN name of HTTP/1.1 (RFC 7301 §6): WebSocket and BOSH. */
export const ALPN_HTTP = "http/1.1";

/** What a TLS socket is for: the protocols that it may name in ALPN. */
export type TlsKind = "starttls" | "tls" | "https" | "all";

const PROTOCOLS = {
  tls: [ALPN_XMPP_CLIENT],
  https: [ALPN_HTTP],
  all: [ALPN_XMPP_CLIENT, ALPN_HTTP],
} as const;

// No renegotiation: under TLS 1.2 a client could make the edge sign again and again on one connection.
// No compression (CRIME). Servers choose the cipher, but prefer ChaCha20 for clients that put it first (no AES hardware).
const SECURE_OPTIONS =
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_NO_COMPRESSION |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE |
  constants.SSL_OP_PRIORITIZE_CHACHA;

// Node's own list, but under TLS 1.2 the cipher decides the certificate, and Node has RSA first: larger and slower.
const CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  tls.DEFAULT_CIPHERS,
].join(":");

// RFC 8879: the certificates shrink by a sixth for clients that can. Compressed once per context. Node 24.19 has it.
const COMPRESSION = (tls.getCertificateCompressionAlgorithms?.() ?? []).filter((name) => name !== "zstd");

/** One certificate as PEM: the chain with the leaf first, and its key. */
export interface Certificate {
  readonly chain: string | Buffer;
  readonly key: string | Buffer;
  readonly passphrase?: string | undefined;
}

/** The certificates of one domain: one, or an ECDSA and an RSA one of which each client gets what it can verify. */
export interface DomainCertificates {
  readonly domain: string;
  readonly certificates: readonly Certificate[];
}

export interface TlsSettings {
  readonly minVersion: SecureVersion;
  /** An OpenSSL list; TLS 1.3 suites and older ciphers may stand together. Without it: Node's own, ECDSA first. */
  readonly ciphers?: string | undefined;
  /**
   * Key exchange groups, as OpenSSL lists them. Without it: OpenSSL's own list, where X25519MLKEM768 comes first. That
   * one withstands quantum computers; it costs 1.1 KB more in each handshake and 7 KB of memory for the connection's
   * whole life, for clients that offer it. "X25519:P-256:P-384" is the list without it.
   */
  readonly groups?: string | undefined;
}

interface Entry {
  readonly certificates: readonly Certificate[];
  context: SecureContext;
}

/**
 * The TLS side of one edge process: a SecureContext per domain, the one options object that all its TLS sockets share,
 * and the key that seals their session tickets. The first domain answers clients that name none or one we don't serve:
 * the stream's `to` decides later (RFC 6120 §4.9.3.6), a handshake never fails over a name.
 *
 * `new PacedTlsSocket(socket, contexts.serverOptions("starttls"))`: hand the object over as it is. It follows new
 * certificates and ticket keys by itself; sockets that have begun their handshake keep what they began with.
 */
export class TlsContexts {
  readonly #settings: TlsSettings;
  readonly #tickets: TicketKeys;
  readonly #entries = new Map<string, Entry>();
  readonly #options: Readonly<Record<TlsKind, TLSSocketOptions>>;
  readonly #stopRenewing: () => void;
  #default: Entry | null = null;

  constructor(settings: TlsSettings, tickets: TicketKeys) {
    this.#settings = settings;
    this.#tickets = tickets;
    this.#stopRenewing = tickets.onRotated(() => this.#renew());
    const shared: TLSSocketOptions = {
      isServer: true,
      SNICallback: (servername, done) => done(null, this.#named(servername)),
    };
    // A callback and not ALPNProtocols: Node copies those into a new Buffer for every connection. A client that offers
    // ALPN without our protocol gets the no_application_protocol alert (RFC 7301 §3.2); one without ALPN is welcome.
    this.#options = {
      starttls: shared,
      tls: { ...shared, ALPNCallback: chooser(PROTOCOLS.tls) },
      https: { ...shared, ALPNCallback: chooser(PROTOCOLS.https) },
      all: { ...shared, ALPNCallback: chooser(PROTOCOLS.all) },
    };
  }

  /**
   * Sets or replaces the certificates of one domain. The first domain ever set is the default one.
   * Throws BreakwaterError("BW_TLS_CERTIFICATE") when OpenSSL refuses them; what was in use stays in use.
   */
  set(domain: DomainCertificates): void {
    const name = canonicalName(domain.domain);
    const entry: Entry = { certificates: domain.certificates, context: this.#build(domain) };
    this.#entries.set(name, entry);
    if (this.#default === null || this.#entries.keys().next().value === name) this.#setDefault(entry);
  }

  /** The context for what a client asked for in SNI; null only while no domain is set. */
  secureContextFor(servername: string | undefined): SecureContext | null {
    const entry = servername === undefined ? undefined : this.#entries.get(canonicalName(servername));
    return (entry ?? this.#default)?.context ?? null;
  }

  /** For `new PacedTlsSocket(socket, …)`. Always the same object per kind. Throws while no domain is set. */
  serverOptions(kind: TlsKind): TLSSocketOptions {
    if (this.#default === null) throw new BreakwaterError("BW_TLS_CERTIFICATE", "TLS has no certificate to offer");
    return this.#options[kind];
  }

  /** No new contexts from now on; sockets that use these go on. */
  close(): void {
    this.#stopRenewing();
  }

  /** What the SNI callback answers. Undefined keeps the default context, which spares OpenSSL a copy per connection. */
  #named(servername: string): SecureContext | undefined {
    const entry = this.#entries.get(canonicalName(servername));
    return entry === this.#default ? undefined : entry?.context;
  }

  #setDefault(entry: Entry): void {
    this.#default = entry;
    for (const options of Object.values(this.#options)) options.secureContext = entry.context;
  }

  /**
   * New contexts with the current ticket key. Node can change the key of a live context only by a private call, and
   * OpenSSL opens a ticket with the default context but seals one with the context of the SNI name: all change together.
   */
  #renew(): void {
    for (const [domain, entry] of this.#entries) {
      entry.context = this.#build({ domain, certificates: entry.certificates });
    }
    if (this.#default) this.#setDefault(this.#default);
  }

  #build({ domain, certificates }: DomainCertificates): SecureContext {
    try {
      return tls.createSecureContext({
        cert: certificates.map((one) => one.chain),
        key: certificates.map((one) => ({ pem: one.key, ...(one.passphrase && { passphrase: one.passphrase }) })),
        minVersion: this.#settings.minVersion,
        ciphers: this.#settings.ciphers ?? CIPHERS,
        ...(this.#settings.groups && { ecdhCurve: this.#settings.groups }),
        certificateCompression: COMPRESSION,
        secureOptions: SECURE_OPTIONS,
        ticketKeys: this.#tickets.current,
        // A ticket is of no use past its key.
        sessionTimeout: this.#tickets.rotateSeconds,
      });
    } catch (cause) {
      const message = `the certificate of ${domain} cannot be used: ${messageOf(cause)}`;
      throw new BreakwaterError("BW_TLS_CERTIFICATE", message, { cause });
    }
  }
}

function chooser(ours: readonly string[]) {
  return (offer: { protocols: string[] }): string | undefined => ours.find((name) => offer.protocols.includes(name));
}

/** How SNI writes a name: A-labels, lower case. What is no domain name stays as it is and matches nothing. */
function canonicalName(domain: string): string {
  return domainToASCII(domain) || domain.toLowerCase();
}
