import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const FIRST = 12_000;
const taken = new Set<number>();

/**
 * A port on which nothing listens. It lies below the kernel's ephemeral range, so no outgoing connection of a busy test
 * takes it before its owner does, and it stays the same over a restart.
 */
export async function freePort(): Promise<number> {
  const end = firstEphemeralPort();
  for (let attempt = 0; attempt < 1000; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (end - FIRST));
    if (taken.has(port)) continue;
    taken.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${FIRST} and ${end}`);
}

export async function freePorts<Name extends string>(...names: Name[]): Promise<Record<Name, number>> {
  const ports = {} as Record<Name, number>;
  for (const name of names) ports[name] = await freePort();
  return ports;
}

function firstEphemeralPort(): number {
  try {
    const first = Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"), 10);
    return first > FIRST + 1000 ? first : 32_768;
  } catch {
    return 32_768;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    // All addresses: whoever listens on one of them is in the way.
    server.listen(port, "0.0.0.0", () => server.close(() => resolve(true)));
  });
}
