import { readFileSync } from "node:fs";

/** Files, libraries, listeners, the ops server. */
const OWN_DESCRIPTORS = 100;

/**
 * A sentence when this process may not open as many files as its connections need, else null.
 * `limits` is the text of /proc/self/limits; where there is none (not Linux), nothing is said.
 */
export function descriptorTrouble(maxConnections: number, limits = readLimits()): string | null {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  const needed = 2 * maxConnections + OWN_DESCRIPTORS;
  if (soft === undefined || Number(soft) >= needed) return null;
  return (
    `${maxConnections} connections need ${needed} file descriptors and this process may open ${soft}: ` +
    "raise the limit (ulimit -n, LimitNOFILE=) or lower limits.max_connections"
  );
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
