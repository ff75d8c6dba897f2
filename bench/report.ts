/** Ratios first: two set-ups measured one after the other, round by round; the median of the rounds counts. */
import type { FramerBenchRow } from "./framer.ts";
import type { HandshakeRow } from "./handshakes.ts";
import type { HandshakeResult, TrafficResult } from "./load.ts";
import type { MemoryRow } from "./memory.ts";
import type { SetUpName } from "./set-ups.ts";
import type { TrafficRow } from "./traffic.ts";

export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: "x" | "ms" | "KB" | "MB/s";
  readonly least: number;
  readonly most: number;
  /** The bar, null when there is none; `atLeast` when more is better. */
  readonly bar: number | null;
  readonly atLeast?: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

export function figure(
  what: string,
  unit: Figure["unit"],
  values: readonly number[],
  bar: number | null = null,
  atLeast = false,
): Figure {
  return { what, value: median(values), unit, least: Math.min(...values), most: Math.max(...values), bar, atLeast };
}

export function zip(a: readonly number[], b: readonly number[], join: (a: number, b: number) => number): number[] {
  return a.map((value, round) => join(value, b[round]!));
}

export const ratio = (a: readonly number[], b: readonly number[]): number[] => zip(a, b, (x, y) => x / y);

export function printFigures(title: string, figures: readonly Figure[]): void {
  console.log(`\n${title}`);
  for (const { what, value, unit, least, most, bar, atLeast } of figures) {
    const digits = unit === "MB/s" ? 0 : unit === "KB" ? 1 : 2;
    const verdict =
      bar === null
        ? ""
        : `  bar ${atLeast ? "≥" : "≤"} ${bar}: ${reached({ value, bar, atLeast }) ? "reached" : "MISSED"}`;
    const span = least === most ? "" : ` (${least.toFixed(digits)} … ${most.toFixed(digits)})`;
    console.log(`  ${what.padEnd(74)} ${value.toFixed(digits).padStart(7)} ${unit}${span}${verdict}`);
  }
}

function reached({ value, bar, atLeast }: { value: number; bar: number; atLeast: boolean | undefined }): boolean {
  return atLeast ? value >= bar : value <= bar;
}

// ---- (a) and (c)

export const perMessage = (group: string) => (result: TrafficResult) =>
  ((result.cpu[group] ?? 0) / result.delivered) * 1e6;
export const together = (result: TrafficResult) => perMessage("front")(result) + perMessage("core")(result);

export function trafficFigures(rows: readonly TrafficRow[], rate: number): Figure[] {
  const figures: Figure[] = [];
  for (const load of ["paced", "full"] as const) {
    for (const sm of [false, true]) {
      const of = (setUp: SetUpName, read: (result: TrafficResult) => number): number[] =>
        rows.find((row) => row.setUp === setUp && row.sm === sm && row.load === load)?.rounds.map(read) ?? [];
      const at = `${load === "paced" ? `${rate}/s` : "full load"}, ${sm ? "with XEP-0198" : "no XEP-0198"}`;
      const front = perMessage("front");
      const add = (what: string, values: number[], bar: number | null = null) => {
        if (values.length > 0) figures.push(figure(`${at}: ${what}`, "x", values, bar));
      };
      add("CPU per message, edge / HAProxy", ratio(of("edge", front), of("haproxy", front)), 1.5);
      add("CPU per message, nginx / HAProxy", ratio(of("nginx", front), of("haproxy", front)));
      const own = of("ejabberd-tls", together);
      add("edge + ejabberd / ejabberd's own TLS", ratio(of("edge", together), own), load === "full" ? 1.25 : null);
      add("HAProxy + ejabberd / ejabberd's own TLS", ratio(of("haproxy", together), own));
      add("nginx + ejabberd / ejabberd's own TLS", ratio(of("nginx", together), own));
    }
  }
  return figures;
}

export function latencyFigures(rows: readonly TrafficRow[]): Figure[] {
  const figures: Figure[] = [];
  for (const sm of [false, true]) {
    const of = (setUp: SetUpName, key: "p50" | "p99"): number[] =>
      rows.find((row) => row.setUp === setUp && row.sm === sm && row.load === "paced")?.rounds.map((r) => r[key]) ?? [];
    for (const key of ["p50", "p99"] as const) {
      const at = `${key}, ${sm ? "with XEP-0198" : "no XEP-0198"}`;
      const minus = (a: SetUpName, b: SetUpName) => zip(of(a, key), of(b, key), (x, y) => x - y);
      const add = (what: string, values: number[], bar: number | null = null) => {
        if (values.length > 0) figures.push(figure(`${at}: ${what}`, "ms", values, bar));
      };
      add("edge minus HAProxy", minus("edge", "haproxy"), key === "p50" ? 0.1 : null);
      add("edge minus ejabberd's own TLS", minus("edge", "ejabberd-tls"));
      add("HAProxy minus ejabberd's own TLS", minus("haproxy", "ejabberd-tls"));
      if (!sm) add("edge minus plaintext ejabberd", minus("edge", "ejabberd-plain"));
      if (!sm) add("HAProxy minus plaintext ejabberd", minus("haproxy", "ejabberd-plain"));
    }
  }
  return figures;
}

