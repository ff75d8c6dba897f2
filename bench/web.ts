/** (f) CPU per delivered message and (g) memory per idle session over WebSocket and BOSH, beside the cores' own. */
import type { Core, CoreKind } from "../test/support/cores/index.ts";
import type { Load, TrafficResult } from "./load.ts";
import { type Memory, type MemoryOptions, measureMemory } from "./memory.ts";
import { family } from "./processes.ts";
import { type SetUp, startSetUp } from "./set-ups.ts";
import { type LoadKind, runLanes, type TrafficOptions } from "./traffic.ts";
import type { LoadTarget } from "./wire.ts";

/** How clients come. `tls`, with ejabberd only, tells what HTTP adds. */
export type Way = "tls" | "websocket" | "bosh";

export interface WebRow {
  /** Whether the edge stands in front of the core, or clients come to the core's own listener. */
  readonly edge: boolean;
  readonly core: CoreKind;
  readonly way: Way;
}

export interface WebTrafficRow extends WebRow {
  readonly load: LoadKind;
  readonly rounds: readonly TrafficResult[];
}

export interface WebMemoryRow extends WebRow, Memory {}

export const WEB_WAYS = ["websocket", "bosh"] as const;
const PATHS = {
  edge: { websocket: "/ws", bosh: "/http-bind" },
  ejabberd: { websocket: "/ws", bosh: "/bosh" },
  prosody: { websocket: "/xmpp-websocket", bosh: "/http-bind" },
};

/** TLS in every case. */
function targetOf(core: Core, edge: SetUp | null, way: Way): LoadTarget {
  const { domain } = core;
  if (way === "tls") return { port: edge?.port ?? core.tlsPort!, tls: true, domain };
  const path = PATHS[edge ? "edge" : core.kind][way];
  return { port: edge?.port ?? core.httpsPort!, tls: true, domain, http: { kind: way, path } };
}

export async function runWebTraffic(
  cores: readonly Core[],
  load: Load,
  options: TrafficOptions,
): Promise<WebTrafficRow[]> {
  const edges = new Map<Core, SetUp>();
  try {
    for (const core of cores) edges.set(core, await startSetUp("edge", core, "all"));
    const lanes = (["tls", ...WEB_WAYS] as const).flatMap((way) =>
      cores
        .filter(({ kind }) => way !== "tls" || kind === "ejabberd")
        .flatMap((core) =>
          [edges.get(core)!, null].map((edge) => {
            const row = { edge: edge !== null, core: core.kind, way };
            return {
              row,
              group: `${nameOf(row)} ${way}`,
              target: targetOf(core, edge, way),
              pids: { front: edge?.pids ?? [], core: family(core.pid) },
              sm: false,
              loads: ["paced", "full"] as const,
            };
          }),
        ),
    );
    const results = await runLanes(lanes, load, options);
    return results.map(({ lane, load, rounds }) => ({ ...lane.row, load, rounds }));
  } finally {
    for (const edge of edges.values()) await edge.stop();
  }
}

/** On a core that has done nothing yet: its own listener first, then the edge if `edge` says so. */
export async function runWebMemory(
  core: Core,
  way: (typeof WEB_WAYS)[number],
  edge: boolean,
  load: Load,
  options: MemoryOptions,
): Promise<WebMemoryRow[]> {
  // BOSH acknowledges by itself.
  const sm = way === "websocket";
  const measure = async (setUp: SetUp | null): Promise<WebMemoryRow> => {
    const row = { edge: setUp !== null, core: core.kind, way };
    const pids = setUp?.pids ?? family(core.pid);
    const lane = {
      name: `${nameOf(row)} ${way}`,
      pids,
      target: targetOf(core, setUp, way),
      sm,
      warm: "stays",
    } as const;
    return { ...row, ...(await measureMemory(lane, load, options)) };
  };
  const rows = [await measure(null)];
  if (!edge) return rows;
  const setUp = await startSetUp("edge", core, "all");
  try {
    rows.push(await measure(setUp));
  } finally {
    await setUp.stop();
  }
  return rows;
}

export function nameOf({ edge, core }: Pick<WebRow, "edge" | "core">): string {
  return `${edge ? "edge + " : ""}${core}`;
}
