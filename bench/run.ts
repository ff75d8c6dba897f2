/**
 * `npm run bench`: the edge beside HAProxy, nginx and ejabberd's own TLS, in one interleaved run. Prints ratios.
 * docs/performance.md says what the rows mean and holds the figures of a run.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { ensureDebianPackages, MachineError } from "../scripts/machine.mjs";
import { type Ejabberd, startEjabberd } from "../test/support/cores/index.ts";
import { Load } from "./load.ts";
import { latencyFigures, printFigures, printTraffic, trafficFigures } from "./report.ts";
import { runTraffic } from "./traffic.ts";

const USAGE = `Usage: npm run bench -- [options]

  --quick          fewer rounds and sessions: about 3 minutes instead of 15
  --only LIST      of a (CPU), b (memory), c (latency, with a), d (framer), e (handshakes); default all
  --rounds N       interleaved rounds of a, c, d and e
  --sessions N     idle sessions of b
  --json FILE      all results, round by round
  --unpinned       leave the placing of processes to the kernel
  --verbose        say each round's result as it comes`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "a,b,c,d,e" },
    rounds: { type: "string" },
    sessions: { type: "string" },
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

async function startCore(accounts: number): Promise<Ejabberd> {
  pin("core");
  const core = await startEjabberd({ tls: true });
  pin("rest");
  await core.registerAll(Array.from({ length: accounts }, (_, i) => ({ user: `user${i}`, password: "pw" })));
  return core;
}

async function main(): Promise<void> {
  if (values.help) return console.log(USAGE);
  ensureDebianPackages(["ejabberd", "haproxy", "nginx", "libnginx-mod-stream", "openssl"]);
  const results: Record<string, unknown> = {};
  const started = performance.now();
  if (only.has("a") || only.has("c")) {
    const sessions = 100;
    const core = await startCore(sessions * 8);
    const load = new Load();
    const seconds = quick ? 2 : 3;
    const options = { rounds, seconds, warmSeconds: 0.7, sessions, rate: 2000, window: 2, say };
    try {
      const rows = await runTraffic(core, load, options);
      results["traffic"] = rows;
      printFigures("(a) CPU, ratios of one interleaved run", trafficFigures(rows, options.rate));
      printFigures(`(c) Added latency at ${options.rate} messages/s`, latencyFigures(rows));
      printTraffic(rows);
    } finally {
      load.stop();
      await core.stop();
    }
  }
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
