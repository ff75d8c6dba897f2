import ipaddr from "ipaddr.js";
import { z } from "zod";
import { Secret } from "./secret.ts";

/** What every option says about itself besides its type: `docs/config.md` and the messages are made of it. */
declare module "zod" {
  interface GlobalMeta {
    /** Whether SIGHUP applies a change; otherwise it waits for a restart. */
    reload?: boolean;
    unit?:
      | "s"
      | "ms"
      | "bytes"
      | "connections"
      | "stanzas"
      | "elements"
      | "levels"
      | "attributes"
      | "sessions"
      | "clients/s";
    /** What the loader does before the schema sees the value: secrets are fetched, paths made absolute. */
    resolve?: "secret" | "path" | "socket";
    /** How to say what is expected, where the type alone says too little. */
    expected?: string;
  }
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a core is: its transport and its place. */
export type CoreAddress =
  | { readonly transport: "tcp" | "tls"; readonly host: string; readonly port: number }
  | { readonly transport: "unix"; readonly path: string };

/** A secret: written as a text, as `{ file: path }` or as `{ env: NAME }`. The loader fetches it. */
export function secret(bounds: { min?: number } = {}) {
  const min = bounds.min ?? 1;
  const expected = `a text of at least ${min} ${min === 1 ? "character" : "characters"}, { file: path } or { env: NAME }`;
  return z
    .custom<Secret>((value) => value instanceof Secret && value.length >= min, { error: `expected ${expected}` })
    .meta({ resolve: "secret", expected });
}

/** The path of a file; a relative one starts at the folder of the configuration file. */
export function filePath() {
  return z.string().min(1).meta({ resolve: "path", expected: "the path of a file" });
}

/** `host:port`, `[v6]:port` or `:port` (every address of the machine). */
export function listenAddress() {
  const expected = '"host:port", "[IPv6 address]:port" or ":port"';
  return z
    .string()
    .transform((text, context): Address => {
      const address = splitAddress(text.startsWith(":") ? `[::]${text}` : text);
      if (address) return address;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    })
    .meta({ expected });
}

/** `host:port` or `[v6]:port` of a server that we connect to. */
export function serverAddress() {
  const expected = '"host:port" or "[IPv6 address]:port"';
  return z
    .string()
    .transform((text, context): Address => {
      const address = splitAddress(text);
      if (address && address.port > 0) return address;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    })
    .meta({ expected });
}

/** `tcp://host:port`, `tls://host:port` or `unix:/path`. */
export function coreAddress() {
  const expected = '"tcp://host:port", "tls://host:port" or "unix:/path"';
  return z
    .string()
    .transform((text, context): CoreAddress => {
      const [, transport, rest] = /^(tcp|tls|unix):(.+)$/.exec(text) ?? [];
      if (transport === "unix") return { transport, path: rest! };
      const address = rest?.startsWith("//") ? splitAddress(rest.slice(2)) : null;
      if (address && address.port > 0) return { transport: transport as "tcp" | "tls", ...address };
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    })
    .meta({ resolve: "socket", expected });
}

/** An address or a range of addresses: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`. Always with its prefix length. */
export function addressRange() {
  const expected = 'an IP address or a range such as "10.0.0.0/8"';
  return z
    .string()
    .transform((text, context) => {
      if (ipaddr.isValidCIDR(text)) return text;
      if (ipaddr.IPv4.isValidFourPartDecimal(text)) return `${text}/32`;
      if (ipaddr.IPv6.isValid(text)) return `${text}/128`;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    })
    .meta({ expected });
}

function splitAddress(text: string): Address | null {
  const [, v6, name, digits] = /^(?:\[([^\]]*)\]|([^\s:/[\]@]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65535) return null;
  if (v6 !== undefined) return ipaddr.IPv6.isValid(v6) ? { host: v6, port } : null;
  return { host: name!, port };
}
