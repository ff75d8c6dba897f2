import { domainKey } from "../xmpp/jid.ts";

/**
 * Who a SASL exchange logs in, as far as an edge that relays it can tell (RFC 6120 §6.3.8).
 *
 * The core alone decides about the login; this is only used afterwards, to say whether a resumed session belongs to the
 * account that has just authenticated. So whatever is unusual answers null, and the client binds anew.
 * OAUTHBEARER is such a case: the token names the account, and nobody outside the core can tell whether that is the one
 * in the message. X-OAUTH2 is not: ejabberd, which it comes from, checks the token against the user in the message.
 */
export function saslUser(mechanism: string, message: Buffer, domain: string): string | null {
  if (mechanism === "PLAIN" || mechanism === "X-OAUTH2") return plainUser(message, domain);
  if (mechanism.startsWith("SCRAM-")) return scramUser(message, domain);
  return null;
}

/** Which message of the client names the user: the first one. */
export function namesUser(mechanism: string): boolean {
  return mechanism === "PLAIN" || mechanism.startsWith("SCRAM-") || mechanism === "X-OAUTH2";
}

// [authzid] NUL authcid NUL passwd (RFC 4616 §2). Acting for somebody else is the core's affair: no resume then.
function plainUser(message: Buffer, domain: string): string | null {
  const parts = splitNul(message);
  if (parts === null || parts.length !== 3) return null;
  const [authzid, authcid] = parts as [string, string, string];
  const user = localPart(authcid, domain);
  return authzid === "" || localPart(authzid, domain) === user ? user : null;
}

function splitNul(message: Buffer): string[] | null {
  const text = message.toString("utf8");
  return text.includes("\uFFFD") ? null : text.split("\0");
}

// gs2-header, then n=user,r=nonce (RFC 5802 §7); a reserved extension or another order answers null.
function scramUser(message: Buffer, domain: string): string | null {
  const match = /^(?:n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]*))?,n=([^,]+),r=[\x21-\x2b\x2d-\x7e]+$/.exec(
    message.toString("utf8"),
  );
  if (match === null) return null;
  const name = saslName(match[2]!);
  const user = name === null ? null : localPart(name, domain);
  if (match[1] === undefined) return user;
  const authzid = saslName(match[1]);
  return authzid !== null && localPart(authzid, domain) === user ? user : null;
}

// =2C and =3D are the only escapes (RFC 5802 §5.1).
function saslName(text: string): string | null {
  const plain = text.replaceAll("=2C", ",");
  if (/=(?!3D)/.test(plain) || plain.includes("\uFFFD")) return null;
  return plain.replaceAll("=3D", "=");
}

/** The local part of `user` or `user@domain`; null for another domain, where the core may know somebody else. */
function localPart(name: string, domain: string): string | null {
  const at = name.indexOf("@");
  const local = at < 0 ? name : name.slice(0, at);
  return local !== "" && (at < 0 || domainKey(name.slice(at + 1)) === domain) ? local : null;
}

/**
 * Whether a user name of a SASL exchange is the local part of a JID that the core bound. ASCII letters are folded, as
 * nodeprep does (RFC 3920 appendix A); other scripts must match exactly, since folding them wrongly could join accounts.
 */
export function isSameUser(user: string, local: string): boolean {
  return foldAscii(user) === foldAscii(local);
}

function foldAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
