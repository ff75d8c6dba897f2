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
  /** Kilobytes of the process before its sessions came, when it had served a few others and they had left. */
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
/** Few beside those that are measured: what they leave behind is room for the others. */
const WARM_SHARE = 0.06;
const MOVED = { messages: 5, bytes: 400 };

export async function runMemory(core: Ejabberd, load: Load, options: MemoryOptions): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const name of ORDER) {
    const setUp = await startSetUp(name, core);
    try {
      const pids = setUp.pids.length > 0 ? setUp.pids : family(core.pid);
      const target = { port: setUp.port, tls: setUp.tls, domain: core.domain };
      rows.push({ setUp: name, ...(await measureMemory({ name, pids, target, sm: true }, load, options)) });
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
}

export async function measureMemory(lane: MemoryLane, load: Load, options: MemoryOptions): Promise<Memory> {
  const { name, pids, target, sm } = lane;
  const settle = () => new Promise<void>((resolve) => setTimeout(resolve, options.settleSeconds * 1000));
  const login = (group: string, count: number) => load.do("login", { group, target, firstUser: 0, count, sm });
  await login("warm", 2 * Math.ceil((options.sessions * WARM_SHARE) / 2));
  await load.do("move", { group: "warm", ...MOVED });
  await load.do("leave", { group: "warm" });
  await settle();
  const base = residentKilobytes(pids);
  await login("idle", options.sessions);
  await settle();
  const fresh = (residentKilobytes(pids) - base) / options.sessions;
  await load.do("move", { group: "idle", ...MOVED });
  await settle();
  const moved = (residentKilobytes(pids) - base) / options.sessions;
  options.say(`${name}: base ${base} KB, per session ${fresh.toFixed(1)} KB, moved ${moved.toFixed(1)} KB`);
  await load.do("leave", { group: "idle" });
  return { base, fresh, moved };
}
