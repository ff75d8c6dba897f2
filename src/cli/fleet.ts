import { performance } from "node:perf_hooks";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import type { LoadedConfig } from "../config/load.ts";
import { Backoff } from "./backoff.ts";
import { EXIT } from "./exit-codes.ts";
import { type Ending, WorkerProcess } from "./worker-process.ts";

const running = meter.gauge("breakwater_workers", "Workers that accept clients. 0 where there is one process for all");
const lost = meter.counter("breakwater_workers_lost_total", "Workers that ended unasked; each is replaced");

/** A reload waits for the cores to be looked at; a stop, after the drain, for clients to take their last words. */
const RELOAD_MS = 60_000;
const STOP_MS = 7000;

export interface FleetInit {
  readonly loaded: LoadedConfig;
  /** One for each worker. */
  readonly sockets: readonly string[];
  readonly ticketSecret: string;
  readonly log: Log;
}

interface Slot {
  readonly number: number;
  readonly backoff: Backoff;
  worker: WorkerProcess | null;
  timer: NodeJS.Timeout | null;
  /** It goes because it was asked to. */
  retiring: WorkerProcess | null;
}

/** The workers. As many as there should be, as far as that is possible. */
export class Fleet {
  readonly #init: FleetInit;
  readonly #slots: readonly Slot[];
  /** The text of the configuration that counts. */
  #current: string;
  #state: "starting" | "running" | "stopping" = "starting";
  #failed: number | null = null;
  #restarting = false;
  readonly #codes: (number | null)[] = [];

  constructor(init: FleetInit) {
    this.#init = init;
    this.#current = init.loaded.text;
    const empty = { worker: null, timer: null, retiring: null };
    this.#slots = init.sockets.map((_, i) => ({ number: i + 1, backoff: new Backoff(), ...empty }));
    running.collect = () => running.set(this.serving.length);
  }

  /** Those that accept clients. */
  get serving(): WorkerProcess[] {
    return this.#workers.filter((worker) => worker.serving);
  }

