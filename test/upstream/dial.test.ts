import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { test } from "node:test";
import { Dialer } from "../../src/upstream/dial.ts";
import { coresOptions } from "../../src/upstream/options.ts";
import { until } from "../support/wire.ts";

/**
 * When the kernel looks after a connection of ours again, in seconds; null: it does not (proc_net_tcp.txt). A port may belong to
 * several connections, to other places, most of which are over.
 */
function nextProbe(localPort: number, remotePort: number): number | null {
  const [from, to] = [localPort, remotePort].map((port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`);
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const [, local, remote, , , timer] = line.trim().split(/\s+/);
    const [kind, ticks] = timer?.split(":") ?? [];
    if (local?.endsWith(from!) && remote?.endsWith(to!))
      return kind === "02" ? Number.parseInt(ticks!, 16) / 100 : null;
  }
  return null;
}

for (const transport of ["tcp", "tls"] as const) {
  test(`a ${transport} connection to a core is probed by the kernel within a minute of silence`, async (t) => {
    const server = createServer().listen(0, "127.0.0.1");
    t.after(() => server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const [options] = coresOptions.parse([
      { name: "main", kind: "other", connect: `${transport}://127.0.0.1:${port}` },
    ]);
    const dialledAt = performance.now();
    const socket = new Dialer(options!).dial(() => {});
    t.after(() => socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve));
    await until(() => nextProbe(socket.localPort!, port) !== null, "the kernel has been told"); // what TLS has sent is acknowledged first
    const seconds = nextProbe(socket.localPort!, port)!;
    const silent = (performance.now() - dialledAt) / 1000;
    assert.ok(seconds + silent > 30 && seconds <= 60, `in ${seconds} s, ${silent} s after the connection`);
  });
}
