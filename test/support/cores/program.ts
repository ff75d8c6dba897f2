import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chownSync, closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { Scratch, signal } from "../scratch.ts";

const execute = promisify(execFile);

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The system's account `name`, to run a server as. Undefined unless we are root: then everything runs as ourselves. */
export function systemAccount(name: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  if (!line) throw new Error(`${name} is not installed on this machine: npm run verify brings it`);
  const [, , uid, gid] = line.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

/** One server program with a directory of its own; both go with this process, however it ends. */
export class Program {
  readonly account: Account | undefined;
  #scratch: Scratch;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(name: string, account: Account | undefined) {
    this.account = account;
    this.#scratch = new Scratch(name);
    this.own(this.dir);
  }

  get dir(): string {
    return this.#scratch.dir;
  }

  /** The leader of the program's process group. */
  get leader(): number {
    if (!this.#child?.pid) throw new Error(`${this.dir}: not running`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  path(...names: string[]): string {
    return this.#scratch.path(...names);
  }

  /** Gives a file to the program's account. */
  own(path: string): void {
    if (this.account) chownSync(path, this.account.uid, this.account.gid);
  }

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv): void {
    const output = openSync(this.path("output.log"), "a");
    const child = spawn(command, args, {
      cwd: this.dir,
      env,
      detached: true, // a group of its own: one signal reaches all of it
      stdio: ["ignore", output, output],
      ...(this.account ?? {}),
    });
    closeSync(output);
    child.unref();
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    if (child.pid) this.#scratch.owns(child.pid);
  }

  /** Runs a short helper in the program's surroundings and answers what it printed. */
  async run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
    const options = { cwd: this.dir, env, maxBuffer: 1 << 26, ...(this.account ?? {}) };
    try {
      return (await execute(command, [...args], options)).stdout;
    } catch (error) {
      const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
      throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`.trim(), { cause: error });
    }
  }

  /** Asks process `pid` (the leader unless told) to end and waits for it; after `patienceMs` the group is killed. */
  async end(pid = this.#child?.pid, patienceMs = 10_000): Promise<void> {
    if (!this.running) return;
    signal(pid!, "SIGCONT");
    signal(pid!, "SIGTERM");
    await this.#ended(patienceMs);
  }

  /** Ends the whole group at once, as a crash does. */
  async kill(): Promise<void> {
    if (!this.running) return;
    signal(-this.leader, "SIGKILL");
    await this.#ended(10_000);
  }

  async #ended(patienceMs: number): Promise<void> {
    const group = -this.leader;
    const timer = setTimeout(() => signal(group, "SIGKILL"), patienceMs);
    this.#child!.ref();
    await this.#exited;
    clearTimeout(timer);
    signal(group, "SIGKILL"); // its helpers
    this.#scratch.owns(null);
  }

  /** What the program has written to its logs and to its output. */
  async logs(...names: string[]): Promise<string> {
    const texts = await Promise.all(
      [...names, "output.log"].map(async (name) =>
        existsSync(this.path(name)) ? await readFile(this.path(name), "utf8") : "",
      ),
    );
    return texts.join("");
  }

  remove(): void {
    this.#scratch.remove();
  }
}
