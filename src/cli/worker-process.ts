import { type ChildProcess, fork, type SendHandle } from "node:child_process";
import type { SocketHandle } from "../breakwater.ts";
import type { NewWord, OldWord, Report, Step } from "./upgrade/messages.ts";
import type { Order, Questions, StartOrder, Word } from "./worker-messages.ts";

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A step waits for other processes, each with a time limit of its own: this one is for a worker that is frozen. */
const STEP_MS = 120_000;

/** A worker, as its supervisor sees it. */
export class WorkerProcess {
  readonly number: number;
  readonly pid: number | undefined;
  /** Resolves with true when it serves, with false when it has ended before. */
  readonly serves: Promise<boolean>;
  /** The same for one that takes another's place, when only the ports are missing. */
  readonly ready: Promise<boolean>;
  readonly ended: Promise<Ending>;
  readonly startedAt: number;
  /** The configuration that it has, as the text of the file. */
  text: string;
  /** What it says to its heir, and to the worker whose place it takes. Both own the sockets. */
  onToHeir: (word: OldWord, socket: SocketHandle | null) => void = (_, socket) => socket?.close();
  onToBefore: (word: NewWord) => void = () => {};
  /** It has no use for its heir. */
  onHeirUseless: () => void = () => {};
  /** How its sessions went to its heir, once they have. */
  report: Report | null = null;
  #serving = false;
  readonly #child: ChildProcess;
  readonly #open = new Map<number, (answer: unknown) => void>();
  #lastId = 0;
  #isReady = () => {};
  #serves = () => {};

  constructor(order: StartOrder, now: number) {
    this.number = order.number;
    this.text = order.current;
    this.startedAt = now;
    // The same entry: in an installed package it is dist/main.js.
    this.#child = fork(process.argv[1]!, ["worker"], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    this.pid = this.#child.pid;
    this.#child.on("error", () => {}); // what cannot be sent has no reader; what cannot be started has ended
    this.ended = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => resolve({ code, signal }));
      this.#child.once("error", () => this.pid === undefined && resolve({ code: null, signal: null }));
    });
    const isNot = this.ended.then(() => false);
    this.serves = Promise.race([new Promise<true>((resolve) => (this.#serves = () => resolve(true))), isNot]);
    this.ready = Promise.race([new Promise<true>((resolve) => (this.#isReady = () => resolve(true))), isNot]);
    this.#child.on("message", (word: Word, socket?: unknown) =>
      this.#hear(word, (socket ?? null) as SocketHandle | null),
    );
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

  /** Takes the next step towards its heir. Null: done; else why not. */
  async step(step: Step, alone: boolean): Promise<string | null> {
    const trouble = await this.ask("step", { step, alone }, STEP_MS);
    return trouble === undefined ? `worker ${this.number} has ended or does not answer (${step})` : trouble;
  }

  heirSaid(word: NewWord): void {
    this.#send({ do: "heir-said", word });
  }

  /** `serve`: the ports are its own again. */
  heirGone(why: string, serve: boolean): void {
    this.#send({ do: "heir-gone", why, serve });
  }

  /** Closes the socket, when it is on its way. */
  beforeSaid(word: OldWord, socket: SocketHandle | null): void {
    this.#send({ do: "before-said", word }, socket);
  }

  beforeGone(): void {
    this.#send({ do: "before-gone" });
  }

  /** In order; `ended` tells when. */
  stop(): void {
    this.#send({ do: "stop" });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #hear(word: Word, socket: SocketHandle | null): void {
    if (word.said === "answer") this.#answered(word.id, word.answer);
    else if (word.said === "serving") {
      this.#serving = true;
      this.#isReady();
      this.#serves();
    } else if (word.said === "heir-useless") this.onHeirUseless();
    else if (word.said === "to-heir") {
      if (word.word.do === "farewell") this.report = word.word.report;
      this.onToHeir(word.word, socket);
    } else {
      if (word.word.said === "ready") this.#isReady();
      this.onToBefore(word.word);
    }
  }

  #answered(id: number, answer: unknown): void {
    this.#open.get(id)?.(answer);
    this.#open.delete(id);
  }

  // To one that has ended nothing can be sent; `ended` tells that.
  #send(order: Order, socket: SocketHandle | null = null): void {
    if (!this.#child.connected) return socket?.close();
    this.#child.send(order, (socket ?? undefined) as SendHandle | undefined, {}, () => socket?.close());
  }
}
