// The part of the quickstart that starts things: on Node 24 and with everything installed. ../quickstart.mjs calls it
// with the options as JSON.
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { BreakwaterError } from "../../src/base/errors.ts";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import type { Core } from "../../test/support/cores/index.ts";
import { requireAccounts } from "./accounts.ts";
import { startDemoCore } from "./core.ts";
import { DemoEdge, type Fellowship, type Upstream } from "./edge.ts";
import { Keeper } from "./keeper.ts";
import { LiveLine } from "./live.ts";
import { type CommandLine, HOST, Trouble, tail } from "./options.ts";
import { DemoRedis } from "./redis.ts";
import { type Started, table, writeJson } from "./summary.ts";

const WATCH_MS = 500;
// npm and the terminal may both hand us one Ctrl-C: only a later one is a second one.
const SECOND_SIGNAL_MS = 1000;

/** Everything that the quickstart has started, and its end. Whatever ends this process ends all of it (see Scratch). */
class Demo {
  readonly #options: CommandLine;
  #core: Core | null = null;
  #redis: DemoRedis | null = null;
  readonly #edges: DemoEdge[] = [];
  #keeper: Keeper | null = null;
  #live: LiveLine | null = null;
  #stoppedAt = Number.POSITIVE_INFINITY;

  constructor(options: CommandLine) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { upstream, json, edges } = this.#options;
    if (json !== null) rmSync(json, { force: true }); // of an earlier run: nobody shall take it for ours
    if (upstream === null) {
      console.log(`Starting ${this.#options.core} …`);
      this.#core = await startDemoCore(this.#options);
    }
    if (edges.length > 1) {
      console.log("Starting Redis …");
      this.#redis = await DemoRedis.start();
    }
    console.log("Starting Breakwater …");
    await this.#startEdges();
    if (this.#core === null) await requireAccounts(this.#options, this.#edges[0]!);
    this.#writeJson();
    console.log(`\n${table(this.#options, this.#started)}`);
    const live = new LiveLine(this.#edges.map((edge) => edge.metricsUrl));
    this.#live = live;
    this.#watch(live);
  }

  /** In order: clients hear of the end, then the core goes. A second call, a second later, does not wait for that. */
  async stop(code: number): Promise<void> {
    const now = performance.now();
    if (now - this.#stoppedAt > SECOND_SIGNAL_MS) process.exit(code);
    if (this.#stoppedAt !== Number.POSITIVE_INFINITY) return;
    this.#stoppedAt = now;
    if (this.#live === null) process.exit(code === 0 ? 130 : code); // not up yet: nobody to say goodbye to
    this.#keeper?.stop();
    this.#live.stop();
    console.log("Stopping …");
    await Promise.all(this.#edges.map((edge) => edge.stop()));
    await this.#redis?.stop();
    await this.#core?.stop();
    process.exit(code);
  }

  #upstream(): Upstream {
    const { core: kind, upstream } = this.#options;
    if (this.#core === null) return { kind, connect: upstream!, proxyProtocol: "off" };
    const { port, proxyPort } = this.#core;
    return { kind, connect: `tcp://${HOST}:${proxyPort ?? port}`, proxyProtocol: proxyPort ? "v2" : "off" };
  }

  async #startEdges(): Promise<void> {
    const { edges, domain } = this.#options;
    const fellowship: Fellowship | null = this.#redis && {
      certificate: developmentCertificate([domain]),
      resumeSecret: randomBytes(32).toString("base64url"),
      redisPort: this.#redis.port,
    };
    for (const [i, ports] of edges.entries()) {
      const name = fellowship ? `Edge ${i + 1}` : "Breakwater";
      this.#edges.push(await DemoEdge.start({ ...this.#options, ports }, this.#upstream(), { name, fellowship }));
    }
  }

  get #started(): Started {
    return { core: this.#core, edges: this.#edges, redis: this.#redis };
  }

  #writeJson(): void {
    writeJson(this.#options, this.#started);
  }

  /** One edge alone ends everything with its own end, and so does the core; several edges, and their Redis, are kept. */
  #watch(live: LiveLine): void {
    const core = this.#core;
    const corePid = core?.pid;
    const alone = this.#redis ? null : this.#edges[0]!;
    const look = async (): Promise<void> => {
      if (this.#stoppedAt !== Number.POSITIVE_INFINITY) return;
      if (alone && !alone.running) return this.#ended("Breakwater", await alone.log());
      if (corePid && !isAlive(corePid)) return this.#ended(this.#options.core, await core!.log());
    };
    setInterval(() => void look(), WATCH_MS);
    if (this.#redis === null) return;
    const tell = (line: string) => live.say(line);
    this.#keeper = new Keeper([...this.#edges, this.#redis], { tell, back: () => this.#writeJson() });
  }

  #ended(what: string, log: string): Promise<void> {
    console.error(`\nquickstart: ${what} has ended by itself. The last lines of its log:\n${tail(log)}`);
    return this.stop(1);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const demo = new Demo(JSON.parse(process.argv[2]!) as CommandLine);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void demo.stop(0));
process.on("disconnect", () => void demo.stop(0)); // ../quickstart.mjs was killed
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => void demo.stop(0)); // nobody reads
try {
  await demo.run();
} catch (error) {
  if (!(error instanceof Trouble || error instanceof BreakwaterError)) throw error;
  console.error(`quickstart: ${error.message}`);
  process.exit(1);
}
