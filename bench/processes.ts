/** What the kernel knows about other processes: CPU time and memory. */
import { readdirSync, readFileSync } from "node:fs";

/** CPU seconds that the processes have used, all their threads together, to the nanosecond. */
export function cpuSeconds(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      try {
        const text = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1");
        nanoseconds += Number(text.slice(0, text.indexOf(" ")));
      } catch {
        // a thread that has just ended
      }
    }
  }
  return nanoseconds / 1e9;
}

/** Resident kilobytes of the processes. */
export function residentKilobytes(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    const rss = /^Rss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
    if (!rss) throw new Error(`no Rss in /proc/${pid}/smaps_rollup: this needs Linux 4.14 or newer`);
    sum += Number(rss[1]);
  }
  return sum;
}

/** A process and everything below it. */
export function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => family(Number(child))))];
}
