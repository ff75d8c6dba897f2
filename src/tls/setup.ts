import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { CertificateFiles } from "./certificate-files.ts";
import { TlsContexts } from "./contexts.ts";
import type { CertificateOptions, TlsOptions } from "./options.ts";
import { CertificateStore } from "./store.ts";
import { TicketKeys } from "./tickets.ts";

/** The TLS side of one configuration: contexts, the files that they are made of, and the ticket keys. */
export interface TlsSetup {
  readonly contexts: TlsContexts;
  readonly store: CertificateStore;
  readonly tickets: TicketKeys;
  readonly options: TlsOptions;
}

/**
 * Reads every certificate and begins to follow the files. Throws BreakwaterError("BW_TLS_CERTIFICATE") and leaves nothing
 * behind when one cannot be used. `before` is what this one replaces after a reload: its ticket keys are kept where the
 * options allow it, so that clients go on resuming their TLS sessions; the caller closes the rest of it.
 */
export function setUpTls(
  options: TlsOptions,
  domains: readonly { name: string; certificates: readonly CertificateOptions[] }[],
  host: { clock: Clock; log: Log },
  before: TlsSetup | null,
): TlsSetup {
  const keep = before !== null && sameTickets(before.options, options);
  const tickets = keep ? before.tickets : newTickets(options, host.clock);
  const { min_version: minVersion, ciphers, groups } = options;
  const contexts = new TlsContexts({ minVersion, ciphers, groups }, tickets);
  try {
    const store = new CertificateStore({
      domains: domains
        .filter((domain) => domain.certificates.length > 0)
        .map((domain) => ({ domain: domain.name, certificates: domain.certificates.map(filesOf) })),
      use: (domain) => contexts.set(domain),
      ...host,
    });
    store.watch();
    return { contexts, store, tickets, options };
  } catch (error) {
    contexts.close();
    if (!keep) tickets.close();
    throw error;
  }
}

/** Stops following the files; the ticket keys stop too unless `after` uses them. */
export function closeTls(setup: TlsSetup, after: TlsSetup | null): void {
  setup.store.close();
  setup.contexts.close();
  if (after?.tickets !== setup.tickets) setup.tickets.close();
}

function newTickets(options: TlsOptions, clock: Clock): TicketKeys {
  return new TicketKeys({ clock, rotateSeconds: options.ticket_rotation, secret: options.ticket_secret?.reveal() });
}

function sameTickets(one: TlsOptions, other: TlsOptions): boolean {
  const same =
    one.ticket_secret === undefined ? other.ticket_secret === undefined : one.ticket_secret.equals(other.ticket_secret);
  return same && one.ticket_rotation === other.ticket_rotation;
}

function filesOf(options: CertificateOptions): CertificateFiles {
  return { certificate: options.certificate, key: options.key, passphrase: options.key_passphrase?.reveal() };
}
