/** (e) TLS 1.3 handshakes at the edge and at HAProxy. */
import type { Ejabberd } from "../test/support/cores/index.ts";
import type { HandshakeJob, HandshakeResult, Load } from "./load.ts";
import { type SetUp, startSetUp } from "./set-ups.ts";

export interface HandshakeOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly say: (line: string) => void;
}

export interface HandshakeRow {
  readonly setUp: "edge" | "haproxy";
  readonly kind: HandshakeJob["kind"];
  readonly rounds: readonly HandshakeResult[];
}

const AT_ONCE = 32;

export async function runHandshakes(core: Ejabberd, load: Load, options: HandshakeOptions): Promise<HandshakeRow[]> {
  const setUps: SetUp[] = [];
  try {
    for (const name of ["edge", "haproxy"] as const) setUps.push(await startSetUp(name, core));
    const rows = new Map<string, HandshakeRow & { rounds: HandshakeResult[] }>();
    for (let round = -1; round < options.rounds; round++) {
      for (const kind of ["full", "resumed", "opened"] as const) {
        for (const setUp of setUps) {
          const name = setUp.name as "edge" | "haproxy";
          const result = await load.do("handshakes", {
            target: { port: setUp.port, tls: true, domain: core.domain },
            kind,
            concurrency: AT_ONCE,
            seconds: round < 0 ? 1 : options.seconds,
            pids: { front: setUp.pids },
          });
          if (round < 0) continue;
          const key = `${name} ${kind}`;
          const row = rows.get(key) ?? { setUp: name, kind, rounds: [] };
          row.rounds.push(result);
          rows.set(key, row);
          const cpu = ((result.cpu["front"]! / result.handshakes) * 1e6).toFixed(0);
          options.say(
            `round ${round + 1} ${key}: ${(result.handshakes / result.seconds).toFixed(0)}/s, ${cpu} us of CPU each`,
          );
        }
      }
    }
    return [...rows.values()];
  } finally {
    for (const setUp of setUps) await setUp.stop();
  }
}
