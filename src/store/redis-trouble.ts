import { messageOf } from "../base/errors.ts";

/** Why Redis does not do what it is asked: the label in the metrics, and what the operator reads. */
export interface Trouble {
  readonly reason: TroubleReason;
  readonly text: string;
}

export type TroubleReason = (typeof KNOWN)[number]["reason"] | "disconnected" | "other";

/** By the first word of Redis' error, or by what Node says. The first that fits counts. */
const KNOWN = [
  {
    match: /^READONLY|^MASTERDOWN|No writeable/,
    reason: "read-only",
    advice: "it is a replica; point store.redis.nodes at the master, or use mode sentinel",
  },
  { match: /^OOM/, reason: "full", advice: "it is full: raise its maxmemory (docs/store.md tells how much)" },
  {
    match: /^MISCONF|^NOREPLICAS/,
    reason: "not-writing",
    advice: "it refuses writes until its disk or its replicas are well: see its log",
  },
  { match: /^LOADING/, reason: "loading", advice: "it is reading its data from disk; wait" },
  {
    match: /^Socket timeout/,
    reason: "timeout",
    advice: "it hangs, or the network loses what is sent: see its host; the edge keeps trying on new connections",
  },
  { match: /^BUSY/, reason: "timeout", advice: "a script of somebody else blocks it: see SLOWLOG, or SCRIPT KILL" },
  {
    match: /^WRONGPASS|^NOAUTH|^ERR AUTH|invalid password/,
    reason: "denied",
    advice: "check store.redis.username and store.redis.password",
  },
  {
    match: /^NOPERM|can't run this command|No permissions/i,
    reason: "denied",
    advice: "the ACL user lacks a right: docs/store.md lists them",
  },
  {
    match: /^CLUSTERDOWN|^TRYAGAIN|Too many Cluster redirections|Failed to refresh slots|startup nodes/,
    reason: "cluster-down",
    advice: "a part of the cluster has no master, or no node answers: see CLUSTER INFO",
  },
  { match: /^MOVED|^ASK /, reason: "wrong-mode", advice: "it is part of a cluster: set store.redis.mode to cluster" },
  {
    match: /cluster support disabled|invalid DB index|DB index is out of range|SELECT is not allowed/,
    reason: "wrong-mode",
    advice: "check store.redis.mode and store.redis.db",
  },
  {
    match: /All sentinels are unreachable/,
    reason: "no-sentinel",
    advice: "check store.redis.nodes and master_name, and whether the Sentinels run",
  },
  {
    match: /certificate|altnames|SSL|TLS|wrong version number|EPROTO/i,
    reason: "tls",
    advice: "check store.redis.tls",
  },
] as const satisfies readonly { match: RegExp; reason: string; advice: string }[];

const LOST =
  /^Connection is closed|isn't writeable|Command aborted|max retries per request|^(connect|read|write) E|ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|Cluster isn't ready/i;

/** What an error means. */
export function troubleOf(error: unknown): Trouble {
  const message = wordsOf(error).trim().replace(/\.$/, "");
  const known = KNOWN.find(({ match }) => match.test(message));
  if (known) return { reason: known.reason, text: `${message}: ${known.advice}` };
  if (LOST.test(message))
    return { reason: "disconnected", text: `${message}: is Redis up, and are store.redis.nodes and tls right?` };
  return { reason: "other", text: message };
}

/** The cluster client tells that all nodes have failed and keeps why; OpenSSL's messages are long and hide the reason. */
function wordsOf(error: unknown): string {
  const { lastNodeError, reason } = error as { lastNodeError?: unknown; reason?: unknown };
  if (lastNodeError instanceof Error) return wordsOf(lastNodeError);
  return typeof reason === "string" && !messageOf(error).includes("altnames") ? `TLS: ${reason}` : messageOf(error);
}
