import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";

/**
 * A directory for one purpose, and the process group that works in it. Whatever happens to this process (an exception,
 * SIGKILL), both go with it: a small watcher outside sees our end of a pipe close.
 */
export class Scratch {
  readonly dir: string;
  #watcher: ChildProcess;
  #input: Writable;
  #group: number | null = null;
  #onExit = () => this.remove();

  constructor(name: string) {
    this.dir = mkdtempSync(join(tmpdir(), `breakwater-${name}-`));
    chmodSync(this.dir, 0o755);
    this.#watcher = spawn("sh", ["-c", WATCH, "sh", this.dir], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    this.#input = this.#watcher.stdin!;
    this.#input.on("error", () => {}); // somebody killed the watcher: the exit handler is left
    this.#watcher.unref();
    (this.#input as unknown as { unref(): void }).unref();
    process.once("exit", this.#onExit);
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  /** From now on process group `id` ends with this process. Null: no group any more. */
  owns(id: number | null): void {
    this.#group = id;
    this.#input.write(`${id ?? ""}\n`);
  }

  remove(): void {
    process.off("exit", this.#onExit);
    if (this.#group !== null) {
      signal(-this.#group, "SIGKILL");
      this.#group = null;
    }
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
    this.#input.end();
  }
}

/** A negative id means a process group. Says nothing about a process that is gone already. */
export function signal(id: number, name: NodeJS.Signals): void {
  if (id === 0 || !Number.isInteger(id)) return; // 0 is our own group
  try {
    process.kill(id, name);
  } catch {}
}

// Deaf to the terminal's Ctrl-C: it must outlive us to clean up. A dying server may write once more: hence two rm.
const WATCH = `trap '' INT TERM HUP
group=
while read -r id; do group=$id; done
if [ -d "$1" ]; then
  if [ -n "$group" ]; then kill -KILL "-$group"; fi
  rm -rf "$1"; sleep 0.2; rm -rf "$1"
fi`;
