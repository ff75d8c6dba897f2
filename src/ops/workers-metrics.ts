import { AggregatorRegistry, Registry } from "prom-client";
import type { Reading } from "./metrics.ts";

/**
 * One page of metrics for several processes. Counts are added up; what Node tells about a process, and gauges that are
 * moments, delays or states, get a label `worker`. A counter must not fall when its process is gone, as Prometheus would
 * take that for a restart: what a process told last stays in the sum.
 */
export class WorkersMetrics {
  readonly contentType = new Registry().contentType;
  readonly #last = new Map<string, readonly Reading[]>();
  #gone: readonly Reading[] = [];

  /** What a process tells. It counts until the process tells more, or leaves. */
  told(worker: string, readings: readonly Reading[]): void {
    this.#last.set(worker, readings);
  }

  /** Another process has its name from now on. */
  renamed(from: string, to: string): void {
    const told = this.#last.get(from);
    this.#last.delete(from);
    if (told !== undefined) this.#last.set(to, told);
  }

  /** The process has ended: of what it told only the counts remain. */
  left(worker: string): void {
    const told = this.#last.get(worker) ?? [];
    this.#last.delete(worker);
    const counts = told.filter((one) => one.type !== "gauge" && !isOfEach(one));
    this.#gone = sum([this.#gone, counts])
      .getMetricsAsArray()
      .map((one) => one as unknown as Reading);
  }

  /** Prometheus text. */
  async text(): Promise<string> {
    const told = [...this.#last].map(([worker, readings]) => readings.map((one) => withWorker(one, worker)));
    return (await sum([this.#gone, ...told]).metrics()).trimStart();
  }
}

function sum(told: (readonly Reading[])[]): Registry {
  return AggregatorRegistry.aggregate(told);
}

function withWorker(reading: Reading, worker: string): Reading {
  if (!isOfEach(reading)) return reading;
  const values = reading.values.map((sample) => ({ ...sample, labels: { ...sample.labels, worker } }));
  return { ...reading, values, aggregator: "sum" };
}

function isOfEach({ name, type }: Reading): boolean {
  return /^(?:process|nodejs)_/.test(name) || (type === "gauge" && /_(?:seconds|up)$/.test(name));
}
