import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { BreakwaterError } from "../base/errors.ts";

type Network = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/**
 * A list of networks, written as in "10.0.0.0/8", "192.0.2.7" or "fd00::/8": the balancers whose PROXY headers count.
 * IPv4 addresses and their IPv6-mapped forms are the same. Throws BreakwaterError("BW_NETWORK") for what is no network.
 */
export class TrustedNetworks {
  readonly #networks: readonly Network[];

  constructor(networks: readonly string[]) {
    this.#networks = networks.map(parseNetwork);
  }

  /** False for what is no IP address: a Unix socket has none. */
  includes(address: string | undefined): boolean {
    if (address === undefined || this.#networks.length === 0 || isIP(address) === 0) return false;
    const parsed = ipaddr.process(address);
    return this.#networks.some(([network, bits]) => parsed.kind() === network.kind() && parsed.match(network, bits));
  }
}

function parseNetwork(text: string): Network {
  const [address = "", prefix, ...more] = text.split("/");
  // isIP first: ipaddr.js also reads octal, hexadecimal and shortened forms, and trust must not hang on a guess.
  const parsed = isIP(address) === 0 || address.includes("%") ? null : ipaddr.parse(address);
  const width = parsed?.kind() === "ipv4" ? 32 : 128;
  const bits = prefix === undefined ? width : /^[0-9]{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
  if (parsed === null || more.length > 0 || !(bits <= width)) {
    throw new BreakwaterError(
      "BW_NETWORK",
      `"${text}" is not a network: write it as 10.0.0.0/8, 192.0.2.7 or fd00::/8`,
    );
  }
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress() && bits >= 96) {
    return [parsed.toIPv4Address(), bits - 96];
  }
  return [parsed, bits];
}
