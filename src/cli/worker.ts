import type { SendHandle } from "node:child_process";
import { rmdirSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Breakwater, type SocketHandle, start } from "../breakwater.ts";
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
import { Forerunner } from "./upgrade/forerunner.ts";
import type { Step } from "./upgrade/messages.ts";
import { RelayBefore, RelayHeir } from "./upgrade/relay.ts";
import { Succession } from "./upgrade/succession.ts";
import type { Order, Question, StartOrder, Word, WorkerReport } from "./worker-messages.ts";

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
  /** While another one takes its place. */
  #succession: Succession | null = null;
  // Why the last one is over: it may end between two steps.
  #heirsEnd = "its heir has ended";
  readonly #channel: RelayBefore;
  readonly #before: Forerunner | null;

  constructor(order: StartOrder) {
    this.#order = order;
    this.#channel = new RelayBefore((word) => this.#say({ said: "to-before", word }));
    this.#before = order.before === null ? null : new Forerunner(order.before.pid, this.#channel);
    process.on("message", (next: Order, socket?: unknown) => this.#obey(next, (socket ?? null) as SocketHandle | null));
    process.on("disconnect", () => this.#orphaned());
    // A terminal and systemd tell every process: once is enough, and the supervisor says the rest.
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => this.#stop());
    for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
  }

  /** Null: it serves. */
  async start(): Promise<number | null> {
    const { number, sockets, started, current } = this.#order;
    const first = this.#parse(started);
    if (first instanceof ConfigMistakes) return await this.#mistaken(first);
    const latest = current === started ? first : this.#parse(current);
    if (latest instanceof ConfigMistakes) return await this.#mistaken(latest);
    this.#started = first.config;
    this.#log = createLog({ level: first.config.log.level }).with({ worker: number });
    surviveErrors(this.#log);
    try {
      const config = this.#share(latest.config);
      this.#whole = latest.config;
      const before = this.#before;
      await before?.meet();
      const seat = { number, sockets, before: this.#order.before?.door ?? null };
      this.#breakwater = await start({ config, log: this.#log, seat, ...(before !== null && { before }) });
    } catch (error) {
      await this.#before?.refuse(messageOf(error));
      return tellStartTrouble(error, number);
    }
    await this.#before?.serves();
    const { before } = this.#order;
    this.#log.info("worker started", { pid: process.pid, ...(before !== null && { in_place_of: before.pid }) });
    if (this.#stopping) await this.#end();
    void this.#say({ said: "serving" });
    if (this.#before !== null) void this.#follow(this.#before);
    return null;
  }

  async #mistaken(mistakes: ConfigMistakes): Promise<number> {
    await this.#before?.refuse(`the configuration is wrong: ${mistakes.lines().join("; ")}`);
    return tellMistakes(mistakes);
  }

  async #follow(before: Forerunner): Promise<void> {
    const report = await before.over;
    this.#breakwater!.inherited(report?.how ?? null);
    await before.settled();
    const { how, ...facts } = report ?? {};
    if (report === null) this.#log.error("the worker before this one ended before it was through", { pid: before.pid });
    this.#log.info("took the place of the worker before", { pid: before.pid, ...facts, ...how });
  }

  #parse(text: string): LoadedConfig | ConfigMistakes {
    return parseConfig(text, this.#order.file);
  }

  #share(config: Config): Config {
    const { sockets, ticketSecret } = this.#order;
    return shareOf(afterReload(this.#started!, config), sockets.length, ticketSecret);
  }

  #obey(order: Order, socket: SocketHandle | null): void {
    switch (order.do) {
      case "start":
        break;
      case "stop":
        this.#stop();
        break;
      case "heir-said":
        this.#succession?.heirSaid(order.word);
        break;
      case "heir-gone":
        this.#heirsEnd = order.why;
        void this.#succession?.heirGone(order.why, order.serve);
        break;
      case "before-said":
        this.#channel.onWord(order.word, socket);
        break;
      case "before-gone":
        this.#channel.ended();
        break;
      default:
        void this.#answerTo(order).then((answer) => this.#say({ said: "answer", id: order.id, answer }));
    }
  }

  /** Undefined: nothing can be said, as it has not started. */
  async #answerTo(order: Question): Promise<unknown> {
    const drainer = this.#breakwater?.drainer;
    switch (order.do) {
      case "reload":
        return await this.#reload(order.text);
      case "report":
        return await this.#report();
      case "step":
        return await this.#step(order.text.step, order.text.alone);
      case "progress":
        return this.#succession?.progress;
      case "drain":
        return drainer?.begin(order.text);
      case "drain-state":
        return drainer?.state;
      case "abort-drain":
        return await drainer?.abort().then(() => null, messageOf);
    }
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

  async #step(step: Step, alone: boolean): Promise<string | null> {
    if (this.#stopping || this.#breakwater === null) return "it is stopping";
    if (step === "meet") this.#succession = this.#newSuccession(this.#breakwater);
    if (this.#succession === null) return this.#heirsEnd;
    // A stop has a time limit, for which it hurries; this has none.
    return await this.#succession.take(step, alone ? this.#whole!.drain.rate : null);
  }

  #newSuccession(breakwater: Breakwater): Succession {
    const channel = new RelayHeir(
      (word, socket) => this.#say({ said: "to-heir", word }, socket),
      () => void this.#say({ said: "heir-useless" }),
    );
    const succession = new Succession(breakwater, channel, this.#log);
    void succession.over.then((ends) => {
      if (this.#succession === succession) this.#succession = null;
      if (ends) this.#stop();
    });
    return succession;
  }

  // What a heir has and what it has not, only the supervisor could tell; what comes from the worker before this one is
  // another process's again. With the end of this one, each session is the other's or its core's.
  #orphaned(): void {
    this.#log.error("the supervisor is gone: this worker stops; start breakwater again");
    if (this.#succession?.isUndecided || (this.#before !== null && this.#breakwater === null))
      process.exit(EXIT.software);
    // An heir that it has only met has nothing, and nobody tells any more when it has ended.
    void this.#succession?.heirGone("the supervisor is gone", true);
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
      await this.#succession?.stop();
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

  /** Resolves when it is on its way, or there is no supervisor any more. */
  #say(word: Word, socket: SocketHandle | null = null): Promise<void> {
    return new Promise((resolve) => {
      if (!process.connected) return resolve();
      process.send?.(word, (socket ?? undefined) as SendHandle | undefined, undefined, () => resolve());
    });
  }
}
