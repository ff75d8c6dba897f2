import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { TestContext } from "node:test";

export const MAIN = resolve(import.meta.dirname, "../../src/main.ts");

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the real command line to its end. */
export async function breakwater(...args: string[]): Promise<Ended> {
  return new Running(spawn(process.execPath, [MAIN, ...args])).ended;
}

/** Starts the real command line; it is killed with the test at the latest. */
export function running(t: TestContext, ...args: string[]): Running {
  const child = spawn(process.execPath, [MAIN, ...args]);
  t.after(() => child.kill("SIGKILL"));
  return new Running(child);
}

/** A folder that goes with the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "breakwater-cli-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A configuration that starts on this machine without certificates; `more` is appended. */
export async function configFile(t: TestContext, more = ""): Promise<{ file: string; opsPort: number; text: string }> {
  const file = join(folder(t), "breakwater.yaml");
  const opsPort = await freePort();
  const text = `domains:
  - name: example.org
listeners:
  - { kind: plaintext, listen: "127.0.0.1:0" }
cores:
  - { name: main, connect: "unix:none.sock" }
ops: { listen: "127.0.0.1:${opsPort}" }
${more}`;
  writeFileSync(file, text);
  return { file, opsPort, text };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

export class Running {
  readonly #child: ChildProcess;
  readonly ended: Promise<Ended>;
  #out = "";
  #err = "";
  #heard: (() => void)[] = [];

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#out += text;
      for (const tell of this.#heard.splice(0)) tell();
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#err += text;
    });
    this.ended = once(child, "close").then(([code]) => {
      for (const tell of this.#heard.splice(0)) tell();
      return { code: code as number | null, out: this.#out, err: this.#err };
    });
  }

  /** What it has written so far. */
  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The first log line of this event that came or comes. */
  async logged(event: string): Promise<Record<string, unknown>> {
    for (;;) {
      const line = this.#out.split("\n").find((text) => text.includes(`"event":"${event}"`));
      if (line) return JSON.parse(line);
      if (this.#child.exitCode !== null) throw new Error(`ended without "${event}": ${this.#out}${this.#err}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }
}
