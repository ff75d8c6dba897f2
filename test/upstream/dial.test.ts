import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { test } from "node:test";
import { Dialer } from "../../src/upstream/dial.ts";
import { coresOptions } from "../../src/upstream/options.ts";
import { until } from "../support/wire.ts";

/** When the kernel looks after a connection of ours again, in seconds; null: it does not (proc_net_tcp.txt). */
function nextProbe(localPort: number): number | null {
  const port = localPort.toString(16).toUpperCase().padStart(4, "0");
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const [, local, , , , timer] = line.trim().split(/\s+/);
    const [kind, ticks] = timer?.split(":") ?? [];
    if (local?.endsWith(`:${port}`)) return kind === "02" ? Number.parseInt(ticks!, 16) / 100 : null;
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
    const socket = new Dialer(options!).dial(() => {});
    t.after(() => socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve));
    await until(() => nextProbe(socket.localPort!) !== null, "the kernel has been told"); // what TLS has sent is acknowledged first
    const seconds = nextProbe(socket.localPort!)!;
    assert.ok(seconds > 30 && seconds <= 60, `in ${seconds} s`);
  });
}
