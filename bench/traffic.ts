/** (a) CPU per delivered message and (c) latency, with everything in front of the same ejabberd. */
import type { Ejabberd } from "../test/support/cores/index.ts";
import type { Load, Pids, TrafficResult } from "./load.ts";
import { family } from "./processes.ts";
import { type SetUp, type SetUpName, startSetUp } from "./set-ups.ts";
import type { LoadTarget } from "./wire.ts";

export interface TrafficOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmSeconds: number;
  readonly sessions: number;
  readonly rate: number;
  readonly window: number;
  readonly say: (line: string) => void;
}

/** Clients that go one way, and the processes that work for them. */
export interface Lane {
  readonly group: string;
  readonly target: LoadTarget;
  readonly pids: Pids;
  readonly sm: boolean;
  readonly loads: readonly LoadKind[];
}

export type LoadKind = "paced" | "full";

export interface LaneResult<L extends Lane> {
  readonly lane: L;
  readonly load: LoadKind;
  readonly rounds: readonly TrafficResult[];
}

/** `sm`: with XEP-0198 towards whoever the client talks to: the edge, or else the core itself. */
export interface TrafficRow {
  readonly setUp: SetUpName;
  readonly sm: boolean;
  readonly load: LoadKind;
  readonly rounds: readonly TrafficResult[];
}

/** Which set-ups run without and which with stream management. */
const PLAIN: readonly SetUpName[] = ["edge", "haproxy", "nginx", "ejabberd-tls", "ejabberd-plain"];
const MANAGED: readonly SetUpName[] = ["edge", "haproxy", "ejabberd-tls"];

export async function runTraffic(core: Ejabberd, load: Load, options: TrafficOptions): Promise<TrafficRow[]> {
  const setUps: SetUp[] = [];
  try {
    for (const name of PLAIN) setUps.push(await startSetUp(name, core));
    const lanes = [false, true].flatMap((sm) =>
      setUps
        .filter(({ name }) => (sm ? MANAGED : PLAIN).includes(name))
        .map(({ name, port, tls, pids }) => ({
          name,
          group: `${name}${sm ? " sm" : ""}`,
          target: { port, tls, domain: core.domain },
          pids: { front: pids, core: family(core.pid) },
          sm,
          // Plain ejabberd is there for its latency.
          loads: name === "ejabberd-plain" ? (["paced"] as const) : (["paced", "full"] as const),
        })),
    );
    const results = await runLanes(lanes, load, options);
    return results.map(({ lane, load, rounds }) => ({ setUp: lane.name, sm: lane.sm, load, rounds }));
  } finally {
    for (const setUp of setUps) await setUp.stop();
  }
}

/** Round by round, all lanes with one load after the other. Lane i has the users from i × sessions on. */
export async function runLanes<L extends Lane>(
  lanes: readonly L[],
  load: Load,
  options: TrafficOptions,
): Promise<LaneResult<L>[]> {
  for (const [index, { group, target, sm }] of lanes.entries()) {
    await load.do("login", { group, target, firstUser: index * options.sessions, count: options.sessions, sm });
  }
  const results = new Map<string, LaneResult<L> & { rounds: TrafficResult[] }>();
  for (let round = -1; round < options.rounds; round++) {
    for (const kind of ["paced", "full"] as const) {
      // The first round only warms up, at full load.
      if (round < 0 && kind === "paced") continue;
      // The set-ups that are compared stand next to each other in time.
      for (const lane of lanes) {
        if (!lane.loads.includes(kind)) continue;
        const result = await load.do("traffic", {
          group: lane.group,
          load: kind === "paced" ? { rate: options.rate } : { window: options.window },
          warmSeconds: round < 0 ? 0.5 : options.warmSeconds,
          seconds: round < 0 ? 2 : options.seconds,
          pids: lane.pids,
        });
        if (round < 0) continue;
        const key = `${lane.group} ${kind}`;
        const row = results.get(key) ?? { lane, load: kind, rounds: [] };
        row.rounds.push(result);
        results.set(key, row);
        options.say(`round ${round + 1} ${key}: ${describe(result)}`);
      }
    }
  }
  for (const { group } of lanes) await load.do("leave", { group });
  return [...results.values()];
}

function describe({ delivered, seconds, cpu, p50, p99 }: TrafficResult): string {
  const each = (group: string) => `${group} ${((cpu[group]! / delivered) * 1e6).toFixed(1)}`;
  return (
    `${(delivered / seconds).toFixed(0)}/s, us of CPU per message: ${["front", "core", "load"].map(each).join(", ")}; ` +
    `latency ${p50.toFixed(2)} / ${p99.toFixed(2)} ms`
  );
}