/** The absolute figures behind the ratios: medians of the rounds. */
export function printTraffic(rows: readonly { name: string; load: string; rounds: readonly TrafficResult[] }[]): void {
  const width = Math.max(...rows.map(({ name }) => name.length)) + 1;
  console.log("\nMedians: CPU in microseconds per delivered message, latency in ms");
  console.log(`  ${"set-up".padEnd(width)}load   messages/s   front    core    load     p50     p99`);
  for (const { name, load, rounds } of rows) {
    const of = (read: (result: TrafficResult) => number, digits: number, width = 8) =>
      median(rounds.map(read)).toFixed(digits).padStart(width);
    console.log(
      `  ${name.padEnd(width)}${load.padEnd(6)}` +
        of((r) => r.delivered / r.seconds, 0, 11) +
        of(perMessage("front"), 1, 10) +
        of(perMessage("core"), 1) +
        of(perMessage("load"), 1) +
        of((r) => r.p50, 2) +
        of((r) => r.p99, 2),
    );
  }
}

// ---- (b), (d) and (e)

export function memoryFigures(rows: readonly MemoryRow[]): Figure[] {
  const figures: Figure[] = [];
  for (const key of ["fresh", "moved"] as const) {
    const of = (setUp: SetUpName) => rows.find((row) => row.setUp === setUp)![key];
    const at = key === "fresh" ? "just logged in" : "after 2 KB each way";
    figures.push(
      figure(`${at}: edge / ejabberd's own TLS`, "x", [of("edge") / of("ejabberd-tls")]),
      figure(`${at}: edge / HAProxy`, "x", [of("edge") / of("haproxy")]),
      figure(`${at}: edge`, "KB", [of("edge")], 40),
      figure(`${at}: HAProxy`, "KB", [of("haproxy")]),
      figure(`${at}: ejabberd's own TLS`, "KB", [of("ejabberd-tls")]),
    );
  }
  return figures;
}

export function framerFigures(rows: readonly FramerBenchRow[]): Figure[] {
  return rows
    .filter((row) => row.candidate === "StanzaFramer")
    .flatMap((row) => {
      const speed = (candidate: string) =>
        rows.find(
          (other) => other.candidate === candidate && other.corpus === row.corpus && other.chunks === row.chunks,
        )!.megabytesPerSecond;
      const at = `${row.corpus}, chunks of ${row.chunks}`;
      const bars = row.chunks === "16 KiB";
      return [
        figure(`${at}: StanzaFramer / ltx`, "x", [row.megabytesPerSecond / speed("ltx")], bars ? 4 : null, true),
        figure(`${at}: StanzaFramer / saxes`, "x", [row.megabytesPerSecond / speed("saxes")], bars ? 4 : null, true),
        figure(`${at}: StanzaFramer`, "MB/s", [row.megabytesPerSecond], bars ? 350 : null, true),
      ];
    });
}

const HANDSHAKES = {
  full: "full handshake",
  resumed: "resumed with a ticket",
  opened: "full handshake, then a stream header answered by the core",
};

export function handshakeFigures(rows: readonly HandshakeRow[]): Figure[] {
  const each = (result: HandshakeResult) => ((result.cpu["front"] ?? 0) / result.handshakes) * 1e6;
  return (["full", "resumed", "opened"] as const).map((kind) => {
    const of = (setUp: string) => rows.find((row) => row.setUp === setUp && row.kind === kind)!.rounds.map(each);
    return figure(`CPU, ${HANDSHAKES[kind]}: edge / HAProxy`, "x", ratio(of("edge"), of("haproxy")));
  });
}

export function printHandshakes(rows: readonly HandshakeRow[]): void {
  console.log("\nMedians: handshakes per second, CPU in microseconds for each, of the load generator too");
  for (const { setUp, kind, rounds } of rows) {
    const of = (read: (result: HandshakeResult) => number) => median(rounds.map(read)).toFixed(0).padStart(8);
    const cpu = (group: string) => of((result) => (result.cpu[group]! / result.handshakes) * 1e6);
    const rate = of((result) => result.handshakes / result.seconds);
    console.log(`  ${setUp.padEnd(8)} ${HANDSHAKES[kind].padEnd(58)}${rate}/s${cpu("front")}${cpu("load")}`);
  }
}
