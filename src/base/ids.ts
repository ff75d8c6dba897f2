import { randomBytes } from "node:crypto";

/** An unguessable identifier of 144 random bits, safe in XML attributes, URLs and logs. */
export function secretId(): string {
  return randomBytes(18).toString("base64url");
}

/** A short identifier for log lines and stanza ids: unlikely to repeat, no secret. */
export function shortId(): string {
  return randomBytes(6).toString("base64url");
}
