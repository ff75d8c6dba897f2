import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ChurnResult, type Crowd, churn } from "../churn.ts";
import { CoreWitness } from "../core-witness.ts";
import { type CoreKind, startCore } from "../cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../edge.ts";
import { Random } from "../random.ts";
import { CONTROL, FaultPlayer } from "./fault-player.ts";
import { lanes } from "./faults.ts";
import { RedisPair } from "./redis-pair.ts";
import { judgeEnds, wasAway } from "./session-ends.ts";

export interface SoakOptions {
  readonly kind: CoreKind;
  readonly seconds: number;
  readonly seed: number;
  /** Two of each pair. Default 400. */
  readonly clients?: number | undefined;
  /** Default 2. */
  readonly edges?: number | undefined;
  /** Edges attach sessions again whose connections to the core were cut, without their clients. ejabberd only. */
  readonly reattach?: boolean | undefined;
  /** A directory that gets the logs of the edges and of the core, and what happened to clients that miss messages. */
  readonly logs?: string | undefined;
  /** Takes each fault as it happens, and every ten seconds how far things are. */
  readonly say?: (line: string) => void;
}

export interface SoakResult {
  readonly chat: ChurnResult;
  /** How often an edge let go of a session, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly faults: number;
  /** Stanzas that went into the store, less what killed edges did not tell any more. */
  readonly stored: number;
  /** What must not be, a line each. Empty: all is well. */
  readonly violations: readonly string[];
}

/** What core and edge keep for one client: low, so that those who sleep are sent more. */
const CORE_KEEPS = 400;
const EDGE_KEEPS = 320;
const PROGRESS_EVERY_MS = 10_000;

const SLEEP = {
  everyMs: 20_000,
  minMs: 15_000,
  maxMs: 30_000,
  sendEveryMs: 40,
  maxWithoutEdge: 25,
  maxWithoutStore: 250,
  everyPairs: 4,
};
/** Mean times without a fault. */
const CALM_MS = { edge: 8000, redis: 4000, coreLinks: 25_000 };

/**
 * Clients chat in pairs, over links that break, while edges are killed, frozen and drained, their connections to the core
 * cut, and their store stopped, filled and failed over; some sleep for long and are sent more than the core keeps.
 * All chance but that of time comes from `seed`.
 */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const cleanup: (() => Promise<unknown>)[] = [];
  try {
    return await run(options, cleanup);
  } finally {
    for (const step of cleanup.reverse()) await step();
  }
}

async function run(options: SoakOptions, cleanup: (() => Promise<unknown>)[]): Promise<SoakResult> {
  const { kind, seconds, seed, clients = 400, reattach = false } = options;
  const began = Date.now();
  const say = (line: string) => options.say?.(`${clockOf(Date.now() - began)}  ${line}`);
  const redis = await RedisPair.start();
  cleanup.push(() => redis.stop());
  const core = await startCore(kind, { maxUnacked: CORE_KEEPS, tokens: reattach });
  cleanup.push(() => core.stop());
  const witness = await CoreWitness.listen({ port: core.port });
  cleanup.push(() => witness.close());
  const edges: SpawnedEdge[] = [];
  cleanup.push(() => Promise.all(edges.map((edge) => edge.stop())));
  for (let i = 0; i < (options.edges ?? 2); i++) {
    edges.push(
      await spawnEdge({
        core: { ...core, kind },
        connect: witness.connect,
        coreConfig: `    max_unacked: ${EDGE_KEEPS}${reattach ? `\n    reattach: { api: "http://127.0.0.1:${core.httpPort}/api" }` : ""}`,
        opsConfig: `control: ${CONTROL}`,
        config: `
stream_management: { resume_secret: "what all edges know and nobody else" }
drain: { rate: 100 }
store: ${redis.storeConfig}`,
      }),
    );
  }
  if (options.logs !== undefined) {
    const to = options.logs;
    mkdirSync(to, { recursive: true });
    cleanup.push(async () => {
      for (const [i, edge] of edges.entries()) copyFileSync(edge.logFile, join(to, `${kind}-edge-${i}.log`));
      writeFileSync(join(to, `${kind}.log`), await core.log());
    });
  }
  const stored = new Stored();
  let player: FaultPlayer | undefined;
  const chat = await churn({
    core,
    edges: [...edges],
    witness,
    clients,
    seconds,
    seed,
    transports: ["tcp", "tcp", "websocket", "bosh"],
    sendEveryMs: 2000,
    cutEveryMs: 10_000,
    trouble: { storeWasAwaySince: (then) => wasAway(player?.outages ?? [], then, Date.now()) },
    sleep: SLEEP,
    logInAnew: true,
    faults: async (crowd, until) => {
      player = new FaultPlayer({ edges, gates: crowd.gates, coreLinks: witness.links, redis, say });
      const progress = setInterval(() => {
        say(progressOf(crowd));
        void stored.look(edges);
      }, PROGRESS_EVERY_MS);
      await player.play(lanes(new Random(seed), edges.length, CALM_MS), until);
      clearInterval(progress);
    },
  });
  if (options.logs !== undefined) {
    for (const [i, journal] of chat.journals.entries()) {
      writeFileSync(join(options.logs, `${kind}-pair-${i}.log`), `${journal.join("\n")}\n`);
    }
  }
  const { reasons, violations } = await judgeEnds(
    edges.map((edge) => edge.logFile),
    chat.ended,
    player!.outages,
  );
  await stored.look(edges);
  return { chat, reasons, stored: stored.sum, faults: player!.count, violations: [...wrongIn(chat), ...violations] };
}

/** Sums up a counter of processes that come and go. */
class Stored {
  readonly #last = new Map<number, number>();

  async look(edges: readonly SpawnedEdge[]): Promise<void> {
    const looks = edges.map(async (edge) => {
      const count = await edge.metric("breakwater_sm_stored_stanzas_total").catch(() => 0);
      this.#last.set(edge.pid, Math.max(count, this.#last.get(edge.pid) ?? 0));
    });
    await Promise.all(looks);
  }

  get sum(): number {
    return [...this.#last.values()].reduce((sum, count) => sum + count, 0);
  }
}

function wrongIn({ lost, doubled, reordered, bounced, details }: ChurnResult): string[] {
  const counts = Object.entries({ lost, doubled, reordered, bounced }).filter(([, count]) => count > 0);
  return [...counts.map(([what, count]) => `${count} messages ${what}`), ...details];
}

function progressOf({ tally, progress }: Crowd): string {
  const { sent, received, asleep } = progress();
  const { cuts, resumes, sleeps, ended, reordered, bounced } = tally;
  const trouble = reordered + bounced > 0 ? `, ${reordered} reordered, ${bounced} bounced` : "";
  return `${sent} sent, ${received} received, ${cuts} cuts, ${resumes} resumes, ${asleep} asleep (${sleeps} so far), ${ended.length} sessions ended${trouble}`;
}

/** Minutes and seconds. */
function clockOf(ms: number): string {
  return `${String(Math.floor(ms / 60_000)).padStart(3)}:${((ms % 60_000) / 1000).toFixed(1).padStart(4, "0")}`;
}
