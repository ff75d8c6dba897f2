import { doorOf } from "../../base/seat.ts";
import type { OpenPort } from "../../breakwater.ts";
import type { Fleet } from "../fleet.ts";
import type { WorkerProcess } from "../worker-process.ts";
import type { Giver } from "./giver.ts";
import type { Progress, Step } from "./messages.ts";
import type { Successor } from "./successor.ts";

const ANSWER_MS = 2000;
const NOTHING: Progress = {
  ...{ handedOver: 0, dormant: 0, left: 0, total: 0 },
  how: { "handed-over": 0, moved: 0, redirected: 0, shutdown: 0 },
};

/** The supervisor's own port. */
export interface OpsPort {
  readonly openPorts: readonly OpenPort[];
  close(): Promise<void>;
  /** Rejects when its address is no longer to be had. */
  reopen(): Promise<void>;
}

/**
 * A supervisor's workers: each gives its place to the worker with its number of the new supervisor. What two workers say
 * to each other goes through both supervisors. All take the same steps together; until the last one is through with all
 * but `commit`, the end of any of them ends the attempt, and afterwards that of a new worker is what it always is.
 */
export class FleetGiver implements Giver {
  readonly #fleet: Fleet;
  readonly #sockets: readonly string[];
  readonly #ops: OpsPort;
  #workers: readonly WorkerProcess[] = [];
  readonly #told = new Map<WorkerProcess, Progress>();
  #met: Promise<string | null> = Promise.resolve(null);
  #committed = false;
  #given: Promise<void> = Promise.resolve();
  #offered = false;

  /** `sockets`: of the workers' doors. */
  constructor(fleet: Fleet, sockets: readonly string[], ops: OpsPort) {
    this.#fleet = fleet;
    this.#sockets = sockets;
    this.#ops = ops;
  }

  get busy(): string | null {
    return this.#fleet.busy;
  }

  get openPorts(): readonly OpenPort[] {
    return this.#ops.openPorts;
  }

  meets(heir: Successor): void {
    this.#workers = this.#fleet.serving;
    this.#told.clear();
    this.#committed = false;
    this.#offered = false;
    for (const worker of this.#workers) this.#connect(worker, heir);
    heir.workers = this.#workers.map(({ number, pid }) => ({
      pid: pid!,
      door: doorOf(this.#sockets[number - 1]!, pid!),
    }));
    heir.onWorkerWord = (number, word) => {
      if (word.said === "refuses") heir.blame(`worker ${number}: ${word.why}`);
      this.#worker(number)?.heirSaid(word);
    };
    heir.onWorkerGone = (number) => this.#worker(number)?.heirGone("the new worker ended", !this.#committed);
    void heir.gone.then((why) => {
      for (const worker of this.#workers) worker.heirGone(why, true);
    });
    this.#met = this.#inStep("meet");
  }

  // Each worker answers its own.
  claim(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async offer(): Promise<void> {
    let trouble = await this.#met;
    if (trouble === null) {
      this.#offered = true;
      void this.#ops.close();
    }
    for (const step of ["offer", "open"] as const) trouble ??= await this.#inStep(step);
    if (trouble !== null) throw new Error(trouble);
  }

  commit(): void {
    this.#committed = true;
    this.#given = this.#fleet.giveAway();
    void this.#inStep("commit");
  }

  letGo(): Promise<void> {
    return this.#given;
  }

  async hurry(): Promise<void> {
    for (const worker of this.#workers) worker.stop();
    await this.#given;
  }

  async takeBack(stopping: boolean): Promise<void> {
    if (stopping) return;
    this.#fleet.takeBack();
    if (this.#offered) await this.#ops.reopen();
  }

  async progress(): Promise<Progress> {
    const all = await Promise.all(this.#workers.map((worker) => this.#progressOf(worker)));
    return all.reduce(sum, NOTHING);
  }

  async #progressOf(worker: WorkerProcess): Promise<Progress> {
    const { report } = worker;
    const { total } = this.#told.get(worker) ?? NOTHING;
    const now = report === null ? await worker.ask("progress", null, ANSWER_MS) : { ...report, total, left: 0 };
    if (now !== undefined) this.#told.set(worker, now);
    return this.#told.get(worker) ?? NOTHING;
  }

  #connect(worker: WorkerProcess, heir: Successor): void {
    const { number } = worker;
    worker.onToHeir = (word, socket) => {
      void heir
        .forWorker(number, word, socket)
        .catch(() => {}) // its end is told by `gone`
        .finally(() => socket?.close());
    };
    worker.onHeirUseless = () => (this.#committed ? heir.workerUseless(number) : heir.kill());
    void worker.ended.then(() => {
      if (this.#committed) heir.workerGone(number);
    });
  }

  #worker(number: number): WorkerProcess | null {
    return this.#workers.find((worker) => worker.number === number) ?? null;
  }

  /** Null: all have taken the step; else why the first of them cannot. */
  #inStep(step: Step): Promise<string | null> {
    let waiting = this.#workers.length;
    return new Promise((resolve) => {
      for (const worker of this.#workers)
        void worker.step(step, false).then((trouble) => {
          if (trouble !== null || --waiting === 0) resolve(trouble);
        });
    });
  }
}

function sum(a: Progress, b: Progress): Progress {
  return {
    handedOver: a.handedOver + b.handedOver,
    dormant: a.dormant + b.dormant,
    left: a.left + b.left,
    total: a.total + b.total,
    how: {
      "handed-over": a.how["handed-over"] + b.how["handed-over"],
      moved: a.how.moved + b.how.moved,
      redirected: a.how.redirected + b.how.redirected,
      shutdown: a.how.shutdown + b.how.shutdown,
    },
  };
}
