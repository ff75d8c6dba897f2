import { rmdirSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Breakwater, start } from "../breakwater.ts";
import { afterReload } from "../config/changes.ts";
import { type LoadedConfig, parseConfig } from "../config/load.ts";
import { ConfigMistakes } from "../config/mistakes.ts";
import type { Config } from "../config/schema.ts";
import { Metrics } from "../ops/metrics.ts";
import { tellMistakes } from "./check.ts";
import { EXIT } from "./exit-codes.ts";
import { shareOf } from "./share.ts";
import { tellStartTrouble } from "./start-trouble.ts";
import { surviveErrors } from "./survive.ts";
import type { Order, StartOrder, Word, WorkerReport } from "./worker-messages.ts";

/**
 * `breakwater worker`, which only a supervisor starts: the edge in one of several processes. It takes its orders from the
 * supervisor. Resolves with an exit code when it could not start, and otherwise never.
 */
export async function work(): Promise<number> {
  if (!process.connected) {
    process.stderr.write("breakwater: workers are started by `breakwater run` (workers: 2 or more in its file)\n");
    return EXIT.usage;
  }
  const worker = await new Promise<Worker>((resolve) =>
    process.once("message", (first: StartOrder) => resolve(new Worker(first))),
  );
  return (await worker.start()) ?? new Promise(() => {});
}

class Worker {
  readonly #order: StartOrder;
  readonly #metrics = new Metrics();
  #log: Log = createLog({ level: "info" });
  #started: Config | null = null;
  /** What counts for all workers in sum. */
  #whole: Config | null = null;
  #breakwater: Breakwater | null = null;
  #stopping = false;

  constructor(order: StartOrder) {
    this.#order = order;
    process.on("message", (next: Order) => this.#obey(next));
    process.on("disconnect", () => {
      this.#log.error("the supervisor is gone: this worker stops; start breakwater again");
      this.#stop();
    });
    // A terminal and systemd tell every process: once is enough, and the supervisor says the rest.
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => this.#stop());
    for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
  }

  /** Null: it serves. */
  async start(): Promise<number | null> {
    const { number, sockets, started, current } = this.#order;
    const first = this.#parse(started);
    if (first instanceof ConfigMistakes) return tellMistakes(first);
    const latest = current === started ? first : this.#parse(current);
    if (latest instanceof ConfigMistakes) return tellMistakes(latest);
    this.#started = first.config;
    this.#log = createLog({ level: first.config.log.level }).with({ worker: number });
    surviveErrors(this.#log);
    try {
      const config = this.#share(latest.config);
      this.#whole = latest.config;
      this.#breakwater = await start({ config, log: this.#log, seat: { number, sockets } });
    } catch (error) {
      return tellStartTrouble(error, number);
    }
    this.#log.info("worker started", { pid: process.pid });
    if (this.#stopping) await this.#end();
    this.#say({ said: "serving" });
    return null;
  }

  #parse(text: string): LoadedConfig | ConfigMistakes {
    return parseConfig(text, this.#order.file);
  }

  #share(config: Config): Config {
    const { sockets, ticketSecret } = this.#order;
    return shareOf(afterReload(this.#started!, config), sockets.length, ticketSecret);
  }

  #obey(order: Order): void {
    if (order.do === "stop") this.#stop();
    if (order.do === "retire") void this.#retire();
    if (order.do === "reload") void this.#reload(order.text).then((answer) => this.#answer(order.id, answer));
    if (order.do === "report") void this.#report().then((answer) => this.#answer(order.id, answer));
  }

  async #reload(text: string): Promise<string | null> {
    const loaded = this.#parse(text);
    if (loaded instanceof ConfigMistakes) return loaded.lines().join("; ");
    try {
      await this.#breakwater!.reload(this.#share(loaded.config));
      this.#whole = loaded.config;
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  async #report(): Promise<WorkerReport> {
    return { metrics: await this.#metrics.read(), failing: this.#breakwater?.failures() ?? [] };
  }

  // A stop has a time limit, for which it hurries; this has none.
  async #retire(): Promise<void> {
    const { drainer } = this.#breakwater!;
    drainer.begin({ rate: this.#whole!.drain.rate });
    await drainer.finished();
    this.#stop();
  }

  #stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    // while it starts there is nothing to stop yet: `start` does it
    if (this.#breakwater !== null) void this.#end();
  }

  async #end(): Promise<never> {
    try {
      await this.#breakwater?.stop();
    } catch (error) {
      this.#log.error("stopping went wrong", { error: messageOf(error) });
      process.exit(EXIT.software);
    }
    if (!process.connected) this.#tidy();
    process.exit(EXIT.ok);
  }

  // The supervisor can no longer do it; the last worker finds the folder empty.
  #tidy(): void {
    try {
      rmdirSync(dirname(this.#order.sockets[0]!));
    } catch {}
  }

  #answer(id: number, answer: unknown): void {
    this.#say({ said: "answer", id, answer });
  }

  #say(word: Word): void {
    if (process.connected) process.send?.(word, undefined, undefined, () => {});
  }
}