  get #runs(): boolean {
    return this.#state === "running";
  }

  get #workers(): WorkerProcess[] {
    return this.#slots.flatMap(({ worker }) => worker ?? []);
  }

  /** The first alone: what keeps all from starting is told once. Resolves with an exit code when one cannot start. */
  async start(): Promise<number | null> {
    const [first, ...others] = this.#slots;
    for (const slots of [[first!], others]) {
      await Promise.all(slots.map((slot) => this.#launch(slot).serves));
      if (this.#failed !== null) return this.#failed;
    }
    this.#state = "running";
    return null;
  }

  /** All workers, or none: rejects when one refuses it, and says why. */
  async reload(loaded: LoadedConfig): Promise<void> {
    const before = this.#current;
    const taken: WorkerProcess[] = [];
    for (const worker of this.serving) {
      const refusal = await this.#give(worker, loaded.text);
      if (refusal === null) {
        taken.push(worker);
        this.#current = loaded.text; // for workers that start meanwhile
      } else if (worker.serving) {
        this.#current = before;
        for (const other of taken) await this.#giveBack(other);
        throw new Error(`worker ${worker.number}: ${refusal}`);
      }
    }
    this.#current = loaded.text;
  }

  /**
   * One worker after the other lets its clients go at `drain.rate` and is replaced by a new process. Goes on when that serves,
   * and stops where one does not: the workers that are left have proven themselves. Never rejects.
   */
  async restart(): Promise<void> {
    const { log } = this.#init;
    if (this.#restarting || !this.#runs) {
      return log.warn("no restart of the workers begins: one is under way, or the edge starts or stops");
    }
    this.#restarting = true;
    const beganAt = performance.now();
    const old = this.#slots.flatMap((slot) => (slot.worker === null ? [] : [{ slot, worker: slot.worker }]));
    log.info("the workers are restarted, one after the other", { workers: old.length });
    for (const { slot, worker } of old) {
      if (await this.#replace(slot, worker)) continue;
      this.#restarting = false;
      if (!this.#runs) return;
      const hint = "the lines above say why; the workers behind it run on as they were: ask again when all serve";
      return log.error("the restart of the workers is given up: one is not replaced", { worker: slot.number, hint });
    }
    this.#restarting = false;
    log.info("all workers are new", { took_s: Math.round((performance.now() - beganAt) / 1000) });
  }

  /** Ends all of them in order. Resolves with the worst exit code. */
  async stop(): Promise<number> {
    this.#state = "stopping";
    for (const { timer } of this.#slots) if (timer !== null) clearTimeout(timer);
    const workers = this.#workers;
    for (const worker of workers) worker.stop();
    const patienceMs = this.#init.loaded.config.drain.timeout * 1000 + STOP_MS;
    const late = setTimeout(() => {
      this.#init.log.error("workers that do not stop are killed", { after_s: patienceMs / 1000 });
      this.kill();
    }, patienceMs);
    await Promise.all(workers.map((worker) => worker.ended));
    clearTimeout(late);
    return Math.max(EXIT.ok, ...this.#codes.map((code) => code ?? EXIT.software));
  }

  /** At once. */
  kill(): void {
    for (const worker of this.#workers) worker.kill();
  }

  /** False: the successor does not serve, or there is none as all of them stop. */
  async #replace(slot: Slot, worker: WorkerProcess): Promise<boolean> {
    await worker.serves;
    // One that has ended by itself before its turn has a successor, which is new, too.
    if (slot.worker === worker && this.#runs) {
      slot.retiring = worker;
      worker.retire();
      await worker.ended;
    }
    return this.#runs && slot.worker !== null && (await slot.worker.serves) && this.#runs;
  }

  #launch(slot: Slot): WorkerProcess {
    const { loaded, sockets, ticketSecret } = this.#init;
    const { file, text: started } = loaded;
    const { number } = slot;
    const order = { do: "start", number, sockets, file, started, current: this.#current, ticketSecret } as const;
    const worker = new WorkerProcess(order, performance.now());
    slot.worker = worker;
    slot.timer = null;
    void worker.ended.then((ending) => this.#ended(slot, worker, ending));
    // What was reloaded while it started.
    void worker.serves.then((serves) => {
      if (serves && worker.text !== this.#current) void this.#giveBack(worker);
    });
    return worker;
  }

  #ended(slot: Slot, worker: WorkerProcess, { code, signal }: Ending): void {
    slot.worker = null;
    if (this.#state === "stopping") return void this.#codes.push(code);
    if (this.#state === "starting") {
      // It has said why, unless a signal ended it.
      this.#failed ??= code || EXIT.software;
      if (signal !== null)
        this.#init.log.error("a worker was killed while it started", { worker: slot.number, signal });
      return;
    }
    if (slot.retiring === worker && code === EXIT.ok) {
      this.#init.log.info("a worker has let its clients go and is replaced", { worker: slot.number, pid: worker.pid });
      return void this.#launch(slot);
    }
    lost.inc();
    const waitMs = slot.backoff.next(performance.now() - worker.startedAt);
    const facts = { worker: slot.number, pid: worker.pid, code, signal, replaced_in_ms: waitMs };
    this.#init.log.error(
      "a worker has ended; its clients resume at the others, and another one takes its place",
      facts,
    );
    slot.timer = setTimeout(() => this.#launch(slot), waitMs);
  }

  /** Null: the worker has it; else why not. */
  async #give(worker: WorkerProcess, text: string): Promise<string | null> {
    const refusal = await worker.ask("reload", text, RELOAD_MS);
    if (refusal === undefined) return `does not answer within ${RELOAD_MS / 1000} s; kill it, and it is replaced`;
    if (refusal === null) worker.text = text;
    return refusal;
  }

  /** Brings one worker to what counts. It had it, or it has it from the others: a refusal needs a person. */
  async #giveBack(worker: WorkerProcess): Promise<void> {
    const refusal = await this.#give(worker, this.#current);
    if (refusal === null || !worker.serving) return;
    const facts = { worker: worker.number, pid: worker.pid, mistakes: [refusal] };
    this.#init.log.error("a worker has another configuration than the rest: mend it and reload again", facts);
  }
}
