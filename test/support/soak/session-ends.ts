import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { CloseReason } from "../../../src/base/close-reasons.ts";
import type { EndedSession } from "../phone.ts";
import type { Outage } from "./fault-player.ts";

/**
 * Why an edge may let go of a session while edges, their cores' connections and their store break, with every session
 * resumable elsewhere. Each other reason is a failure.
 */
const ALLOWED = new Map<CloseReason, string>([
  ["client-closed", "logged out, at the end"],
  ["moved", "drained: any edge resumes it"],
  ["core-gone", "the core's connection was cut, or another edge has it"],
  ["core-closed", "another edge has it, and the core said so"],
  ["queue-full", "nobody could keep more for it; only while the store was away"],
  ["link-lost", "not resumable yet: lost between login and <enabled/>"],
]);

/** After the store is whole again an edge may take this long to know it: its probes, and new connections. */
const HEALING_MS = 10_000;

interface Line {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly session?: string;
  readonly jid?: string;
  readonly reason?: CloseReason;
}

export interface Verdict {
  /** How often each reason was given. */
  readonly reasons: Readonly<Record<string, number>>;
  /** What must not be, a line each. */
  readonly violations: string[];
}

/**
 * Judges from the logs of all edges, killed ones included, why sessions ended: on the edges, and those that their clients
 * could not resume. `outages`: when the store was away.
 */
export async function judgeEnds(
  logFiles: readonly string[],
  ended: readonly EndedSession[],
  outages: readonly Outage[],
): Promise<Verdict> {
  const reasons: Record<string, number> = {};
  const violations: string[] = [];
  const addresses = new Map<string, string>();
  const overflowed = new Map<string, number>();
  for (const file of logFiles) {
    for await (const text of createInterface({ input: createReadStream(file) })) {
      const line = parse(text);
      if (line === null) {
        violations.push(`not a log line: ${text}`);
        continue;
      }
      const { session = "", event, jid, reason } = line;
      if (line.level === "error") violations.push(`an edge reports a mistake: ${text}`);
      if (jid !== undefined) addresses.set(session, jid);
      if (event !== "session closed" || reason === undefined) continue;
      reasons[reason] = (reasons[reason] ?? 0) + 1;
      if (!ALLOWED.has(reason)) violations.push(`a session ended with ${reason}: ${text}`);
      if (reason !== "queue-full") continue;
      const address = addresses.get(session) ?? "unknown";
      overflowed.set(address, (overflowed.get(address) ?? 0) + 1);
      if (!wasAway(outages, Date.parse(line.time))) violations.push(`a session's queue was full: ${text} (${address})`);
    }
  }
  for (const { jid, why, at } of ended) {
    const times = overflowed.get(jid) ?? 0;
    overflowed.set(jid, times - 1);
    if (times <= 0)
      violations.push(`${new Date(at).toISOString()} ${jid} could not resume, and no edge knows why: ${why}`);
  }
  return { reasons, violations };
}

/** Whether the store may not have answered at some time between the two (milliseconds since 1970). */
export function wasAway(outages: readonly Outage[], from: number, to = from): boolean {
  return outages.some((outage) => to >= outage.from && from <= outage.until + HEALING_MS);
}

function parse(text: string): Line | null {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return null;
  }
}
