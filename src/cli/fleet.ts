import { performance } from "node:perf_hooks";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import { doorOf } from "../base/seat.ts";
import type { LoadedConfig } from "../config/load.ts";
import { Backoff } from "./backoff.ts";
import { EXIT } from "./exit-codes.ts";
import type { OldWorker } from "./upgrade/messages.ts";
import { type Ending, WorkerProcess } from "./worker-process.ts";

const running = meter.gauge("breakwater_workers", "Workers that accept clients. 0 where there is one process for all");
const lost = meter.counter("breakwater_workers_lost_total", "Workers that ended unasked; each is replaced");

/** Behind `meet`, and before it cannot be taken back. */
const STEPS = ["offer", "open"] as const;
/** A reload waits for the cores to be looked at; a stop, after the drain, for clients to take their last words. */
const RELOAD_MS = 60_000;
const STOP_MS = 7000;

export interface FleetInit {
  readonly loaded: LoadedConfig;
  /** One for each worker. */
  readonly sockets: readonly string[];
  readonly ticketSecret: string;
  readonly log: Log;
  /** The workers of another supervisor whose places these take, in the same order. */
  readonly before?: readonly OldWorker[];
}

interface Slot {
  readonly number: number;
  readonly backoff: Backoff;
  worker: WorkerProcess | null;
  timer: NodeJS.Timeout | null;
  /** Takes the worker's place, as soon as it can. */
  heir: WorkerProcess | null;
  /** Others have their places: they let their clients go. */
  readonly leaving: Set<WorkerProcess>;
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
  #isGivenAway = false;
  /** Why nobody is let in, null: everybody is. */
  shut: string | null = null;
  onServing: (worker: WorkerProcess) => void = () => {};
  readonly #codes: (number | null)[] = [];

  constructor(init: FleetInit) {
    this.#init = init;
    this.#current = init.loaded.text;
    const empty = { worker: null, timer: null, heir: null };
    this.#slots = init.sockets.map((_, i) => ({ number: i + 1, backoff: new Backoff(), leaving: new Set(), ...empty }));
    running.collect = () => running.set(this.serving.length);
  }

  /** Those that accept clients. */
  get serving(): WorkerProcess[] {
    return this.#slots.flatMap(({ worker }) => (worker?.serving ? [worker] : []));
  }

