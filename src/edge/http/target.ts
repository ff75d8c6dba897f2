import type { IncomingMessage } from "node:http";

/** What a request asks for, of whom. */
export interface Target {
  readonly path: string;
  readonly host: string;
}

/**
 * The origin form, and the absolute one, which some proxies leave in the requests that they pass on; its authority counts
 * then in place of the Host header (RFC 9112 §3.2.1, §3.2.2). Null: a form that only proxies take, or one that names a user.
 */
export function targetOf({ url = "", headers }: IncomingMessage): Target | null {
  if (url.startsWith("/")) return { path: pathOf(url), host: headers.host ?? "" };
  const absolute = /^https?:\/\/([^/?#@]+)($|[/?].*)/is.exec(url);
  if (absolute === null) return null;
  const [, host, rest] = absolute;
  return { path: rest!.startsWith("/") ? pathOf(rest!) : "/", host: host! };
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}
