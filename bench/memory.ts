/** (b) Resident memory per idle TLS session: logged in, bound, XEP-0198 on, presence sent. */
import type { Ejabberd } from "../test/support/cores/index.ts";
import type { Load } from "./load.ts";
import { family, residentKilobytes } from "./processes.ts";
import { type SetUpName, startSetUp } from "./set-ups.ts";
import type { LoadTarget } from "./wire.ts";

export interface MemoryOptions {
  readonly sessions: number;
  /** How long the processes may tidy up before they are looked at. */
  readonly settleSeconds: number;
  readonly say: (line: string) => void;
}

export interface Memory {
  /** Kilobytes of the process before its sessions came. */
  readonly base: number;
  /** Kilobytes per session: fresh, and after each has sent and got about 2 KB. */
  readonly fresh: number;
  readonly moved: number;
}

export interface MemoryRow extends Memory {
  readonly setUp: SetUpName;
}

// ejabberd first: what its memory was used for before would hide what the sessions take.
const ORDER: readonly SetUpName[] = ["ejabberd-tls", "haproxy", "edge"];
/** Sessions that come before those that are measured. Each needs an account, too. */
export const WARM_SESSIONS = 300;
const MOVED = { messages: 5, bytes: 400 };

export async function runMemory(core: Ejabberd, load: Load, options: MemoryOptions): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const name of ORDER) {
    const setUp = await startSetUp(name, core);
    try {
      const pids = setUp.pids.length > 0 ? setUp.pids : family(core.pid);
      const target = { port: setUp.port, tls: setUp.tls, domain: core.domain };
      const lane = { name, pids, target, sm: true, warm: "leaves" } as const;
      rows.push({ setUp: name, ...(await measureMemory(lane, load, options)) });
    } finally {
      await setUp.stop();
    }
  }
  return rows;
}

export interface MemoryLane {
  readonly name: string;
  /** The processes whose memory is measured. */
  readonly pids: readonly number[];
  readonly target: LoadTarget;
  readonly sm: boolean;
  /**
   * What becomes of the sessions that warm the process up. Where few are measured they stay: the room that they left
   * behind would hide a good part of what the others take.
   */
  readonly warm: "leaves" | "stays";
}

export async function measureMemory(lane: MemoryLane, load: Load, options: MemoryOptions): Promise<Memory> {
  const { name, pids, target, sm, warm } = lane;
  const settle = () => new Promise<void>((resolve) => setTimeout(resolve, options.settleSeconds * 1000));
  const login = (group: string, firstUser: number, count: number) =>
    load.do("login", { group, target, firstUser, count, sm });
  await login("warm", 0, WARM_SESSIONS);
  await load.do("move", { group: "warm", ...MOVED });
  if (warm === "leaves") await load.do("leave", { group: "warm" });
  await settle();
  const base = residentKilobytes(pids);
  await login("idle", WARM_SESSIONS, options.sessions);
  await settle();
  const fresh = (residentKilobytes(pids) - base) / options.sessions;
  await load.do("move", { group: "idle", ...MOVED });
  await settle();
  const moved = (residentKilobytes(pids) - base) / options.sessions;
  options.say(`${name}: base ${base} KB, per session ${fresh.toFixed(1)} KB, moved ${moved.toFixed(1)} KB`);
  await load.do("leave", { group: "idle" });
  if (warm === "stays") await load.do("leave", { group: "warm" });
  return { base, fresh, moved };
}
