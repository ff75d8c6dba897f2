import { collectDefaultMetrics, type Metric as PromMetric, Registry } from "prom-client";
import { type Distribution, meter, Series } from "../base/meter.ts";

/**
 * They look at every open socket, one after the other, while everybody waits: with 15000 of them `process_open_fds` alone
 * took 20 ms of each scrape. `breakwater_connections` and `breakwater_core_open_streams` count without looking.
 */
const COSTLY = [
  "process_open_fds",
  "nodejs_active_handles",
  "nodejs_active_handles_total",
  "nodejs_active_resources",
  "nodejs_active_resources_total",
  "nodejs_active_requests",
  "nodejs_active_requests_total",
];

/** What prom-client measures of the process. It starts observers that cannot be stopped, so there is one for all. */
let ofNode: Registry | null = null;

function nodeRegistry(): Registry {
  if (ofNode === null) {
    ofNode = new Registry();
    collectDefaultMetrics({ register: ofNode });
    for (const name of COSTLY) ofNode.removeSingleMetric(name);
  }
  return ofNode;
}

/** Prometheus text of everything that the rooms count, and of what Node tells about the process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #node: Registry | null;
  readonly #known = new Set<string>();

  constructor(options: { nodeMetrics?: boolean } = {}) {
    this.#node = (options.nodeMetrics ?? true) ? nodeRegistry() : null;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The same as values, for a supervisor that adds up what its workers tell. */
  async read(): Promise<Reading[]> {
    this.#register();
    const own = await this.#registry.getMetricsAsJSON();
    const ofNode = this.#node ? await this.#node.getMetricsAsJSON() : [];
    // prom-client's type leaves out the names of a histogram's series
    return [...own, ...ofNode] as unknown as Reading[];
  }

  /** The text of a scrape. Reads every counter, so it costs with their number and never with the traffic. */
  async text(): Promise<string> {
    this.#register();
    const own = await this.#registry.metrics();
    return this.#node ? `${own.trimStart()}${await this.#node.metrics()}` : own;
  }

  #register(): void {
    for (const metric of meter.all()) {
      if (this.#known.has(metric.name)) continue;
      this.#known.add(metric.name);
      // prom-client asks a metric for `name` and `get()` only
      this.#registry.registerMetric(new MeterReading(metric) as unknown as PromMetric);
    }
  }
}

/** One metric with its values, as prom-client has it: what travels from a worker to its supervisor. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly Sample[];
  readonly aggregator: string;
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

  async get(): Promise<Reading> {
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
