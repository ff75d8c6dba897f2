import type { SpawnedEdge } from "./edge.ts";
import type { Random } from "./random.ts";
import type { CutKind, WeakLink } from "./weak-link.ts";

/** What may befall the edges, and the connections between them and their core. */
export const FAULTS = ["kill", "stop", "freeze", "core-cut", "core-cut"] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface Fault {
  /** In ms from the beginning. */
  readonly at: number;
  readonly kind: FaultKind;
  /** Which edge. */
  readonly edge: number;
  /** How long it lasts, where it lasts: ms. */
  readonly lasts: number;
  readonly cut: CutKind;
}

const CORE_CUTS: readonly CutKind[] = ["fin", "rst", "client-rst", "server-rst", "silent"];

/** The same seed, the same faults; about one in `everyMs`. */
export function schedule(random: Random, seconds: number, everyMs: number, edges: number): Fault[] {
  const faults: Fault[] = [];
  for (let at = random.exponential(everyMs); at < seconds * 1000; at += random.exponential(everyMs)) {
    const kind = random.pick(FAULTS);
    const edge = random.integer(0, edges - 1);
    faults.push({ at: Math.round(at), kind, edge, lasts: random.integer(100, 3000), cut: random.pick(CORE_CUTS) });
  }
  return faults;
}

/** Plays the faults one after the other. `edges` holds the running processes; those that end are started again. */
export async function play(faults: readonly Fault[], edges: SpawnedEdge[], toCore: WeakLink): Promise<void> {
  const began = performance.now();
  for (const fault of faults) {
    const wait = fault.at - (performance.now() - began);
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const edge = edges[fault.edge]!;
    switch (fault.kind) {
      case "kill":
      case "stop":
        edge.process.kill(fault.kind === "kill" ? "SIGKILL" : "SIGTERM");
        edges[fault.edge] = await edge.again();
        break;
      case "freeze":
        edge.process.kill("SIGSTOP");
        await new Promise((resolve) => setTimeout(resolve, fault.lasts));
        edge.process.kill("SIGCONT");
        break;
      default:
        toCore.cut(fault.cut);
    }
  }
}
