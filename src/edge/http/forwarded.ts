import { isIP } from "node:net";
import type { TrustedNetworks } from "../trusted-networks.ts";

export interface ForwardedBy {
  readonly header: "x-forwarded-for" | "forwarded";
  readonly trusted: TrustedNetworks;
}

/**
 * The client's address: each balancer has added who came to it at the right end, so the list is read from there, and
 * only as far as trusted balancers have written it. What is left of that is the client's own claim. `peer` is the other
 * end of the connection. What is no address ends the list.
 */
export function clientAddress(peer: string, value: string | undefined, by: ForwardedBy): string {
  const list = value === undefined ? [] : by.header === "forwarded" ? forwardedFor(value) : value.split(",");
  let client = peer;
  for (let i = list.length - 1; i >= 0 && by.trusted.includes(client); i--) {
    const address = bareAddress(list[i]!.trim());
    if (address === null) break;
    client = address;
  }
  return client;
}

// RFC 7239 §4: elements separated by commas, pairs by semicolons; either may stand inside quotes.
function forwardedFor(value: string): string[] {
  return split(value, ",").map((element) => {
    const pair = split(element, ";").find((text) => /^\s*for\s*=/i.test(text));
    const node = pair?.slice(pair.indexOf("=") + 1).trim() ?? "";
    return node.startsWith('"') && node.endsWith('"') ? node.slice(1, -1).replace(/\\(.)/g, "$1") : node;
  });
}

/**
 * Splits outside of quotes, from the right: a quote that a client leaves open on the left would turn inside out what the
 * balancer has written behind it, and have the client's own words read in its place.
 */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let end = text.length;
  let quoted = false;
  for (let p = text.length - 1; p >= 0; p--) {
    if (text[p] === '"') quoted = !quoted || isEscaped(text, p);
    else if (!quoted && text[p] === separator) {
      parts.push(text.slice(p + 1, end));
      end = p;
    }
  }
  parts.push(text.slice(0, end));
  return parts.reverse();
}

function isEscaped(text: string, at: number): boolean {
  let from = at;
  while (text[from - 1] === "\\") from--;
  return (at - from) % 2 === 1;
}

/** `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:4711` (RFC 7239 §6). */
function bareAddress(node: string): string | null {
  const inBrackets = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(node)?.[1];
  const text = inBrackets ?? /^([\d.]+):\d{1,5}$/.exec(node)?.[1] ?? node;
  if (isIP(text) === 0 || text.includes("%")) return null;
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(text) ? text.slice(7) : text;
}
