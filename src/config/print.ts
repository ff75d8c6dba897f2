import { stringify } from "yaml";
import type { Address, CoreAddress } from "../base/option-types.ts";
import { Secret } from "../base/secret.ts";
import type { Config } from "./schema.ts";

/** The configuration as it counts, defaults included, as YAML to read. Secrets show as `[secret]`. */
export function printConfig(config: Config): string {
  return stringify(plain(config), { lineWidth: 0 });
}

/** Addresses as they are written, secrets hidden. */
function plain(value: unknown): unknown {
  if (value instanceof Secret) return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if ("transport" in value) return coreAddressText(value as CoreAddress);
  if ("host" in value && "port" in value) return addressText(value as Address);
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plain(child)]));
}

/** `host:port`, with brackets around an IPv6 address. */
export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The address of a core as it is written. */
export function coreAddressText(address: CoreAddress): string {
  if (address.transport === "unix") return `unix:${address.path}`;
  return `${address.transport}://${addressText(address)}`;
}
