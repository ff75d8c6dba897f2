/**
 * `npm run bench`: the edge beside HAProxy, nginx and the cores' own listeners, in one interleaved run. Prints ratios.
 * docs/performance.md says what the rows mean and holds the figures of a run.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { ensureDebianPackages, MachineError } from "../scripts/machine.mjs";
import { type Core, type CoreKind, type Ejabberd, startCore } from "../test/support/cores/index.ts";
import { runFramerBench } from "./framer.ts";
import { runHandshakes } from "./handshakes.ts";
import { Load } from "./load.ts";
import { runMemory, WARM_SESSIONS } from "./memory.ts";
import {
  framerFigures,
  handshakeFigures,
  latencyFigures,
  memoryFigures,
  printFigures,
  printHandshakes,
  printTraffic,
  trafficFigures,
} from "./report.ts";
import { runStorms, STORM_WAYS } from "./storm.ts";
import { printStorms } from "./storm-report.ts";
import { runTraffic } from "./traffic.ts";
import { runWebMemory, runWebTraffic, WEB_WAYS, type WebMemoryRow } from "./web.ts";
import { printWebTraffic, webMemoryFigures, webTrafficFigures } from "./web-report.ts";

const USAGE = `Usage: npm run bench -- [options]

  --quick          fewer rounds and sessions: a few minutes instead of 30
  --only LIST      of a (CPU), b (memory), c (latency, with a), d (framer), e (handshakes), f (CPU of WebSocket and
                   BOSH), g (their memory), h (all return at once); default all
  --rounds N       interleaved rounds of a, c, d, e, f and h
  --sessions N     idle sessions of b and g, clients of h
  --starved N      percent of one CPU for whoever ends TLS in h, from the cut on (as root)
  --patience N     seconds after which a client of h hangs up and tries again; default: it waits
  --json FILE      all results, round by round
  --unpinned       leave the placing of processes to the kernel
  --verbose        say each round's result as it comes`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "a,b,c,d,e,f,g,h" },
    rounds: { type: "string" },
    sessions: { type: "string" },
    starved: { type: "string", default: "0" },
    patience: { type: "string", default: "0" },
    json: { type: "string" },
    unpinned: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const quick = values.quick;
const only = new Set(values.only.split(","));
const rounds = Number(values.rounds ?? (quick ? 2 : 7));
const say = (line: string) => {
  if (values.verbose) console.log(line);
};

/** What is started from now on runs on this CPU. The core has one for itself, the rest shares the other. */
function pin(role: "core" | "rest"): void {
  const cpus = availableParallelismAtStart;
  if (values.unpinned || cpus < 2) return;
  execFileSync("taskset", ["-acp", role === "core" ? "0" : "1", String(process.pid)], { stdio: "ignore" });
}
const availableParallelismAtStart = availableParallelism();

/** Fresh cores and one load generator for the length of `measure`. */
async function withCores(
  kinds: readonly CoreKind[],
  accounts: number,
  measure: (cores: readonly Core[], load: Load) => Promise<void>,
): Promise<void> {
  const cores: Core[] = [];
  let load: Load | null = null;
  try {
    pin("core");
    for (const kind of kinds) cores.push(await startCore(kind, { tls: true }));
    pin("rest");
    load = new Load();
    const users = Array.from({ length: accounts }, (_, i) => ({ user: `user${i}`, password: "pw" }));
    for (const core of cores) await core.registerAll(users);
    await measure(cores, load);
  } finally {
    load?.stop();
    for (const core of cores) await core.stop();
  }
}

function withEjabberd(accounts: number, measure: (core: Ejabberd, load: Load) => Promise<void>): Promise<void> {
  return withCores(["ejabberd"], accounts, ([core], load) => measure(core as Ejabberd, load));
}

/** A session takes `each` descriptors of whoever has most of them. */
function needFiles(sessions: number, each: number): void {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const needed = sessions * each + 500;
  if (hard < needed)
    throw new MachineError(`${sessions} sessions need ${needed} open files: raise ulimit -Hn (${hard}).`);
}

const results: Record<string, unknown> = {};

