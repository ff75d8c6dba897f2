import { isIPv6 } from "node:net";
import { meter } from "../base/meter.ts";

const refused = meter.counter("breakwater_admission_refused_total", "Connections refused at the door, by reason", [
  "reason",
]);
const open = meter.gauge("breakwater_connections", "Open connections of clients");

export interface AdmissionLimits {
  readonly maxConnections: number;
  /** For one address, or one /64 network of IPv6. 0: no limit. */
  readonly maxConnectionsPerIp: number;
}

/** Who may come in: asked for every connection, before it costs anything. `limits` may be replaced by a reload. */
export class Admission {
  limits: AdmissionLimits;
  /** False while this edge drains: those who are inside stay. */
  accepts = true;
  #open = 0;
  readonly #perClient = new Map<string, number>();

  constructor(limits: AdmissionLimits) {
    this.limits = limits;
    open.collect = () => open.set(this.#open);
  }

  /** Connections that are inside. */
  get count(): number {
    return this.#open;
  }

  /**
   * True: the caller calls `leave` once, with the same address, when the connection is gone. Null: a balancer's
   * connection, of which nobody knows yet whose it is; it counts, but for no client.
   */
  admit(address: string | null): boolean {
    if (this.#open >= this.limits.maxConnections) {
      refused.inc("max_connections");
      return false;
    }
    if (address !== null && !this.claim(address)) return false;
    this.#open++;
    return true;
  }

  leave(address: string | null): void {
    this.#open--;
    if (address !== null) this.unclaim(address);
  }

  /** Counts a client whose connection is a balancer's, admitted already. True: the caller calls `unclaim` once. */
  claim(address: string): boolean {
    const most = this.limits.maxConnectionsPerIp;
    const key = keyOf(address);
    const mine = this.#perClient.get(key) ?? 0;
    if (most > 0 && mine >= most) {
      refused.inc("max_connections_per_ip");
      return false;
    }
    this.#perClient.set(key, mine + 1);
    return true;
  }

  unclaim(address: string): void {
    const key = keyOf(address);
    const mine = this.#perClient.get(key) ?? 0;
    if (mine <= 1) this.#perClient.delete(key);
    else this.#perClient.set(key, mine - 1);
  }
}

// A home or phone has a whole /64: counting single addresses of it would count nothing.
function keyOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...new Array<string>(zeros).fill("0"), ...right].slice(0, 4).join(":");
}
