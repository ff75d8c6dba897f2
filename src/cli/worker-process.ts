import { type ChildProcess, fork } from "node:child_process";
import type { Order, Questions, StartOrder, Word } from "./worker-messages.ts";

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A worker, as its supervisor sees it. */
export class WorkerProcess {
  readonly number: number;
  readonly pid: number | undefined;
  /** Resolves with true when it serves, with false when it has ended before. */
  readonly serves: Promise<boolean>;
  readonly ended: Promise<Ending>;
  readonly startedAt: number;
  /** The configuration that it has, as the text of the file. */
  text: string;
  #serving = false;
  readonly #child: ChildProcess;
  readonly #open = new Map<number, (answer: unknown) => void>();
  #lastId = 0;

  constructor(order: StartOrder, now: number) {
    this.number = order.number;
    this.text = order.current;
    this.startedAt = now;
    // The same entry: in an installed package it is dist/main.js.
    this.#child = fork(process.argv[1]!, ["worker"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.pid = this.#child.pid;
    this.#child.on("error", () => {}); // what cannot be sent has no reader; what cannot be started has ended
    this.ended = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => resolve({ code, signal }));
      this.#child.once("error", () => this.pid === undefined && resolve({ code: null, signal: null }));
    });
    this.serves = new Promise((resolve) => {
      this.#child.on("message", (word: Word) => {
        if (word.said === "answer") return this.#answered(word.id, word.answer);
        this.#serving = true;
        resolve(true);
      });
      this.ended.then(() => resolve(false));
    });
    void this.ended.then(() => {
      this.#serving = false;
      for (const id of [...this.#open.keys()]) this.#answered(id, undefined);
    });
    this.#send(order);
  }

  /** It accepts clients. */
  get serving(): boolean {
    return this.#serving;
  }

  /** Undefined: no answer came in time, or it has ended. */
  ask<Ask extends keyof Questions>(
    what: Ask,
    text: Questions[Ask]["text"],
    patienceMs: number,
  ): Promise<Questions[Ask]["answer"] | undefined> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const patience = setTimeout(() => this.#answered(id, undefined), patienceMs);
      this.#open.set(id, (answer) => {
        clearTimeout(patience);
        resolve(answer as Questions[Ask]["answer"] | undefined);
      });
      this.#send({ do: what, id, text } as Order);
    });
  }

  /** In order; `ended` tells when. */
  stop(): void {
    this.#send({ do: "stop" });
  }

  /** It lets its clients go at their pace, however long that takes, and then stops. */
  retire(): void {
    this.#send({ do: "retire" });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #answered(id: number, answer: unknown): void {
    this.#open.get(id)?.(answer);
    this.#open.delete(id);
  }

  // To one that has ended nothing can be sent; `ended` tells that.
  #send(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => {});
  }
}
