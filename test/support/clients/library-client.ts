import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Mailbox, PATIENCE_MS } from "./mailbox.ts";

export interface LibraryOptions {
  host?: string;
  port: number;
  domain: string;
  user: string;
  password: string;
  resource?: string;
  /** Default "starttls". */
  tls?: "starttls" | "direct";
  /** PEM file of the authority to trust. */
  ca: string;
  /** Default: the library's own choice. libstrophe cannot be told. */
  mechanism?: string;
}

export interface ChatMessage {
  readonly from: string;
  readonly body: string;
  readonly id: string | null;
  readonly type: string | null;
}

/** What the tests want from every client library, so that one scene can be played by each of them. */
export interface LibraryClient {
  readonly library: string;
  /** Whether it sends again, after a resume, what the server had not confirmed (XEP-0198 §5 wants it). */
  readonly resendsUnacked: boolean;
  /** Full address. */
  readonly jid: string;
  /** Messages with a body that have arrived and were not taken yet. */
  readonly messages: Mailbox<ChatMessage>;
  /** Initial presence. */
  presence(): Promise<void>;
  message(to: string, body: string): Promise<void>;
  /** The bodies of the next `count` messages. */
  bodies(count: number): Promise<string[]>;
  /** An iq ping to the server and its answer: everything that the server had to say before has arrived. */
  fence(): Promise<void>;
  /** The transport dies without a word; the library may keep its XEP-0198 state. */
  cut(): Promise<void>;
  /** Connects and logs in again, with the library's own resumption if it has what it takes. */
  reconnect(to?: { host?: string; port: number }): Promise<"resumed" | "new">;
  /** Ends the session politely. */
  stop(): Promise<void>;
}

/** An event line of a client program: `event` names it. An answer to a command has its `id` instead. */
export type Report = { event?: string; id?: number; error?: string } & Record<string, unknown>;

/** A client library in a process of its own: commands go in as lines, reports come out as lines of JSON. */
export abstract class ProcessClient {
  readonly messages = new Mailbox<ChatMessage>((message) => `${message.from}: ${message.body}`);
  /** Everything else that it has reported. */
  readonly events = new Mailbox<Report>((report) => JSON.stringify(report));
  jid = "";
  #child: ChildProcess;
  #name: string;
  #nextId = 1;
  #answers = new Map<number, { resolve: (report: Report) => void; reject: (error: Error) => void }>();
  #errors = "";
  #exited: Promise<void>;

  constructor(name: string, command: string, args: readonly string[]) {
    this.#name = name;
    // It ends by itself when our end of its standard input closes, and a test that forgot it ends all the same.
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    for (const held of [this.#child, ...this.#child.stdio]) (held as unknown as { unref(): void } | null)?.unref();
    this.#child.stdin!.on("error", () => {});
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-4000);
    });
    this.#exited = new Promise((resolve) => {
      const gone = (why: string) => {
        this.messages.close(why);
        this.events.close(why);
        for (const { reject } of this.#answers.values()) reject(new Error(why));
        this.#answers.clear();
        resolve();
      };
      this.#child.once("error", (error) => gone(`${name} does not start: ${error.message}`));
      this.#child.once("close", (code) => gone(`${name} ended (${code}): ${this.#errors.trim()}`));
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#report(JSON.parse(line) as Report));
  }

  abstract readonly options: LibraryOptions;
  protected abstract encode(id: number, command: string, args: Record<string, unknown>): string;

  /** Runs a command and answers its report. */
  protected call(command: string, args: Record<string, unknown> = {}): Promise<Report> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#answers.delete(id);
        reject(new Error(`${this.#name}: no answer to ${command}; events: ${this.events.describe()}\n${this.#errors}`));
      }, PATIENCE_MS);
      const settle = <T>(action: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          action(value);
        };
      };
      this.#answers.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#child.stdin!.write(`${this.encode(id, command, args)}\n`);
    });
  }

  async bodies(count: number): Promise<string[]> {
    return (await this.messages.next(count, "a message")).map((message) => message.body);
  }

  async reconnect(to: { host?: string; port: number } = this.options): Promise<"resumed" | "new"> {
    const answer = await this.call("reconnect", { host: to.host ?? "127.0.0.1", port: to.port });
    this.jid = answer["jid"] as string;
    return answer["how"] as "resumed" | "new";
  }

  async stop(): Promise<void> {
    await this.call("stop").catch(() => {});
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5000); // and it keeps us here
    await this.#exited;
    clearTimeout(timer);
  }

  #report(report: Report): void {
    if (report.event === "message") {
      this.messages.push(report as unknown as ChatMessage);
      return;
    }
    if (report.event !== undefined) {
      this.events.push(report);
      return;
    }
    const answer = this.#answers.get(report.id ?? -1);
    this.#answers.delete(report.id ?? -1);
    if (report.error === undefined) answer?.resolve(report);
    else answer?.reject(new Error(`${this.#name}: ${report.error}`));
  }
}
