/** Less CPU for some processes, by a control group of the kernel (version 1 or 2; as root). */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { MachineError } from "../scripts/machine.mjs";

/** Short, so that what they get is spread evenly. */
const PERIOD_US = 20_000;
const GROUPS = "/sys/fs/cgroup";

/** The processes get `percent` of one CPU in all, until the function that this returns is called. */
export function starve(name: string, pids: readonly number[], percent: number): () => void {
  const first = existsSync(`${GROUPS}/cpu/cpu.cfs_quota_us`);
  const root = first ? `${GROUPS}/cpu` : GROUPS;
  const group = `${root}/breakwater-bench-${process.pid}-${name}`;
  const quota = Math.round((PERIOD_US * percent) / 100);
  try {
    mkdirSync(group);
    if (first) {
      writeFileSync(`${group}/cpu.cfs_period_us`, String(PERIOD_US));
      writeFileSync(`${group}/cpu.cfs_quota_us`, String(quota));
    } else {
      writeFileSync(`${group}/cpu.max`, `${quota} ${PERIOD_US}`);
    }
    move(pids, group);
  } catch (error) {
    throw new MachineError(`--starved needs a control group for CPU time (${group}): ${(error as Error).message}`);
  }
  return () => {
    const left = readFileSync(`${group}/cgroup.procs`, "latin1").trim();
    move(left === "" ? [] : left.split("\n").map(Number), root);
    rmdirSync(group);
  };
}

function move(pids: readonly number[], group: string): void {
  for (const pid of pids) writeFileSync(`${group}/cgroup.procs`, String(pid));
}
