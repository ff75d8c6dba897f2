import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Timer } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { type CertificateFiles, loadCertificate } from "./certificate-files.ts";
import type { DomainCertificates } from "./contexts.ts";

const expiry = meter.gauge(
  "breakwater_tls_certificate_expiry_seconds",
  "When the first certificate of the domain's chain expires, in seconds since 1970",
  ["domain"],
);
const loads = meter.counter("breakwater_tls_certificate_loads_total", "Certificates read from files, by result", [
  "domain",
  "result",
]);

/** Long enough for a tool that writes a certificate and then its key. */
const SETTLE_MS = 500;
const POLL_MS = 60_000;

/** The files of one domain's certificates: one, or an ECDSA and an RSA one. */
export interface DomainFiles {
  readonly domain: string;
  readonly certificates: readonly CertificateFiles[];
}

export interface StoreOptions {
  readonly domains: readonly DomainFiles[];
  /** Takes a domain's certificates into use (TlsContexts.set). What it throws refuses them. */
  readonly use: (domain: DomainCertificates) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Keeps the certificates in use the same as the files. It looks when a directory of theirs changes, and every minute,
 * because a symlink further up may be swapped where no watch sees it.
 * Each domain stands for itself: what cannot be used is logged and refused, and the old certificate stays.
 */
export class CertificateStore {
  readonly #options: StoreOptions;
  /** By domain: what its files looked like when last read. */
  readonly #seen = new Map<string, string>();
  readonly #watchers: FSWatcher[] = [];
  #poll: Timer | null = null;
  #settling: Timer | null = null;

  /** Reads every file. Throws BreakwaterError("BW_TLS_CERTIFICATE") at the first that cannot be used. */
  constructor(options: StoreOptions) {
    this.#options = options;
    for (const domain of options.domains) {
      this.#seen.set(domain.domain, fingerprint(domain));
      this.#load(domain);
    }
  }

  /** Follows the files until `close`. */
  watch(): void {
    const files = this.#options.domains.flatMap((domain) =>
      domain.certificates.flatMap((one) => [one.certificate, one.key]),
    );
    for (const directory of new Set(files.map((file) => dirname(file)))) this.#watchDirectory(directory);
    this.#poll = this.#options.clock.every(POLL_MS, () => this.#check());
  }

  close(): void {
    this.#poll?.cancel();
    this.#settling?.cancel();
    this.#poll = null;
    this.#settling = null;
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #watchDirectory(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, () => this.#settle());
      // The directory may be removed, or the system be out of watches: the poll goes on.
      watcher.on("error", () => watcher.close());
      this.#watchers.push(watcher);
    } catch (thrown) {
      this.#options.log.info("certificate directory cannot be watched: looking every minute", {
        directory,
        reason: messageOf(thrown),
      });
    }
  }

  #settle(): void {
    this.#settling?.cancel();
    this.#settling = this.#options.clock.after(SETTLE_MS, () => this.#check());
  }

  /** Reads again what looks different. A refused file is not read again until it changes again. */
  #check(): void {
    for (const domain of this.#options.domains) {
      const looks = fingerprint(domain);
      if (looks === this.#seen.get(domain.domain)) continue;
      this.#seen.set(domain.domain, looks);
      this.#replace(domain);
    }
  }

  #replace(domain: DomainFiles): void {
    try {
      this.#load(domain);
      this.#options.log.info("certificate loaded", { domain: domain.domain });
    } catch (thrown) {
      this.#options.log.error("certificate refused, the old one stays in use", {
        domain: domain.domain,
        reason: messageOf(thrown),
      });
    }
  }

  #load(files: DomainFiles): void {
    try {
      this.#read(files);
      loads.inc(files.domain, "loaded");
    } catch (thrown) {
      loads.inc(files.domain, "refused");
      throw thrown;
    }
  }

  #read({ domain, certificates }: DomainFiles): void {
    const { use, clock, log } = this.#options;
    const read = certificates.map((files) => loadCertificate(domain, files, clock.wall()));
    use({ domain, certificates: read });
    expiry.set(Math.min(...read.map((one) => one.expiresAt)) / 1000, domain);
    for (const warning of read.flatMap((one) => one.warnings)) log.warn("certificate", { domain, warning });
  }
}

/** Changes whenever one of the domain's files is written, replaced, or reached through another symlink. */
function fingerprint({ certificates }: DomainFiles): string {
  return certificates.flatMap((one) => [look(one.certificate), look(one.key)]).join(" ");
}

function look(file: string): string {
  try {
    const found = statSync(file, { bigint: true });
    return `${found.dev}:${found.ino}:${found.mtimeNs}:${found.size}`;
  } catch {
    return "none";
  }
}
