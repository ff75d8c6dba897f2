/** The load generator as seen from the benchmark: a process of its own that takes one job after the other. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { LoadTarget } from "./wire.ts";

/** Groups of processes whose CPU time is measured together. */
export type Pids = Readonly<Record<string, readonly number[]>>;

export interface LoginJob {
  readonly group: string;
  readonly target: LoadTarget;
  readonly firstUser: number;
  readonly count: number;
  readonly sm: boolean;
}

export interface TrafficJob {
  readonly group: string;
  /** Messages per second of the whole group, or at most so many on their way for each client. */
  readonly load: { readonly rate: number } | { readonly window: number };
  readonly warmSeconds: number;
  readonly seconds: number;
  readonly pids: Pids;
}

export interface TrafficResult {
  readonly seconds: number;
  readonly delivered: number;
  /** CPU seconds of each group of processes, and of the load generator as `load`. */
  readonly cpu: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
}

export interface HandshakeJob {
  readonly target: LoadTarget;
  /** `opened`: a full handshake, then a stream header, which the core answers. */
  readonly kind: "full" | "resumed" | "opened";
  readonly concurrency: number;
  readonly seconds: number;
  readonly pids: Pids;
}

export interface HandshakeResult {
  readonly seconds: number;
  readonly handshakes: number;
  readonly cpu: Readonly<Record<string, number>>;
}

export interface Jobs {
  login(job: LoginJob): Promise<null>;
  /** Each client sends `messages` messages of `bytes` bytes to its partner; resolves when all have arrived. */
  move(job: { group: string; messages: number; bytes: number }): Promise<null>;
  traffic(job: TrafficJob): Promise<TrafficResult>;
  handshakes(job: HandshakeJob): Promise<HandshakeResult>;
  leave(job: { group: string }): Promise<null>;
}

export type JobName = keyof Jobs;
export type JobOf<Name extends JobName> = Parameters<Jobs[Name]>[0];
type ResultOf<Name extends JobName> = Awaited<ReturnType<Jobs[Name]>>;

export class Load {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, "load-worker.ts"));

  async do<Name extends JobName>(name: Name, job: JobOf<Name>): Promise<ResultOf<Name>> {
    const over = new AbortController();
    const { signal } = over;
    this.#child.send({ name, job });
    try {
      const [message] = (await Promise.race([
        once(this.#child, "message", { signal }),
        once(this.#child, "exit", { signal }).then(([code]) => [{ error: `the load generator has ended (${code})` }]),
      ])) as [{ result: ResultOf<Name>; error?: string }];
      if (message.error !== undefined) throw new Error(message.error);
      return message.result;
    } finally {
      over.abort();
    }
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}
