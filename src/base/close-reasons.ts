/**
 * Why a link or a session ended. Every end has one of these; the key is the log word and the metric label.
 * `condition` is the stream error that the client gets (RFC 6120 §4.9.3), null when the stream just closes.
 * `resumable` says whether the session outlives the link (XEP-0198 §5).
 */
export const CLOSE_REASONS = {
  // the client's own doing
  "client-closed": { condition: null, resumable: false },
  "link-lost": { condition: null, resumable: true },
  "link-silent": { condition: "connection-timeout", resumable: true },
  "slow-client": { condition: "resource-constraint", resumable: true },
  "tls-failed": { condition: null, resumable: false },
  "not-tls": { condition: null, resumable: false },
  "proxy-header": { condition: null, resumable: false },
  "open-timeout": { condition: "connection-timeout", resumable: false },
  "login-timeout": { condition: "connection-timeout", resumable: false },
  // input that the edge does not take
  "not-well-formed": { condition: "not-well-formed", resumable: false },
  "restricted-xml": { condition: "restricted-xml", resumable: false },
  "limit-exceeded": { condition: "policy-violation", resumable: false },
  "bad-format": { condition: "bad-format", resumable: false },
  "unsupported-encoding": { condition: "unsupported-encoding", resumable: false },
  "invalid-namespace": { condition: "invalid-namespace", resumable: false },
  "bad-namespace-prefix": { condition: "bad-namespace-prefix", resumable: false },
  "unsupported-version": { condition: "unsupported-version", resumable: false },
  "host-unknown": { condition: "host-unknown", resumable: false },
  "not-encrypted": { condition: "policy-violation", resumable: false },
  "starttls-pipelined": { condition: "policy-violation", resumable: false },
  "not-authorized": { condition: "not-authorized", resumable: false },
  "unexpected-element": { condition: "unsupported-stanza-type", resumable: false },
  "ack-too-high": { condition: "undefined-condition", resumable: false },
  "sm-misused": { condition: "policy-violation", resumable: false },
  "too-many-connections": { condition: "resource-constraint", resumable: false },
  "too-many-logins": { condition: "resource-constraint", resumable: false },
  // the session's own life
  resumed: { condition: null, resumable: true },
  replaced: { condition: "conflict", resumable: true },
  "hold-expired": { condition: null, resumable: false },
  "queue-full": { condition: "resource-constraint", resumable: false },
  // the core's doing
  "core-closed": { condition: null, resumable: false },
  "core-gone": { condition: "system-shutdown", resumable: false },
  "core-unreachable": { condition: "remote-connection-failed", resumable: false },
  "store-unavailable": { condition: "remote-connection-failed", resumable: true },
  "leftovers-found": { condition: "reset", resumable: false },
  "core-behind": { condition: "reset", resumable: false },
  "core-misbehaved": { condition: "internal-server-error", resumable: false },
  // the operator's doing
  moved: { condition: null, resumable: true },
  "handed-over": { condition: null, resumable: true },
  redirected: { condition: "see-other-host", resumable: false },
  shutdown: { condition: "system-shutdown", resumable: true },
  "internal-error": { condition: "internal-server-error", resumable: false },
} as const satisfies Record<string, { condition: StreamErrorCondition | null; resumable: boolean }>;

export type CloseReason = keyof typeof CLOSE_REASONS;

/** The defined stream error conditions that Breakwater sends itself (RFC 6120 §4.9.3). */
export type StreamErrorCondition =
  | "bad-format"
  | "bad-namespace-prefix"
  | "conflict"
  | "connection-timeout"
  | "host-unknown"
  | "internal-server-error"
  | "invalid-namespace"
  | "not-authorized"
  | "not-well-formed"
  | "policy-violation"
  | "remote-connection-failed"
  | "reset"
  | "resource-constraint"
  | "restricted-xml"
  | "see-other-host"
  | "system-shutdown"
  | "undefined-condition"
  | "unsupported-encoding"
  | "unsupported-stanza-type"
  | "unsupported-version";
