import assert from "node:assert/strict";
import { test } from "node:test";
import type { LoginOptions } from "../support/clients/raw-client.ts";
import { linkProfile, WeakLink } from "../support/weak-link.ts";
import { until, Wire } from "../support/wire.ts";

// A stanza, and so a single write, of several times what all kernels on the way keep.
const STANZA_BYTES = 16 * 1024 * 1024;
const STEP_BYTES = 100_000;
// Seconds without any progress; the whole takes nearly three times as long, and the kernel, which asks for more when a third of its
// buffer is free, stays far below.
const WRITE_TIMEOUT = 60;
const CONFIG = `keepalive: { write_timeout: ${WRITE_TIMEOUT} }`;
const CORE_CONFIG = `    limits: { max_bytes: ${STANZA_BYTES + 10_000} }`;
const SLOW = linkProfile({ bitsPerSecond: 200_000_000, queueBytes: 64 * 1024 });

const LINKS: Record<string, (wire: Wire, port: number) => Partial<LoginOptions>> = {
  TCP: (_, port) => ({ port }),
  TLS: (wire, port) => ({ port, tls: "direct", ca: wire.edge.ca }),
  WebSocket: (_, port) => ({ webSocket: `ws://localhost:${port}/ws` }),
};

for (const [name, options] of Object.entries(LINKS)) {
  test(`over ${name}, one huge stanza on a slow link is no standstill as long as it moves, and is one when it stops`, async (t) => {
    const wire = await Wire.start(t, { turned: true, config: CONFIG, coreConfig: CORE_CONFIG });
    const { edge } = wire;
    const port = { TCP: edge.plaintext, TLS: edge.tls, WebSocket: edge.http }[name]!;
    const weak = await WeakLink.listen({ to: { port }, profile: SLOW });
    t.after(() => weak.close());
    const { core } = await wire.login(options(wire, weak.port));
    const before = weak.stats.downBytes;
    const received = () => weak.stats.downBytes - before;
    core.message("x".repeat(STANZA_BYTES));
    for (let step = 1; received() < STANZA_BYTES; step++) {
      await until(() => received() >= Math.min(step * STEP_BYTES, STANZA_BYTES), "the client gets more");
      wire.clock.advance({ seconds: 1 });
      assert.equal(core.isEnded, false, `it still moves: ${received()} bytes`);
    }
    core.message("x".repeat(STANZA_BYTES));
    await until(() => received() > STANZA_BYTES * 1.1, "the next one begins");
    weak.freeze("down");
    for (let i = 0; i < 3 * WRITE_TIMEOUT && !core.isEnded; i++) {
      wire.clock.advance({ seconds: 1 });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await core.ended;
  });
}
