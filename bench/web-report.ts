/** Rows (f) and (g), ratios first. */
import type { CoreKind } from "../test/support/cores/index.ts";
import type { TrafficResult } from "./load.ts";
import { type Figure, figure, perMessage, printTraffic, ratio, together } from "./report.ts";
import { nameOf, type Way, WEB_WAYS, type WebMemoryRow, type WebTrafficRow } from "./web.ts";

const LABELS: Record<Way, string> = { tls: "TLS", websocket: "WebSocket", bosh: "BOSH" };
const CORES: Record<CoreKind, string> = { ejabberd: "ejabberd", prosody: "Prosody" };

export function webTrafficFigures(rows: readonly WebTrafficRow[], rate: number): Figure[] {
  const figures: Figure[] = [];
  for (const load of ["paced", "full"] as const) {
    const of = (edge: boolean, core: CoreKind, way: Way, read: (result: TrafficResult) => number): number[] =>
      rows
        .find((row) => row.edge === edge && row.core === core && row.way === way && row.load === load)
        ?.rounds.map(read) ?? [];
    const add = (what: string, a: number[], b: number[]) => {
      if (a.length > 0 && b.length > 0) {
        figures.push(figure(`${load === "paced" ? `${rate}/s` : "full load"}: ${what}`, "x", ratio(a, b)));
      }
    };
    for (const way of WEB_WAYS) {
      for (const core of ["ejabberd", "prosody"] as const) {
        const own = of(false, core, way, together);
        add(`${LABELS[way]}, edge + ${CORES[core]} / ${CORES[core]}'s own`, of(true, core, way, together), own);
      }
    }
    const front = perMessage("front");
    for (const way of WEB_WAYS) {
      add(`${LABELS[way]} / TLS, the edge alone`, of(true, "ejabberd", way, front), of(true, "ejabberd", "tls", front));
      const own = of(false, "ejabberd", "tls", together);
      add(`${LABELS[way]} / TLS, ejabberd's own`, of(false, "ejabberd", way, together), own);
    }
  }
  return figures;
}

export function printWebTraffic(rows: readonly WebTrafficRow[]): void {
  printTraffic(rows.map((row) => ({ ...row, name: `${LABELS[row.way]}, ${nameOf(row)}` })));
}

export function webMemoryFigures(rows: readonly WebMemoryRow[]): Figure[] {
  const figures: Figure[] = [];
  for (const way of WEB_WAYS) {
    for (const key of ["fresh", "moved"] as const) {
      const at = `${LABELS[way]}, ${key === "fresh" ? "just logged in" : "after 2 KB each way"}`;
      const of = (edge: boolean, core: CoreKind): number | undefined =>
        rows.find((row) => row.edge === edge && row.core === core && row.way === way)?.[key];
      const edge = of(true, "ejabberd");
      if (edge !== undefined) figures.push(figure(`${at}: edge`, "KB", [edge]));
      for (const core of ["ejabberd", "prosody"] as const) {
        const own = of(false, core)!;
        figures.push(figure(`${at}: ${CORES[core]}'s own`, "KB", [own]));
        if (edge !== undefined) figures.push(figure(`${at}: edge / ${CORES[core]}'s own`, "x", [edge / own]));
      }
    }
  }
  return figures;
}
