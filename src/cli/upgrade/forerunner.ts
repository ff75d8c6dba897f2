import { deserialize } from "node:v8";
import { BreakwaterError } from "../../base/errors.ts";
import {
  type Before,
  ESTATE_FORMAT,
  type Inheritance,
  type SessionEstate,
  type SocketHandle,
} from "../../breakwater.ts";
import { version } from "../version.ts";
import { type BeforeChannel, ParentBefore } from "./channel.ts";
import type { Fixed } from "./fixed.ts";
import { type NewWord, type OldWord, type OldWorker, type Report, SUCCEEDS } from "./messages.ts";

/** An old process that says nothing for so long is frozen: nobody knows what became of its sessions. */
const SILENCE_MS = 60_000;
/** Looks for the end of a process whose end has begun; one that nobody has waited for is never seen to end. */
const GONE_LOOKS = 20;
/** A client waits so long for its session. */
const CLAIM_MS = 10_000;

/** The process that has started this one to take its place, as this one sees it. */
export class Forerunner implements Before {
  readonly pid: number;
  places: readonly string[] = [];
  /** Of a supervisor: its workers. Null: it is one process. */
  workers: readonly OldWorker[] | null = null;
  /** What has to be the same here. Null: it does not say. */
  fixed: Fixed | null = null;
  /** What one of those says to its heir here, and that it has ended or gets no answer. The socket is the listener's. */
  onWorkerWord: (number: number, word: OldWord, socket: SocketHandle | null) => void = (_, __, socket) =>
    socket?.close();
  onWorkerGone: (number: number) => void = () => {};
  onWorkerUseless: (number: number) => void = () => {};
  /** How the handover went, once it is over; null when that process has ended before. */
  readonly over: Promise<Report | null>;
  readonly #channel: BeforeChannel;
  readonly #sockets: (SocketHandle | null)[] = [];
  readonly #parts = new Map<number, Buffer[]>();
  readonly #claims = new Map<number, (here: boolean) => void>();
  readonly #met: Promise<void>;
  readonly #opened: Promise<void>;
  #inheritance: Inheritance | null = null;
  #lastAsk = 0;
  #patience: NodeJS.Timeout | null = null;
  #meet = () => {};
  #open = () => {};
  #end: (report: Report | null) => void = () => {};

  /** Null: this process was started by no other. */
  static find(): Forerunner | null {
    const pid = Number(process.env[SUCCEEDS]);
    delete process.env[SUCCEEDS]; // for whatever this process starts
    return process.connected && pid > 0 ? new Forerunner(pid, new ParentBefore()) : null;
  }

  constructor(pid: number, channel: BeforeChannel) {
    this.pid = pid;
    this.#channel = channel;
    this.#met = new Promise((resolve) => {
      this.#meet = resolve;
    });
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
    channel.onWord = (word, socket) => this.#hear(word, socket);
    channel.onGone = () => void this.#gone();
  }

  /** Resolves when it is known where that process listens. */
  async meet(): Promise<void> {
    await this.#say({ said: "hello", format: ESTATE_FORMAT, version: version() });
    await this.#met;
  }

  /** This process cannot start. */
  async refuse(why: string): Promise<void> {
    await this.#say({ said: "refuses", why });
  }

  /** What the worker with this number says to its predecessor. */
  async forWorker(number: number, word: NewWord): Promise<void> {
    await this.#say({ said: "worker", number, word });
  }

  async workerGone(number: number): Promise<void> {
    await this.#say({ said: "worker-gone", number });
  }

  /** A supervisor has no sessions to begin with: null. */
  async handOver(to: Inheritance | null): Promise<readonly (SocketHandle | null)[]> {
    this.#inheritance = to;
    const silent = new Promise<never>((_, reject) => {
      const text = `process ${this.pid}, whose place this one takes, says nothing for ${SILENCE_MS / 1000} s`;
      this.#patience = setTimeout(() => reject(new BreakwaterError("BW_UPGRADE", text)), SILENCE_MS);
    });
    await this.#say({ said: "ready" });
    await Promise.race([this.#opened, silent]);
    clearTimeout(this.#patience!);
    return this.#sockets;
  }

  /** Clients come here from now on. */
  async serves(): Promise<void> {
    await this.#say({ said: "serving" });
  }

  async settled(): Promise<void> {
    await this.#say({ said: "settled" });
  }

  claim(id: string): Promise<boolean> {
    if (!this.#channel.isOpen) return Promise.resolve(false);
    const ask = ++this.#lastAsk;
    return new Promise((resolve) => {
      const patience = setTimeout(() => this.#claimed(ask, false), CLAIM_MS);
      this.#claims.set(ask, (here) => {
        clearTimeout(patience);
        resolve(here);
      });
      void this.#say({ said: "claims", ask, id });
    });
  }

  #claimed(ask: number, here: boolean): void {
    this.#claims.get(ask)?.(here);
    this.#claims.delete(ask);
  }

  #hear(word: OldWord, socket: SocketHandle | null): void {
    this.#patience?.refresh();
    switch (word.do) {
      case "meet":
        this.places = word.places;
        this.workers = word.workers ?? null;
        this.fixed = word.fixed ?? null;
        this.#meet();
        break;
      case "port":
        this.#sockets[word.number] = socket;
        break;
      case "part":
        this.#parts.set(word.number, [...(this.#parts.get(word.number) ?? []), word.bytes]);
        break;
      case "hold":
        this.#hold(word.number, word.bytes, socket);
        break;
      case "remember":
        this.#inheritance?.remember(word.feature, deserialize(word.bytes));
        break;
      case "begin":
        this.#inheritance?.begin(word.numbers);
        break;
      case "open":
        this.#open();
        break;
      case "claimed":
        this.#claimed(word.ask, word.here);
        break;
      case "farewell":
        this.#end(word.report);
        break;
      case "worker":
        this.onWorkerWord(word.number, word.word, socket);
        break;
      case "worker-gone":
        this.onWorkerGone(word.number);
        break;
      case "worker-useless":
        this.onWorkerUseless(word.number);
    }
  }

  #hold(number: number, last: Buffer, socket: SocketHandle | null): void {
    const bytes = Buffer.concat([...(this.#parts.get(number) ?? []), last]);
    this.#parts.delete(number);
    const ok = socket !== null && this.#inheritance !== null && this.#mayHold(number, bytes, socket);
    void this.#say({ said: "held", number, ok });
  }

  #mayHold(number: number, bytes: Buffer, socket: SocketHandle): boolean {
    return this.#inheritance!.hold(number, deserialize(bytes) as SessionEstate, socket);
  }

  // It has ended: what it was about to give is this process's now, as far as it came.
  async #gone(): Promise<void> {
    // Its sockets close one after the other, this channel's among the first.
    for (let i = 0; i < GONE_LOOKS && isAlive(this.pid); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    this.#inheritance?.begin("all");
    for (const ask of [...this.#claims.keys()]) this.#claimed(ask, false);
    this.#meet();
    this.#open();
    this.#end(null);
  }

  #say(word: NewWord): Promise<void> {
    return this.#channel.send(word);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
