/** A bare or full JID in its parts (RFC 7622 §3.1). `resource` is empty for a bare JID. */
export interface Jid {
  readonly local: string;
  readonly domain: string;
  readonly resource: string;
}

/** Splits a JID as the core wrote it; null when it has no domain. Does no preparation: the core has done that. */
export function parseJid(text: string): Jid | null {
  const slash = text.indexOf("/");
  const bare = slash < 0 ? text : text.slice(0, slash);
  const at = bare.indexOf("@");
  const domain = bare.slice(at + 1);
  if (domain === "") return null;
  return { local: at < 0 ? "" : bare.slice(0, at), domain, resource: slash < 0 ? "" : text.slice(slash + 1) };
}

/** `local@domain`, or the domain alone. */
export function bareOf(jid: Jid): string {
  return jid.local === "" ? jid.domain : `${jid.local}@${jid.domain}`;
}

/**
 * A domain as a key: ASCII lower case, without the final dot (RFC 7622 §3.2). Names in other scripts are compared as
 * they came, since clients send the prepared form.
 */
export function domainKey(domain: string): string {
  const lower = domain.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}
