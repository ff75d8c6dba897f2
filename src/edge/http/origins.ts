import { domainToASCII } from "node:url";

/**
 * Whether a page of `origin` may connect (RFC 6455 §10.2): pages of the served domains, and the origins of the list. A
 * request without the header comes from no page: native clients pass, and could write any origin anyway.
 */
export function mayConnect(
  origin: string | undefined,
  domains: ReadonlySet<string>,
  listed: readonly string[],
): boolean {
  if (origin === undefined || listed.includes("*")) return true;
  const lower = origin.toLowerCase();
  if (listed.some((one) => one.toLowerCase() === lower)) return true;
  const host = /^https:\/\/([^/:]+|\[[^\]]+\])(?::\d{1,5})?$/.exec(lower)?.[1];
  if (host === undefined) return false; // "null" too: a sandboxed frame or a file
  if (domains.has(host)) return true;
  for (const domain of domains) if (domainToASCII(domain) === host) return true;
  return false;
}
