/** (h) All links are cut at once and all clients return at once: through the edge, and at ejabberd's own XEP-0198. */
import { performance } from "node:perf_hooks";
import type { Ejabberd } from "../test/support/cores/index.ts";
import { Crowd } from "../test/support/crowd.ts";
import { cpuSeconds, family } from "./processes.ts";
import { type SetUp, startSetUp } from "./set-ups.ts";

/** `another edge`: the one they were at is killed with -9, and another one takes all sessions over from the core. */
export type StormWay = "edge" | "another edge" | "ejabberd-tls";

export const STORM_WAYS: readonly StormWay[] = ["edge", "another edge", "ejabberd-tls"];

export interface StormOptions {
  readonly sessions: number;
  readonly rounds: number;
  readonly say: (line: string) => void;
}

export interface Storm {
  /** Seconds from the cut until so many were back. */
  readonly half: number;
  readonly most: number;
  readonly all: number;
  /** CPU milliseconds for each return: of the edges, and of the core. */
  readonly front: number;
  readonly core: number;
}

export interface StormRow {
  readonly way: StormWay;
  readonly rounds: readonly Storm[];
  /** Sessions that could not be resumed. */
  readonly failed: number;
  /** Sessions that the core saw begin after the first logins. */
  readonly anew: number;
}

const SECRET = `stream_management: { resume_secret: "what both edges know and nobody else" }\n`;
const RETURN_MS = 120_000;

/** One way in, with its crowd. */
class Lane {
  readonly way: StormWay;
  readonly rounds: Storm[] = [];
  readonly #core: Ejabberd;
  readonly #say: (line: string) => void;
  #crowd: Crowd | null = null;
  #setUp: SetUp | null = null;

  constructor(way: StormWay, core: Ejabberd, say: (line: string) => void) {
    this.way = way;
    this.#say = say;
    this.#core = core;
  }

  get crowd(): Crowd {
    return this.#crowd!;
  }

  async begin(firstUser: number, clients: number): Promise<void> {
    this.#setUp = await this.#start();
    const account = { tls: "direct", ca: this.#core.ca!, domain: this.#core.domain, password: "pw" } as const;
    const options = (i: number) => ({
      ...{ ...account, port: this.#setUp!.port, user: `user${firstUser + i}` },
      ...{ resource: "phone", patienceMs: RETURN_MS },
    });
    this.#crowd = await Crowd.login({ clients, options });
  }

  async storm(clients: number): Promise<void> {
    const { returns } = this.crowd;
    const before = returns.length;
    const old = this.#setUp!;
    const next = this.way === "another edge" ? await this.#start() : old;
    const core = family(this.#core.pid);
    const used = { front: cpuSeconds(next.pids), core: cpuSeconds(core) };
    const cutAt = performance.now();
    this.#setUp = next;
    if (next === old) this.crowd.cutAll();
    else for (const pid of old.pids) process.kill(pid, "SIGKILL");
    while (returns.length + this.crowd.ended.length < before + clients) {
      if (performance.now() - cutAt > RETURN_MS) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const back = returns.slice(before).map(({ backAt }) => (backAt - cutAt) / 1000);
    back.sort((a, b) => a - b);
    const at = (share: number): number => back[Math.ceil(share * clients) - 1] ?? Number.POSITIVE_INFINITY;
    const each = (now: number, then: number): number => ((now - then) * 1000) / clients;
    const front = each(cpuSeconds(next.pids), used.front);
    const storm = { half: at(0.5), most: at(0.99), all: at(1), front, core: each(cpuSeconds(core), used.core) };
    this.rounds.push(storm);
    if (next !== old) await old.stop();
    const { ended } = this.crowd;
    if (ended.length > 0) this.#say(`${this.way}: ${ended.length} sessions are gone, such as ${ended[0]}`);
  }

  async end(): Promise<void> {
    this.#crowd?.leave();
    await this.#setUp?.stop();
  }

  #start(): Promise<SetUp> {
    return startSetUp(this.way === "ejabberd-tls" ? this.way : "edge", this.#core, "tls", SECRET);
  }
}

export async function runStorms(core: Ejabberd, { sessions, rounds, say }: StormOptions): Promise<StormRow[]> {
  const rows: StormRow[] = [];
  const lanes = STORM_WAYS.map((way) => new Lane(way, core, say));
  try {
    for (const [i, lane] of lanes.entries()) await lane.begin(i * sessions, sessions);
    const begun = await sessionsBegun(core);
    for (let round = 0; round < rounds; round++) {
      for (const lane of lanes) {
        await lane.storm(sessions);
        const { most, front, core } = lane.rounds.at(-1)!;
        say(`${lane.way}: 99 % after ${most.toFixed(2)} s, CPU ${front.toFixed(2)} + ${core.toFixed(2)} ms each`);
      }
    }
    const after = await sessionsBegun(core);
    for (const [i, { way, rounds, crowd }] of lanes.entries()) {
      const mine = (user: number): boolean => Math.floor(user / sessions) === i;
      const anew = after.filter(mine).length - begun.filter(mine).length;
      rows.push({ way, rounds, failed: crowd.ended.length, anew });
    }
  } finally {
    for (const lane of lanes) await lane.end();
  }
  return rows;
}

/** The numbers of the users whose sessions have begun, once for each. Its log may be half a second behind. */
async function sessionsBegun(core: Ejabberd): Promise<number[]> {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const log = await core.log();
  return [...log.matchAll(/Opened c2s session for user(\d+)@/g)].map(([, user]) => Number(user));
}
