import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import ipaddr from "ipaddr.js";
import { loadConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import { addressText } from "../config/print.ts";
import type { Config } from "../config/schema.ts";
import { tellMistakes } from "./check.ts";
import { EXIT } from "./exit-codes.ts";

type Listener = Config["listeners"][number];

const TTL = 3600;
/**
 * SRV name and priority by kind (RFC 6120 §3.2.1, XEP-0368 §3). A port of its own comes first: telling protocols apart on
 * one port hangs on ALPN, which not every client sends, but 443 is what the strictest networks let through.
 */
const SERVICES: Partial<Record<Listener["kind"], { name: string; priority: number }>> = {
  tls: { name: "_xmpps-client", priority: 5 },
  starttls: { name: "_xmpp-client", priority: 10 },
  all: { name: "_xmpps-client", priority: 15 },
};

/** `breakwater dns`: prints what the zone of each domain needs. Returns the exit code. */
export function dns(options: { config: string; target: string }): number {
  const target = hostName(options.target);
  if (target === null) {
    process.stderr.write(`breakwater: --target ${options.target} is no host name: write it as xmpp.example.org\n`);
    return EXIT.usage;
  }
  const loaded = loadConfig(options.config);
  if (loaded instanceof ConfigMistakes) return tellMistakes(loaded);
  process.stdout.write(dnsRecords(loaded.config, target));
  return EXIT.ok;
}

/** As it stands in addresses; null: it cannot be the target of a record (RFC 2782), as an address of a machine cannot. */
export function hostName(text: string): string | null {
  const name = domainToASCII(text.replace(/\.$/, ""));
  const isName = name.length <= 253 && /^(?:(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.|$))+$/.test(name) && !name.endsWith(".");
  return isName && isIP(name) === 0 ? name : null;
}

/** Zone file lines for every domain; `target` is the name under which clients reach the edge, in ASCII. */
export function dnsRecords(config: Config, target: string): string {
  const host = nameOf(target);
  const zones = config.domains.map(({ name }) => {
    const lines = [`; ${name}`, ...serviceRecords(config, nameOf(name), host), ...connectRecords(config, name, target)];
    return `${lines.join("\n")}\n`;
  });
  return [...zones, ...notes(config, target)].join("\n");
}

function serviceRecords({ listeners }: Config, domain: string, host: string): string[] {
  const records = listeners.filter(isReached).flatMap(({ kind, listen }) => {
    const service = SERVICES[kind];
    return service
      ? [record(`${service.name}._tcp.${domain}`, `SRV ${service.priority} 0 ${listen.port} ${host}`)]
      : [];
  });
  return [...new Set(records)]; // one port on two addresses
}

/** XEP-0156 §5: for clients that cannot ask for host-meta. */
function connectRecords(config: Config, name: string, target: string): string[] {
  const { host_meta: told, websocket, bosh } = config.http;
  const port = config.listeners.find((one) => isReached(one) && (one.kind === "https" || one.kind === "all"))?.listen
    .port;
  const place = port === undefined ? null : `${target}${port === 443 ? "" : `:${port}`}`;
  const records = [
    ["_xmpp-client-websocket", told.websocket ?? (place === null ? undefined : `wss://${place}${websocket.path}`)],
    ["_xmpp-client-xbosh", told.bosh ?? (place === null ? undefined : `https://${place}${bosh.path}`)],
  ] as const;
  return records.flatMap(([key, address]) => {
    if (address === undefined) return [];
    return [record(`_xmppconnect.${nameOf(name)}`, `TXT "${key}=${address.replaceAll("{domain}", name)}"`)];
  });
}

function notes({ listeners }: Config, target: string): string[] {
  const hidden = listeners.filter((listener) => !isReached(listener));
  const lines = hidden.map(
    ({ kind, listen }) =>
      `; ${kind} on ${addressText(listen)} is behind a balancer: write a record for the balancer's port`,
  );
  if (listeners.some(({ kind }) => kind === "https" || kind === "all")) {
    lines.push(`; the certificates must also name ${target}, where browsers are sent there`);
  }
  return lines.length > 0 ? [`${lines.join("\n")}\n`] : [];
}

/** Clients come to it themselves, and not a balancer in front. */
function isReached({ kind, listen, proxy_protocol, forwarded }: Listener): boolean {
  const loopback = ipaddr.isValid(listen.host) && ipaddr.process(listen.host).range() === "loopback";
  return kind !== "plaintext" && kind !== "http" && !proxy_protocol && !forwarded && !loopback;
}

function nameOf(domain: string): string {
  return `${domainToASCII(domain) || domain}.`;
}

function record(name: string, data: string): string {
  return `${name} ${TTL} IN ${data}`;
}
