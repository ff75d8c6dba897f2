import type { Random } from "../random.ts";
import type { CutKind } from "../weak-link.ts";

/** What may befall an edge. A drain ends in a stop or is taken back. */
const EDGE_FAULTS = ["kill", "kill", "stop", "drain-and-stop", "drain-and-abort", "freeze", "freeze"] as const;
/** What may befall the store. */
const REDIS_FAULTS = ["crash", "freeze", "disconnect", "fill", "read-only", "fail-over"] as const;
/** What may befall all connections to the core at once. */
const CORE_CUTS: readonly CutKind[] = ["fin", "rst", "client-rst", "server-rst", "silent"];

interface Timing {
  /** For so long nothing has befallen this thing when it happens: ms. */
  readonly after: number;
  /** How long it lasts, where it lasts: ms. */
  readonly lasts: number;
}
export type EdgeFault = Timing & {
  readonly on: "edge";
  readonly edge: number;
  readonly what: (typeof EDGE_FAULTS)[number];
};
export type RedisFault = Timing & { readonly on: "redis"; readonly what: (typeof REDIS_FAULTS)[number] };
export type CoreLinksFault = Timing & { readonly on: "core-links"; readonly what: CutKind };
export type Fault = EdgeFault | RedisFault | CoreLinksFault;

const EDGE_LONGEST_MS = 4000;
// Long enough for a sleeping client's queue to fill; less than the 30 s after which what is stored is given up (docs/store.md).
const REDIS_LONGEST_MS = 10_000;

/** Mean times without a fault of one edge, of Redis, and of the connections to the core: ms. */
export interface Calm {
  readonly edge: number;
  readonly redis: number;
  readonly coreLinks: number;
}

/**
 * What befalls each thing, one after the other and without end: the same seed, the same faults. How many of them there are
 * is the clock's affair, as a thing must be whole again before the next can befall it.
 */
export function lanes(random: Random, edges: number, calm: Calm): Iterable<Fault>[] {
  return [
    ...Array.from({ length: edges }, (_, edge) =>
      lane(random.fork(edge), calm.edge, EDGE_LONGEST_MS, (chance, timing) => ({
        ...timing,
        on: "edge",
        edge,
        what: chance.pick(EDGE_FAULTS),
      })),
    ),
    lane(random.fork(100), calm.redis, REDIS_LONGEST_MS, (chance, timing) => ({
      ...timing,
      on: "redis",
      what: chance.pick(REDIS_FAULTS),
    })),
    lane(random.fork(101), calm.coreLinks, 0, (chance, timing) => ({
      ...timing,
      on: "core-links",
      what: chance.pick(CORE_CUTS),
    })),
  ];
}

function* lane(
  chance: Random,
  calm: number,
  longest: number,
  draw: (chance: Random, timing: Timing) => Fault,
): Generator<Fault> {
  for (;;) yield draw(chance, { after: Math.round(chance.exponential(calm)), lasts: chance.integer(0, longest) });
}

const LASTING: ReadonlySet<string> = new Set(["freeze", "drain-and-abort", "crash", "fill", "read-only"]);

/** One line for a person. */
export function describe(fault: Fault): string {
  const lasts = LASTING.has(fault.what) ? ` for ${(fault.lasts / 1000).toFixed(1)} s` : "";
  switch (fault.on) {
    case "edge":
      return `edge ${fault.edge}: ${fault.what}${lasts}`;
    case "redis":
      return `redis: ${fault.what}${lasts}`;
    default:
      return `connections to the core: ${fault.what}`;
  }
}