async function traffic(): Promise<void> {
  const sessions = 100;
  await withEjabberd(sessions * 8, async (core, load) => {
    const options = {
      rounds,
      seconds: quick ? 1.2 : 3,
      warmSeconds: quick ? 0.4 : 0.7,
      sessions,
      rate: 2000,
      window: 2,
      say,
    };
    const rows = await runTraffic(core, load, options);
    results["traffic"] = rows;
    if (only.has("a")) printFigures("(a) CPU per delivered message, ratios", trafficFigures(rows, options.rate));
    if (only.has("c")) printFigures(`(c) Latency at ${options.rate} messages/s, differences`, latencyFigures(rows));
    printTraffic(rows.map((row) => ({ ...row, name: `${row.setUp}${row.sm ? " +0198" : ""}` })));
  });
}

async function memory(): Promise<void> {
  const sessions = Number(values.sessions ?? (quick ? 500 : 5000));
  needFiles(sessions, 2);
  await withEjabberd(sessions + WARM_SESSIONS, async (core, load) => {
    const rows = await runMemory(core, load, { sessions, settleSeconds: quick ? 2 : 8, say });
    results["memory"] = { sessions, rows };
    printFigures(`(b) Resident memory per idle TLS session, ${sessions} sessions`, memoryFigures(rows));
  });
}

function framer(): void {
  const rows = runFramerBench(quick ? 1 : 5, quick ? 2 : 4);
  results["framer"] = rows;
  printFigures("(d) Framing, per second of CPU", framerFigures(rows));
}

async function handshakes(): Promise<void> {
  await withEjabberd(0, async (core, load) => {
    const rows = await runHandshakes(core, load, { rounds: quick ? 2 : 5, seconds: quick ? 1 : 3, say });
    results["handshakes"] = rows;
    printFigures("(e) TLS 1.3 handshakes, ECDSA P-256", handshakeFigures(rows));
    printHandshakes(rows);
  });
}

async function webTraffic(): Promise<void> {
  const sessions = 100;
  await withCores(["ejabberd", "prosody"], sessions * 10, async (cores, load) => {
    const options = {
      rounds,
      seconds: quick ? 1.2 : 2,
      warmSeconds: quick ? 0.4 : 0.5,
      sessions,
      rate: 200, // what Prosody can do over BOSH
      window: 2,
      say,
    };
    const rows = await runWebTraffic(cores, load, options);
    results["web traffic"] = rows;
    printFigures(
      "(f) CPU per delivered message over WebSocket and BOSH, ratios",
      webTrafficFigures(rows, options.rate),
    );
    printWebTraffic(rows);
  });
}

async function webMemory(): Promise<void> {
  const sessions = Number(values.sessions ?? (quick ? 300 : 1500));
  needFiles(sessions + WARM_SESSIONS, 3); // the edge: two connections of BOSH, one to the core
  const rows: WebMemoryRow[] = [];
  for (const way of WEB_WAYS) {
    for (const kind of ["ejabberd", "prosody"] as const) {
      await withCores([kind], sessions + WARM_SESSIONS, async ([core], load) => {
        const options = { sessions, settleSeconds: quick ? 2 : 4, say };
        // What is in front of the edge is the same with either core.
        rows.push(...(await runWebMemory(core!, way, kind === "ejabberd", load, options)));
      });
    }
  }
  results["web memory"] = { sessions, rows };
  printFigures(`(g) Resident memory per idle session over HTTPS, ${sessions} sessions`, webMemoryFigures(rows));
}

async function storms(): Promise<void> {
  const sessions = Number(values.sessions ?? (quick ? 500 : 2000));
  needFiles(sessions * STORM_WAYS.length, 2);
  await withEjabberd(sessions * STORM_WAYS.length, async (core) => {
    const [starved, patience] = [Number(values.starved), Number(values.patience)];
    const options = { sessions, rounds: Number(values.rounds ?? (quick ? 2 : 5)), starved, patience, say };
    const rows = await runStorms(core, options);
    results["storms"] = { sessions, starved, patience, rows };
    printStorms(rows, sessions);
  });
}

async function main(): Promise<void> {
  if (values.help) return console.log(USAGE);
  ensureDebianPackages(["ejabberd", "prosody", "haproxy", "nginx", "libnginx-mod-stream", "openssl"]);
  const started = performance.now();
  if (only.has("a") || only.has("c")) await traffic();
  if (only.has("b")) await memory();
  if (only.has("d")) framer();
  if (only.has("e")) await handshakes();
  if (only.has("f")) await webTraffic();
  if (only.has("g")) await webMemory();
  if (only.has("h")) await storms();
  if (values.json) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof MachineError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
