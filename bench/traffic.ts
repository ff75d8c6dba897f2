/** (a) CPU per delivered message and (c) latency, with everything in front of the same ejabberd. */
import type { Ejabberd } from "../test/support/cores/index.ts";
import type { Load, TrafficResult } from "./load.ts";
import { family } from "./processes.ts";
import { type SetUp, type SetUpName, startSetUp } from "./set-ups.ts";

export interface TrafficOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmSeconds: number;
  readonly sessions: number;
  readonly rate: number;
  readonly window: number;
  readonly say: (line: string) => void;
}

/** `sm`: with XEP-0198 towards whoever the client talks to: the edge, or else the core itself. */
export interface TrafficRow {
  readonly setUp: SetUpName;
  readonly sm: boolean;
  readonly load: "paced" | "full";
  readonly rounds: readonly TrafficResult[];
}

interface Lane {
  readonly setUp: SetUp;
  readonly sm: boolean;
  readonly group: string;
}

/** Which set-ups run without and which with stream management. */
const PLAIN: readonly SetUpName[] = ["edge", "haproxy", "nginx", "ejabberd-tls", "ejabberd-plain"];
const MANAGED: readonly SetUpName[] = ["edge", "haproxy", "ejabberd-tls"];

export async function runTraffic(core: Ejabberd, load: Load, options: TrafficOptions): Promise<TrafficRow[]> {
  const setUps: SetUp[] = [];
  try {
    for (const name of PLAIN) setUps.push(await startSetUp(name, core));
    return await measure(setUps, core, load, options);
  } finally {
    for (const setUp of setUps) await setUp.stop();
  }
}

async function measure(
  setUps: readonly SetUp[],
  core: Ejabberd,
  load: Load,
  options: TrafficOptions,
): Promise<TrafficRow[]> {
  const lanes: Lane[] = [];
  for (const sm of [false, true]) {
    for (const setUp of setUps) {
      if (!(sm ? MANAGED : PLAIN).includes(setUp.name)) continue;
      const group = `${setUp.name}${sm ? " sm" : ""}`;
      const target = { port: setUp.port, tls: setUp.tls, domain: core.domain };
      const firstUser = lanes.length * options.sessions;
      await load.do("login", { group, target, firstUser, count: options.sessions, sm });
      lanes.push({ setUp, sm, group });
    }
  }
  const rows = new Map<string, TrafficRow & { rounds: TrafficResult[] }>();
  for (let round = -1; round < options.rounds; round++) {
    for (const kind of ["paced", "full"] as const) {
      // The set-ups that are compared stand next to each other in time.
      for (const lane of lanes) {
        // The first round only warms up, at full load; plain ejabberd is there for its latency.
        if ((round < 0 || lane.setUp.name === "ejabberd-plain") && kind === (round < 0 ? "paced" : "full")) continue;
        const result = await load.do("traffic", {
          group: lane.group,
          load: kind === "paced" ? { rate: options.rate } : { window: options.window },
          warmSeconds: round < 0 ? 0.5 : options.warmSeconds,
          seconds: round < 0 ? 2 : options.seconds,
          pids: { front: lane.setUp.pids, core: family(core.pid) },
        });
        if (round < 0) continue;
        const key = `${lane.group} ${kind}`;
        const row = rows.get(key) ?? { setUp: lane.setUp.name, sm: lane.sm, load: kind, rounds: [] };
        row.rounds.push(result);
        rows.set(key, row);
        options.say(`round ${round + 1} ${key}: ${describe(result)}`);
      }
    }
  }
  for (const lane of lanes) await load.do("leave", { group: lane.group });
  return [...rows.values()];
}

function describe({ delivered, seconds, cpu, p50, p99 }: TrafficResult): string {
  const each = (group: string) => `${group} ${((cpu[group]! / delivered) * 1e6).toFixed(1)}`;
  return (
    `${(delivered / seconds).toFixed(0)}/s, us of CPU per message: ${["front", "core", "load"].map(each).join(", ")}; ` +
    `latency ${p50.toFixed(2)} / ${p99.toFixed(2)} ms`
  );
}
