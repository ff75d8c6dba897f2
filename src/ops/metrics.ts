import { collectDefaultMetrics, type Metric as PromMetric, Registry } from "prom-client";
import { type Distribution, type Metric, meter, Series } from "../base/meter.ts";

/** Prometheus text of everything that the rooms count, and of what Node tells about the process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #known = new Set<string>();

  constructor(options: { nodeMetrics?: boolean } = {}) {
    if (options.nodeMetrics ?? true) collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of a scrape. Reads every counter, so it costs with their number and never with the traffic. */
  async text(): Promise<string> {
    for (const metric of meter.all()) {
      if (this.#known.has(metric.name)) continue;
      this.#known.add(metric.name);
      // prom-client asks a metric for `name` and `get()` only
      this.#registry.registerMetric(new MeterReading(metric) as unknown as PromMetric);
    }
    return this.#registry.metrics();
  }
}

interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** One of our metrics in the shape that prom-client prints. */
class MeterReading {
  readonly name: string;
  readonly #metric: Series | Distribution;

  constructor(metric: Series | Distribution) {
    this.name = metric.name;
    this.#metric = metric;
  }

  async get(): Promise<Pick<Metric, "name" | "help"> & { type: string; values: Sample[]; aggregator: string }> {
    const { name, help, kind } = this.#metric;
    const values = this.#metric instanceof Series ? seriesSamples(this.#metric) : distributionSamples(this.#metric);
    return { name, help, type: kind, values, aggregator: "sum" };
  }
}

function seriesSamples(series: Series): Sample[] {
  series.collect?.();
  return Array.from(series.cells(), ({ labels, cell }) => ({ labels, value: cell.value }));
}

function distributionSamples({ name, bounds, counts, sum, count }: Distribution): Sample[] {
  const metricName = `${name}_bucket`;
  let below = 0;
  const buckets = bounds.map((le, i) => {
    below += counts[i] ?? 0;
    return { metricName, labels: { le }, value: below };
  });
  return [
    ...buckets,
    { metricName, labels: { le: "+Inf" }, value: count },
    { metricName: `${name}_sum`, labels: {}, value: sum },
    { metricName: `${name}_count`, labels: {}, value: count },
  ];
}
