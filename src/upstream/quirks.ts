import type { CoreTraits } from "../session/ports.ts";
import type { CoreKind, CoreOptions } from "./options.ts";

/** What a core does when a client leaves too much unacknowledged: the session ends, or can no longer be resumed there. */
const PAST_MAX_UNACKED: Record<CoreKind, CoreTraits["pastMaxUnacked"]> = {
  ejabberd: "ends", // max_ack_queue: policy-violation, and everything unacknowledged bounces to its senders
  prosody: "forgets", // smacks_max_queue_size: the oldest are dropped from the resumable part
  tigase: "ends",
  openfire: "forgets", // stream.management.max-unacked: stream management is switched off
  mongooseim: "ends",
  other: "ends",
};

/** Tigase ends a session whose oldest stanza has waited for its `max-resumption-timeout` (15 min). */
const TIGASE_SECONDS = 600;

export function traitsOf(core: CoreOptions): CoreTraits {
  return {
    maxUnacked: core.max_unacked,
    maxUnackedSeconds: core.kind === "tigase" ? TIGASE_SECONDS : Number.POSITIVE_INFINITY,
    pastMaxUnacked: PAST_MAX_UNACKED[core.kind],
    mechanisms: core.mechanisms ?? null,
  };
}

/** The setting that mends what a probe finds, in the words of the core's own configuration. */
export interface Remedies {
  /** The core offers `-PLUS` mechanisms or names channel bindings. */
  readonly channelBinding: string;
  /** The core offers SASL EXTERNAL. */
  readonly external: string;
  /** The core insists on TLS of its own before login. */
  readonly startTls: string;
  /** The core offers no SASL mechanism at all on this stream. */
  readonly mechanisms: string;
}

const OTHER: Remedies = {
  channelBinding: "switch the SCRAM-*-PLUS mechanisms off for the listener that Breakwater connects to",
  external: "switch SASL EXTERNAL off for the listener that Breakwater connects to",
  startTls: "do not require TLS on the listener that Breakwater connects to; keep it on a private address",
  mechanisms: "allow SASL mechanisms on streams without TLS for the listener that Breakwater connects to",
};

export const REMEDIES: Record<CoreKind, Remedies> = {
  ejabberd: {
    channelBinding:
      "in ejabberd.yml: disable_sasl_mechanisms: [SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS, SCRAM-SHA-512-PLUS]",
    external:
      "in ejabberd.yml: remove tls_verify (and cafile) from that listener, or add EXTERNAL to disable_sasl_mechanisms",
    startTls: "in ejabberd.yml: set starttls: false (and remove starttls_required) on that listener",
    mechanisms: "in ejabberd.yml: check disable_sasl_mechanisms and auth_method for that host",
  },
  prosody: {
    channelBinding: "in prosody.cfg.lua: give Breakwater a plaintext c2s port, or tls_channel_binding = false",
    external: 'in prosody.cfg.lua: remove "EXTERNAL" from the authentication of c2s (c2s_require_client_cert)',
    startTls:
      'in prosody.cfg.lua: c2s_require_encryption = false (or modules_disabled = { "tls" }), on a private address',
    mechanisms: "in prosody.cfg.lua: c2s_require_encryption = false and allow_unencrypted_plain_auth = true",
  },
  tigase: {
    ...OTHER,
    startTls: "in Tigase: set vhost-tls-required to false for the domain",
    mechanisms: "in Tigase: set vhost-tls-required to false for the domain",
  },
  openfire: {
    ...OTHER,
    channelBinding: "in Openfire: remove SCRAM-SHA-1-PLUS from the system property sasl.mechs",
    external: "in Openfire: remove EXTERNAL from the system property sasl.mechs",
    startTls: "in Openfire: set the STARTTLS policy of client connections to optional or disabled",
  },
  mongooseim: {
    ...OTHER,
    startTls: "in mongooseim.toml: remove the tls section from that [[listen.c2s]]",
  },
  other: OTHER,
};
