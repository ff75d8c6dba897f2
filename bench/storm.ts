/** (h) All links are cut at once and all clients return at once: through the edge, and at ejabberd's own XEP-0198. */
import { performance } from "node:perf_hooks";
import type { Ejabberd } from "../test/support/cores/index.ts";
import { Crowd, counted } from "../test/support/crowd.ts";
import { cpuSeconds, family } from "./processes.ts";
import { type SetUp, startSetUp } from "./set-ups.ts";
import { starve } from "./starve.ts";

/** `another edge`: the one they were at is killed with -9, and another one takes all sessions over from the core. */
export type StormWay = "edge" | "another edge" | "ejabberd-tls";

export const STORM_WAYS: readonly StormWay[] = ["edge", "another edge", "ejabberd-tls"];

export interface StormOptions {
  readonly sessions: number;
  readonly rounds: number;
  /** Percent of one CPU for whoever ends TLS, from the cut on; 0: as much as there is. */
  readonly starved: number;
  /** Seconds after which a client hangs up and tries again; 0: it waits. */
  readonly patience: number;
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
  /** Tries that failed, by the step and the reason. */
  readonly tries: Counts;
  /** Those who are not back: what they are at, and how their last try ended. */
  readonly away: Counts;
  /** What the edge counted meanwhile. */
  readonly edge: Counts;
}

type Counts = Readonly<Record<string, number>>;

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
/** What tells why clients are not let in. */
const TELLING = /handshake|refused|sasl_total|resumes_total/;

/** One way in, with its crowd. */
class Lane {
  readonly way: StormWay;
  readonly rounds: Storm[] = [];
  readonly #core: Ejabberd;
  readonly #options: StormOptions;
  readonly #say: (line: string) => void;
  #crowd: Crowd | null = null;
  #setUp: SetUp | null = null;

  constructor(way: StormWay, core: Ejabberd, options: StormOptions) {
    this.way = way;
    this.#options = options;
    this.#say = options.say;
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
    const { patience } = this.#options;
    this.#crowd = await Crowd.login({ clients, options, ...(patience > 0 ? { tryMs: patience * 1000 } : {}) });
  }

  async storm(clients: number): Promise<void> {
    const { returns, tries } = this.crowd;
    const before = returns.length;
    const triesBefore = tries.length;
    const old = this.#setUp!;
    const next = this.way === "another edge" ? await this.#start() : old;
    const core = family(this.#core.pid);
    const used = { front: cpuSeconds(next.pids), core: cpuSeconds(core) };
    const countedBefore = await next.metrics();
    const { starved } = this.#options;
    const feed = starved > 0 ? starve(String(next.port), next.pids.length > 0 ? next.pids : core, starved) : null;
    const cutAt = performance.now();
    this.#setUp = next;
    if (next === old) this.crowd.cutAll();
    else for (const pid of old.pids) process.kill(pid, "SIGKILL");
    while (returns.length + this.crowd.ended.length < before + clients) {
      if (performance.now() - cutAt > RETURN_MS) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    feed?.();
    const { away } = this.crowd;
    const back = returns.slice(before).map(({ backAt }) => (backAt - cutAt) / 1000);
    back.sort((a, b) => a - b);
    const at = (share: number): number => back[Math.ceil(share * clients) - 1] ?? Number.POSITIVE_INFINITY;
    const each = (now: number, then: number): number => ((now - then) * 1000) / clients;
    const front = each(cpuSeconds(next.pids), used.front);
    const times = { half: at(0.5), most: at(0.99), all: at(1) };
    const costs = { front, core: each(cpuSeconds(core), used.core) };
    const edge = difference(await next.metrics(), countedBefore);
    this.rounds.push({ ...times, ...costs, tries: counted(tries.slice(triesBefore)), away, edge });
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

function difference(after: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): Counts {
  const telling = [...after].filter(([series]) => TELLING.test(series));
  const grown = telling.map(([series, value]) => [series, value - (before.get(series) ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, value]) => value > 0));
}

export async function runStorms(core: Ejabberd, options: StormOptions): Promise<StormRow[]> {
  const { sessions, rounds, say } = options;
  const rows: StormRow[] = [];
  const lanes = STORM_WAYS.map((way) => new Lane(way, core, options));
  try {
    for (const [i, lane] of lanes.entries()) await lane.begin(i * sessions, sessions);
    const begun = await sessionsBegun(core);
    for (let round = 0; round < rounds; round++) {
      for (const lane of lanes) {
        await lane.storm(sessions);
        const { most, front, core, tries, away, edge } = lane.rounds.at(-1)!;
        say(`${lane.way}: 99 % after ${most.toFixed(2)} s, CPU ${front.toFixed(2)} + ${core.toFixed(2)} ms each`);
        say(`  tries that failed: ${told(tries)}; the edge counted: ${told(edge)}`);
        // A bad round explains itself, asked or not.
        if (Object.keys(away).length > 0) console.log(`  ${lane.way}, round ${round + 1}, not back: ${told(away)}`);
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

function told(counts: Counts): string {
  const each = Object.entries(counts).map(([what, count]) => `${count} × ${what}`);
  return each.length === 0 ? "none" : each.slice(0, 12).join(", ");
}
