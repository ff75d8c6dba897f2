/** (b) Resident memory per idle TLS session: logged in, bound, XEP-0198 on, presence sent. */
import type { Ejabberd } from "../test/support/cores/index.ts";
import type { Load } from "./load.ts";
import { family, residentKilobytes } from "./processes.ts";
import { type SetUpName, startSetUp } from "./set-ups.ts";

export interface MemoryOptions {
  readonly sessions: number;
  /** How long the processes may tidy up before they are looked at. */
  readonly settleSeconds: number;
  readonly say: (line: string) => void;
}

export interface MemoryRow {
  readonly setUp: SetUpName;
  /** Kilobytes of the process before its sessions came, when it had served a few hundred and they had left. */
  readonly base: number;
  /** Kilobytes per session: fresh, and after each has sent and got about 2 KB. */
  readonly fresh: number;
  readonly moved: number;
}

// ejabberd first: what its memory was used for before would hide what the sessions take.
const ORDER: readonly SetUpName[] = ["ejabberd-tls", "haproxy", "edge"];
const WARM_SESSIONS = 300;
const MOVED = { messages: 5, bytes: 400 };

export async function runMemory(core: Ejabberd, load: Load, options: MemoryOptions): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  const settle = () => new Promise<void>((resolve) => setTimeout(resolve, options.settleSeconds * 1000));
  for (const name of ORDER) {
    const setUp = await startSetUp(name, core);
    try {
      const pids = setUp.pids.length > 0 ? setUp.pids : family(core.pid);
      const login = (group: string, count: number) => {
        const target = { port: setUp.port, tls: setUp.tls, domain: core.domain };
        return load.do("login", { group, target, firstUser: 0, count, sm: true });
      };
      await login("warm", WARM_SESSIONS);
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
      rows.push({ setUp: name, base, fresh, moved });
      await load.do("leave", { group: "idle" });
    } finally {
      await setUp.stop();
    }
  }
  return rows;
}
