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
    const { serving, leaving } = this.#fleet;
    for (const worker of leaving) this.#remember(worker, `${worker.number}-old`);
    for (const [worker, report] of await this.#ask([...leaving, ...serving])) {
      if (report === undefined) continue;
      if (!leaving.includes(worker)) this.#remember(worker, String(worker.number));
      const name = this.#seen.get(worker);
      if (name !== undefined) this.#all.told(name, report.metrics);
    }
    this.#all.told("supervisor", (await this.#own.read()).filter(isAboutSupervisor));
    return this.#all.text();
  }

  #remember(worker: WorkerProcess, name: string): void {
    const before = this.#seen.get(worker);
    if (before === name) return;
    // One that ended may have had the same name.
    for (const [other, known] of this.#seen) if (known === name) this.#leave(other);
    this.#seen.set(worker, name);
    if (before !== undefined) this.#all.renamed(before, name);
    else void worker.ended.then(() => this.#leave(worker));
  }

  #leave(worker: WorkerProcess): void {
    const name = this.#seen.get(worker);
    if (name !== undefined && this.#seen.delete(worker)) this.#all.left(name);
  }

  /** One that is ready is enough: the kernel sends clients only to workers that listen. */
  async #failures(): Promise<{ name: string; reason: string }[]> {
    const reports = await this.#ask(this.#fleet.serving);
    if (reports.some(([, report]) => report?.failing.length === 0)) return [];
    const failing = reports.flatMap(([{ number }, report]) => {
      const reasons = report?.failing ?? [{ name: "answer", reason: "it does not answer" }];
      return reasons.map(({ name, reason }) => ({ name: `worker ${number}: ${name}`, reason }));
    });
    return failing.length > 0 ? failing : [{ name: "workers", reason: "none accepts clients" }];
  }

  #ask(workers: readonly WorkerProcess[]): Promise<[WorkerProcess, WorkerReport | undefined][]> {
    return Promise.all(
      workers.map(async (worker): Promise<[WorkerProcess, WorkerReport | undefined]> => {
        return [worker, await worker.ask("report", null, PATIENCE_MS)];
      }),
    );
  }
}

// The edge's own are zero in a process that has no clients.
function isAboutSupervisor({ name }: { name: string }): boolean {
  return /^(?:process|nodejs)_|^breakwater_(?:worker|config_|upgrades_)/.test(name);
}
