/** Row (h), ratios first. */
import { type Figure, figure, median, printFigures, ratio } from "./report.ts";
import type { Storm, StormRow, StormWay } from "./storm.ts";

const NAMES: Record<StormWay, string> = {
  edge: "edge, resumed where they were",
  "another edge": "edge killed with -9, taken over by another",
  "ejabberd-tls": "ejabberd's own XEP-0198",
};

export function printStorms(rows: readonly StormRow[], sessions: number): void {
  printFigures(`(h) ${sessions} sessions are cut at once and return at once, ratios`, stormFigures(rows));
  const heading = ["50 % s", "99 % s", "all s", "CPU front ms", "CPU core ms", "failed", "new sessions"];
  console.log(`\n  ${"".padEnd(46)}${heading.map((each) => each.padStart(14)).join("")}`);
  for (const { way, rounds, failed, anew } of rows) {
    const of = (read: (storm: Storm) => number): string => median(rounds.map(read)).toFixed(2);
    const times = [of(({ half }) => half), of(({ most }) => most), of(({ all }) => all)];
    const costs = [of(({ front }) => front), of(({ core }) => core)];
    const cells = [...times, ...costs, String(failed), String(anew)];
    console.log(`  ${NAMES[way].padEnd(46)}${cells.map((each) => each.padStart(14)).join("")}`);
  }
}

function stormFigures(rows: readonly StormRow[]): Figure[] {
  const of = (way: StormWay, read: (storm: Storm) => number): number[] =>
    rows.find((row) => row.way === way)!.rounds.map(read);
  const most = ({ most }: Storm): number => most;
  const cpu = ({ front, core }: Storm): number => front + core;
  return (["edge", "another edge"] as const).flatMap((way) => [
    figure(`99 % are back: ${NAMES[way]} / ejabberd's own`, "x", ratio(of(way, most), of("ejabberd-tls", most))),
    figure(`CPU per return: ${NAMES[way]} + ejabberd / its own`, "x", ratio(of(way, cpu), of("ejabberd-tls", cpu))),
  ]);
}
