import type { Told } from "../ops/http.ts";
import { Metrics } from "../ops/metrics.ts";
import { WorkersMetrics } from "../ops/workers-metrics.ts";
import type { Fleet } from "./fleet.ts";
import type { WorkerReport } from "./worker-messages.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** A worker that does not answer for so long is told of as it was at the scrape before. */
const PATIENCE_MS = 2000;

/** What the supervisor's ops server tells: of all workers, and of itself. */
export class WorkersReport {
  readonly #fleet: Fleet;
  readonly #own = new Metrics();
  readonly #all = new WorkersMetrics();
  readonly #seen = new Map<WorkerProcess, string>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  get told(): Told {
    return {
      health: { failures: () => this.#failures() },
      metrics: { contentType: this.#all.contentType, text: () => this.#metrics() },
    };
  }

  async #metrics(): Promise<string> {
    for (const [worker, report] of await this.#ask()) {
      if (report === undefined) continue;
      const name = String(worker.number);
      // Its predecessor may have had the same number.
      for (const [other, known] of this.#seen) if (known === name && other !== worker) this.#leave(other);
      this.#remember(worker);
      this.#all.told(name, report.metrics);
    }
    this.#all.told("supervisor", (await this.#own.read()).filter(isAboutSupervisor));
    return this.#all.text();
  }

  #remember(worker: WorkerProcess): void {
    if (this.#seen.has(worker)) return;
    this.#seen.set(worker, String(worker.number));
    void worker.ended.then(() => this.#leave(worker));
  }

  #leave(worker: WorkerProcess): void {
    const name = this.#seen.get(worker);
    if (name !== undefined && this.#seen.delete(worker)) this.#all.left(name);
  }

  /** One that is ready is enough: the kernel sends clients only to workers that listen. */
  async #failures(): Promise<{ name: string; reason: string }[]> {
    const reports = await this.#ask();
    if (reports.some(([, report]) => report?.failing.length === 0)) return [];
    const failing = reports.flatMap(([{ number }, report]) => {
      const reasons = report?.failing ?? [{ name: "answer", reason: "it does not answer" }];
      return reasons.map(({ name, reason }) => ({ name: `worker ${number}: ${name}`, reason }));
    });
    return failing.length > 0 ? failing : [{ name: "workers", reason: "none accepts clients" }];
  }

  #ask(): Promise<[WorkerProcess, WorkerReport | undefined][]> {
    const { serving } = this.#fleet;
    return Promise.all(
      serving.map(async (worker): Promise<[WorkerProcess, WorkerReport | undefined]> => {
        return [worker, await worker.ask("report", null, PATIENCE_MS)];
      }),
    );
  }
}

// The edge's own are zero in a process that has no clients.
function isAboutSupervisor({ name }: { name: string }): boolean {
  return /^(?:process|nodejs)_|^breakwater_(?:worker|config_)/.test(name);
}