  get #runs(): boolean {
    return this.#state === "running";
  }

  /** Those that let their clients go, as others have their places. */
  get leaving(): WorkerProcess[] {
    return this.#slots.flatMap(({ leaving }) => [...leaving]);
  }

  /** Why nobody can take the workers' places just now; null: nothing is in the way. */
  get busy(): string | null {
    if (this.#restarting) return "the workers are being restarted, one after the other";
    if (!this.#runs) return "the edge starts or stops";
    if (this.shut !== null) return this.shut;
    return this.#slots.every(({ worker }) => worker?.serving) ? null : "a worker has ended, and another one starts";
  }

  /** Whose place has this number. */
  worker(number: number): WorkerProcess | null {
    return this.#slots[number - 1]?.worker ?? null;
  }

  get #workers(): WorkerProcess[] {
    return this.#slots.flatMap(({ worker, heir, leaving }) => [worker ?? [], heir ?? [], ...leaving].flat());
  }

  /**
   * The first alone: what keeps all from starting is told once. Resolves with an exit code when one cannot start. Those that
   * take the places of others are ready then; `opened` tells when they serve.
   */
  async start(opens: (worker: WorkerProcess) => void = () => {}): Promise<number | null> {
    const [first, ...others] = this.#slots;
    const { before } = this.#init;
    for (const slots of [[first!], others]) {
      const started = slots.map((slot) => {
        const worker = this.#launch(slot, before?.[slot.number - 1] ?? null);
        opens(worker);
        return worker.ready;
      });
      await Promise.all(started);
      if (this.#failed !== null) return this.#failed;
    }
    return before === undefined ? await this.opened() : null;
  }

  async opened(): Promise<number | null> {
    await Promise.all(this.#workers.map(({ serves }) => serves));
    if (this.#failed === null) this.#state = "running";
    return this.#failed;
  }

  /** The workers' places are another supervisor's: those that end are not replaced. Resolves when none is left. */
  async giveAway(): Promise<void> {
    this.#isGivenAway = true;
    for (const slot of this.#slots) {
      if (slot.timer !== null) clearTimeout(slot.timer);
      slot.timer = null;
    }
    while (this.#workers.length > 0) await Promise.all(this.#workers.map(({ ended }) => ended));
  }

  /** That one has ended: all workers serve again. */
  takeBack(): void {
    this.#isGivenAway = false;
    if (this.#runs) for (const slot of this.#slots) if (slot.worker === null && slot.timer === null) this.#launch(slot);
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
    const reason = this.busy;
    if (reason !== null) return log.warn("no restart of the workers is begun", { reason });
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
    for (const { timer, heir } of this.#slots) {
      if (timer !== null) clearTimeout(timer);
      heir?.kill();
    }
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

  /** False: its heir does not serve, or there is none as all of them stop. */
  async #replace(slot: Slot, old: WorkerProcess): Promise<boolean> {
    await old.serves;
    // One that has ended by itself before its turn has an heir, which is new, too.
    if (slot.worker === old && this.#runs && !(await this.#succeed(slot, old))) return false;
    return this.#runs && slot.worker !== null && (await slot.worker.serves) && this.#runs;
  }

  /** As in an upgrade, with this program: another worker takes over what can go to it. False: the old one serves as before. */
  async #succeed(slot: Slot, old: WorkerProcess): Promise<boolean> {
    const met = old.step("meet", true);
    const door = doorOf(this.#init.sockets[slot.number - 1]!, old.pid!);
    const heir = this.#spawn(slot, { pid: old.pid!, door });
    slot.heir = heir;
    heir.onToBefore = (word) => old.heirSaid(word);
    old.onToHeir = (word, socket) => heir.beforeSaid(word, socket);
    old.onHeirUseless = () => heir.kill();
    void heir.ended.then(({ code, signal }) => {
      old.heirGone(`the new worker ended (${signal ?? `code ${code}`})`, slot.heir === heir);
      if (slot.heir === heir) slot.heir = null;
    });
    void old.ended.then(() => heir.beforeGone());
    let trouble = await met;
    for (const step of STEPS) trouble ??= await old.step(step, true);
    if (slot.worker === heir) return true; // the old one has ended
    if (trouble !== null || slot.heir !== heir) {
      this.#init.log.error("a worker is not replaced", { worker: slot.number, reason: trouble });
      heir.kill();
      await heir.ended;
      return false;
    }
    slot.heir = null;
    slot.leaving.add(old);
    slot.worker = heir;
    await old.step("commit", true);
    await old.ended;
    return true;
  }

  #launch(slot: Slot, before: OldWorker | null = null): WorkerProcess {
    const worker = this.#spawn(slot, before);
    slot.worker = worker;
    slot.timer = null;
    return worker;
  }

  #spawn(slot: Slot, before: OldWorker | null): WorkerProcess {
    const { loaded, sockets, ticketSecret } = this.#init;
    const { file, text: started } = loaded;
    const { number } = slot;
    const order = {
      do: "start",
      number,
      sockets,
      file,
      started,
      current: this.#current,
      ticketSecret,
      before,
    } as const;
    const worker = new WorkerProcess(order, performance.now());
    void worker.ended.then((ending) => this.#ended(slot, worker, ending));
    // What was reloaded while it started.
    void worker.serves.then((serves) => {
      if (serves) this.onServing(worker);
      if (serves && worker.text !== this.#current) void this.#giveBack(worker);
    });
    return worker;
  }

  #ended(slot: Slot, worker: WorkerProcess, { code, signal }: Ending): void {
    const { log } = this.#init;
    const wasLeaving = slot.leaving.delete(worker);
    const isHeir = slot.heir === worker;
    if (slot.worker === worker) slot.worker = null;
    if (this.#state === "stopping") return void this.#codes.push(isHeir ? EXIT.ok : code);
    // One that is killed says nothing about the next try, and another one serves already.
    const isReplaced = signal !== null && this.serving.length > 0 && this.#init.before === undefined;
    if (this.#state === "starting" && !isReplaced) {
      // It has said why, unless a signal ended it.
      this.#failed ??= code || EXIT.software;
      if (signal !== null) log.error("a worker was killed while it started", { worker: slot.number, signal });
      return;
    }
    if (isHeir) return;
    const facts = { worker: slot.number, pid: worker.pid };
    const isDone = worker.report !== null && code === EXIT.ok;
    if (isDone) return log.info("a worker has let its clients go and is replaced", facts);
    lost.inc();
    if (wasLeaving || this.#isGivenAway) {
      return log.error("a worker has ended before all its clients had gone; they resume at the others", {
        ...facts,
        code,
        signal,
      });
    }
    if (slot.worker === null && slot.heir !== null) {
      slot.worker = slot.heir;
      slot.heir = null;
      return log.error("a worker has ended while it was replaced; the new one has what had come", facts);
    }
    const waitMs = slot.backoff.next(performance.now() - worker.startedAt);
    log.error("a worker has ended; its clients resume at the others, and another one takes its place", {
      ...{ ...facts, code, signal, replaced_in_ms: waitMs },
    });
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
