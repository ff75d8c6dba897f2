/**
 * Counters as plain numbers that the hot path may touch and that ops reads at scrape.
 * A metric is declared on top of the file that it counts; `ops/metrics` turns the declarations into Prometheus text.
 */
export type Labels = Readonly<Record<string, string>>;

/** One labelled time series. Add to `value` directly: `cell.value++`. */
export interface Cell {
  value: number;
}

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labelNames: readonly string[];
}

export class Series implements Metric {
  readonly name: string;
  readonly help: string;
  readonly kind: "counter" | "gauge";
  readonly labelNames: readonly string[];
  readonly #cells = new Map<string, { labels: Labels; cell: Cell }>();
  /** Called before each scrape: for gauges that are cheaper to compute then. */
  collect: (() => void) | null = null;

  constructor(kind: "counter" | "gauge", name: string, help: string, labelNames: readonly string[]) {
    this.kind = kind;
    this.name = name;
    this.help = help;
    this.labelNames = labelNames;
    if (labelNames.length === 0) this.cell();
  }

  /** The cell for these label values, in the order of `labelNames`. Keep it: a lookup builds a string. */
  cell(...values: string[]): Cell {
    const key = values.join("\u0000");
    let entry = this.#cells.get(key);
    if (!entry) {
      const labels = Object.fromEntries(this.labelNames.map((name, i) => [name, values[i] ?? ""]));
      entry = { labels, cell: { value: 0 } };
      this.#cells.set(key, entry);
    }
    return entry.cell;
  }

  inc(...values: string[]): void {
    this.cell(...values).value++;
  }

  set(value: number, ...values: string[]): void {
    this.cell(...values).value = value;
  }

  cells(): Iterable<{ labels: Labels; cell: Cell }> {
    return this.#cells.values();
  }
}

/** A distribution without labels: `bounds` are the upper edges of its buckets, ascending, in the metric's unit. */
export class Distribution implements Metric {
  readonly name: string;
  readonly help: string;
  readonly kind = "histogram" as const;
  readonly labelNames: readonly string[] = [];
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.bounds = bounds;
    this.counts = new Array(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    let i = 0;
    while (i < this.bounds.length && value > this.bounds[i]!) i++;
    this.counts[i]!++;
    this.sum += value;
    this.count++;
  }
}

const declared = new Map<string, Series | Distribution>();

function declare<T extends Series | Distribution>(metric: T): T {
  if (declared.has(metric.name)) throw new Error(`metric ${metric.name} is declared twice`);
  declared.set(metric.name, metric);
  return metric;
}

export const meter = {
  counter: (name: string, help: string, labelNames: readonly string[] = []) =>
    declare(new Series("counter", name, help, labelNames)),
  gauge: (name: string, help: string, labelNames: readonly string[] = []) =>
    declare(new Series("gauge", name, help, labelNames)),
  histogram: (name: string, help: string, bounds: readonly number[]) => declare(new Distribution(name, help, bounds)),
  all: (): Iterable<Series | Distribution> => declared.values(),
};
