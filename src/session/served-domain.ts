import { domainKey } from "../xmpp/jid.ts";

/**
 * The served domain that a client wants (RFC 6120 §4.7.2): the `to` of its opening tag, else the name it asked for in TLS,
 * else the only one there is. As `domainKey` writes it; null when it is not served.
 */
export function domainFor(to: string | null, servername: string | null, served: ReadonlySet<string>): string | null {
  if (to !== null) return served.has(domainKey(to)) ? domainKey(to) : null;
  const asked = servername === null ? null : domainKey(servername);
  if (asked !== null && served.has(asked)) return asked;
  return served.size === 1 ? (served.values().next().value ?? null) : null;
}
