import { accessSync, constants } from "node:fs";
import ipaddr from "ipaddr.js";
import { fileTrouble } from "./file-trouble.ts";
import type { OptionPath } from "./option-tree.ts";
import type { Config } from "./schema.ts";
import type { ConfigSource } from "./source.ts";

type Tell = (path: OptionPath, message: string) => void;

/** What is allowed and yet probably not meant. */
export function findWarnings(config: Config, source: ConfigSource, tell: Tell): void {
  const used = new Set(config.domains.map((domain) => domain.core));
  for (const [i, core] of config.cores.entries()) {
    if (!used.has(core.name)) tell(["cores", i, "name"], "no domain uses this core");
    if (core.connect.transport === "tcp" && isPublic(core.connect.host))
      tell(
        ["cores", i, "connect"],
        "passwords travel unencrypted to a public address; use tls:// or a private network",
      );
    const api = core.reattach === undefined ? null : new URL(core.reattach.api);
    if (api?.protocol === "http:" && isPublic(api.hostname.replace(/^\[|\]$/g, "")))
      tell(["cores", i, "reattach", "api"], "tokens travel unencrypted to a public address; use https://");
  }
  for (const [i, { kind, listen }] of config.listeners.entries()) {
    if ((kind === "plaintext" || kind === "http") && !isLoopback(listen.host))
      tell(
        ["listeners", i, "kind"],
        `${kind} beyond this machine: only a balancer that ends TLS should reach this port`,
      );
  }
  if (!isLoopback(config.ops.listen.host))
    tell(["ops", "listen"], "metrics are served beyond this machine, without a login");
  const { driver, redis } = config.store;
  if (driver === "redis" && !redis.tls.enabled) {
    for (const [i, { host }] of redis.nodes.entries())
      if (isPublic(host))
        tell(
          ["store", "redis", "nodes", i],
          "sessions travel unencrypted to a public address; use tls, or a private network",
        );
  }
  filesOf(config, source, (path, file) => {
    try {
      accessSync(file, constants.R_OK);
    } catch (error) {
      tell(path, `the file ${file} ${fileTrouble(error)}`);
    }
  });
}

function filesOf(config: Config, source: ConfigSource, see: (path: OptionPath, file: string) => void): void {
  for (const [i, { certificates }] of config.domains.entries()) {
    for (const [j, { certificate, key }] of certificates.entries()) {
      // one pair stands beside the name, several in a list
      const beside = ["domains", i];
      const pair = source.has([...beside, "certificates"]) ? [...beside, "certificates", j] : beside;
      see([...pair, "certificate"], certificate);
      see([...pair, "key"], key);
    }
  }
  for (const [i, { tls, reattach }] of config.cores.entries()) {
    if (tls?.ca) see(["cores", i, "tls", "ca"], tls.ca);
    if (reattach?.ca) see(["cores", i, "reattach", "ca"], reattach.ca);
  }
  const { ca, certificate, key } = config.store.redis.tls;
  for (const [name, file] of Object.entries({ ca, certificate, key }))
    if (file !== undefined) see(["store", "redis", "tls", name], file);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || (ipaddr.isValid(host) && ipaddr.process(host).range() === "loopback");
}

function isPublic(host: string): boolean {
  return ipaddr.isValid(host) && ipaddr.process(host).range() === "unicast";
}
