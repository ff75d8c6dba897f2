import { serialize } from "node:v8";
import { ESTATE_FORMAT, type Heir, type OpenPort, type SessionEstate, type SocketHandle } from "../../breakwater.ts";
import type { HeirChannel } from "./channel.ts";
import type { Fixed } from "./fixed.ts";
import type { NewWord, OldWord, OldWorker, Report } from "./messages.ts";

/** What a new process may take to check its configuration and to look at its cores. */
const START_MS = 60_000;
/** And for any other answer: it does not have to wait for anybody. */
const ANSWER_MS = 30_000;
/** One message: what waits to be sent is bounded by it. */
const PART_BYTES = 128 * 1024;

/** The new process, as the old one sees it. What it is asked rejects, once it is gone, with an error that says why. */
export class Successor implements Heir {
  /** Resolves when it has ended, with words for the operator. */
  readonly gone: Promise<string>;
  version = "";
  /** Of a supervisor: the workers whose places the heir's workers take. */
  workers: readonly OldWorker[] | null = null;
  /** What its configuration must have, too. */
  fixed: Fixed | null = null;
  /** What one of those says to its predecessor, and that it has ended. */
  onWorkerWord: (number: number, word: NewWord) => void = () => {};
  onWorkerGone: (number: number) => void = () => {};
  readonly #channel: HeirChannel;
  readonly #answers = new Map<string, (word: NewWord) => void>();
  readonly #claim: (id: string) => Promise<boolean>;
  #why: string | null = null;

  /** `claim`: a client of it wants the session with this resume id. */
  constructor(channel: HeirChannel, claim: (id: string) => Promise<boolean>) {
    this.#channel = channel;
    this.#claim = claim;
    this.gone = channel.gone.then((how) => this.#why ?? how);
    channel.onWord = (word) => this.#hear(word);
  }

  get pid(): number | undefined {
    return this.#channel.pid;
  }

  /** Lets it start. Resolves when only the ports are missing. */
  async ready(ports: readonly OpenPort[]): Promise<void> {
    const hello = (await this.#answer("hello", START_MS)) as Extract<NewWord, { said: "hello" }>;
    this.version = hello.version;
    if (hello.format !== ESTATE_FORMAT) {
      this.#why = `version ${hello.version} does not know the sessions of this one: drain and restart instead`;
      this.kill();
    }
    const places = ports.map(({ place }) => place);
    const ready = this.#answer("ready", START_MS);
    const { workers, fixed } = this;
    const facts = { ...(workers !== null && { workers }), ...(fixed !== null && { fixed }) };
    await this.#send({ do: "meet", pid: process.pid, places, ...facts });
    await ready;
    for (const [number, { socket }] of ports.entries()) await this.#send({ do: "port", number }, socket);
  }

  async hold(number: number, estate: SessionEstate, handle: SocketHandle): Promise<boolean> {
    const all = serialize(estate);
    let at = 0;
    for (; all.length - at > PART_BYTES; at += PART_BYTES) {
      await this.#send({ do: "part", number, bytes: all.subarray(at, at + PART_BYTES) });
    }
    const held = this.#answer(`held ${number}`, ANSWER_MS);
    await this.#send({ do: "hold", number, bytes: all.subarray(at) }, handle);
    return ((await held) as Extract<NewWord, { said: "held" }>).ok;
  }

  async remember(feature: string, memory: unknown): Promise<void> {
    await this.#send({ do: "remember", feature, bytes: serialize(memory) });
  }

  begin(numbers: readonly number[] | "all"): void {
    void this.#send({ do: "begin", numbers }).catch(ignore);
  }

  /** Gives it the ports. Resolves when it serves. */
  async open(): Promise<void> {
    const serving = this.#answer("serving", ANSWER_MS);
    await this.#send({ do: "open" });
    await serving;
  }

  /** The last word. Resolves when it has all that was this process's. */
  async farewell(report: Report): Promise<void> {
    const settled = this.#answer("settled", ANSWER_MS);
    await this.#send({ do: "farewell", report });
    await settled;
    this.#channel.release();
  }

  /** What the worker with this number says to its own heir. Resolves when it is on its way. */
  forWorker(number: number, word: OldWord, socket: SocketHandle | null): Promise<void> {
    return this.#send({ do: "worker", number, word }, socket);
  }

  workerGone(number: number): void {
    void this.#send({ do: "worker-gone", number }).catch(ignore);
  }

  workerUseless(number: number): void {
    void this.#send({ do: "worker-useless", number }).catch(ignore);
  }

  /** Why it is about to end: the first reason is what the operator hears. */
  blame(why: string): void {
    this.#why ??= why;
  }

  /** That reason, where one is known: what goes wrong between others because of it may be heard before. */
  get blamed(): string | null {
    return this.#why;
  }

  kill(): void {
    this.#channel.kill();
  }

  #hear(word: NewWord): void {
    if (word.said === "refuses") this.blame(word.why);
    else if (word.said === "claims") void this.#claimed(word.ask, word.id);
    else if (word.said === "worker") this.onWorkerWord(word.number, word.word);
    else if (word.said === "worker-gone") this.onWorkerGone(word.number);
    else {
      const key = word.said === "held" ? `held ${word.number}` : word.said;
      this.#answers.get(key)?.(word);
      this.#answers.delete(key);
    }
  }

  async #claimed(ask: number, id: string): Promise<void> {
    const here = await this.#claim(id).catch(() => false);
    await this.#send({ do: "claimed", ask, here }).catch(ignore);
  }

  /** One that does not answer is no process to leave clients to. */
  #answer(key: string, patienceMs: number): Promise<NewWord> {
    const answer = this.#await(key, patienceMs);
    answer.catch(ignore); // whoever asked may hear of the end first
    return answer;
  }

  async #await(key: string, patienceMs: number): Promise<NewWord> {
    const answered = new Promise<NewWord>((resolve) => this.#answers.set(key, resolve));
    const patience = setTimeout(() => {
      this.#why ??= `the new process gave no answer for ${patienceMs / 1000} s (${key})`;
      this.kill();
    }, patienceMs);
    try {
      return await Promise.race([answered, this.#end()]);
    } finally {
      clearTimeout(patience);
      this.#answers.delete(key);
    }
  }

  #send(word: OldWord, socket: SocketHandle | null = null): Promise<void> {
    const sent = this.#channel.send(word, socket).catch(() => {
      this.kill(); // if it has not ended by itself
      return this.#end();
    });
    return Promise.race([sent, this.#end()]);
  }

  async #end(): Promise<never> {
    throw new Error(await this.gone);
  }
}

function ignore(): void {}
