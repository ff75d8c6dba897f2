import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SpawnedEdge } from "./edge.ts";
import { until } from "./wire.ts";

/** A busy machine takes its time to start a process. */
const START_MS = 60_000;
export const LAUNCHER = join(import.meta.dirname, "../../bin/breakwater");

/** A process that was started by an edge to take its place. None outlives the tests. */
export interface HeirProcess {
  readonly pid: number;
  readonly isAlive: boolean;
  /** SIGTERM. Resolves when it has ended. */
  stop(): Promise<void>;
  kill(): void;
}

const heirs = new Set<number>();
process.once("exit", () => {
  for (const pid of heirs) kill(pid, "SIGKILL");
});

/** The process that took, or is about to take, the place of process `pid`. `n`: of its nth upgrade. */
export async function heirOf(edge: SpawnedEdge, pid = edge.pid): Promise<HeirProcess> {
  const found = await event(edge, "breakwater started", (line) => line["in_place_of"] === pid);
  return heir(found["pid"] as number);
}

export function heir(pid: number): HeirProcess {
  heirs.add(pid);
  return {
    pid,
    get isAlive() {
      return kill(pid, 0);
    },
    kill: () => void kill(pid, "SIGKILL"),
    stop: async () => {
      kill(pid, "SIGTERM");
      await until(() => !kill(pid, 0), `process ${pid} ends`);
      heirs.delete(pid);
    },
  };
}

/** The first line of the edge's log that has this event and that `wants` likes, now or later. */
export async function event(
  edge: SpawnedEdge,
  name: string,
  wants: (line: Record<string, unknown>) => boolean = () => true,
): Promise<Record<string, unknown>> {
  const giveUpAt = performance.now() + START_MS;
  for (;;) {
    const found = linesOf(edge).find((line) => line["event"] === name && wants(line));
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) throw new Error(`no "${name}" in the log: ${edge.log().slice(-3000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What was logged as JSON. */
export function linesOf(edge: SpawnedEdge): Record<string, unknown>[] {
  return edge
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** `breakwater upgrade` to its end. */
export async function upgradeCommand(
  edge: SpawnedEdge,
  ...args: string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(LAUNCHER, ["upgrade", "--config", edge.configFile, ...args]);
  const texts = [child.stdout, child.stderr].map(async (stream) =>
    (await stream.setEncoding("utf8").toArray()).join(""),
  );
  const [code] = (await once(child, "close")) as [number | null];
  const [out = "", err = ""] = await Promise.all(texts);
  return { code, out, err };
}

/** An executable beside the edge's configuration. */
export function script(edge: SpawnedEdge, name: string, text: string): string {
  const path = join(edge.dir, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

/** A new version that says what `lines` of JavaScript make of the words it hears (as `word`). */
export function otherVersion(edge: SpawnedEdge, name: string, format: number, lines: string): string {
  const file = script(
    edge,
    `${name}.mjs`,
    `process.send({ said: "hello", format: ${format}, version: "9.9.9" });
     process.on("message", (word) => { ${lines} });`,
  );
  return script(edge, name, `#!/bin/sh\nexec "${process.execPath}" "${file}"\n`);
}

function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
