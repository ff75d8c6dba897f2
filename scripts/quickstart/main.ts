// The part of the quickstart that starts things: on Node 24 and with everything installed. ../quickstart.mjs calls it
// with the options as JSON.
import { rmSync } from "node:fs";
import { BreakwaterError } from "../../src/base/errors.ts";
import type { Core } from "../../test/support/cores/index.ts";
import { requireAccounts } from "./accounts.ts";
import { startDemoCore } from "./core.ts";
import { DemoEdge, type Upstream } from "./edge.ts";
import { LiveLine } from "./live.ts";
import { HOST, type QuickstartOptions, Trouble, tail } from "./options.ts";
import { table, writeJson } from "./summary.ts";

const WATCH_MS = 500;
// npm and the terminal may both hand us one Ctrl-C: only a later one is a second one.
const SECOND_SIGNAL_MS = 1000;

/** Everything that the quickstart has started, and its end. Whatever ends this process ends all of it (see Scratch). */
class Demo {
  readonly #options: QuickstartOptions;
  #core: Core | null = null;
  #edge: DemoEdge | null = null;
  #live: LiveLine | null = null;
  #stoppedAt = Number.POSITIVE_INFINITY;

  constructor(options: QuickstartOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { upstream, json } = this.#options;
    if (json !== null) rmSync(json, { force: true }); // of an earlier run: nobody shall take it for ours
    if (upstream === null) {
      console.log(`Starting ${this.#options.core} …`);
      this.#core = await startDemoCore(this.#options);
    }
    console.log("Starting Breakwater …");
    this.#edge = await DemoEdge.start(this.#options, this.#upstream());
    if (this.#core === null) await requireAccounts(this.#options, this.#edge);
    writeJson(this.#options, this.#core, this.#edge);
    console.log(`\n${table(this.#options, this.#core, this.#edge)}`);
    this.#live = new LiveLine(this.#edge.metricsUrl);
    this.#watch(this.#edge, this.#core);
  }

  /** In order: clients hear of the end, then the core goes. A second call, a second later, does not wait for that. */
  async stop(code: number): Promise<void> {
    const now = performance.now();
    if (now - this.#stoppedAt > SECOND_SIGNAL_MS) process.exit(code);
    if (this.#stoppedAt !== Number.POSITIVE_INFINITY) return;
    this.#stoppedAt = now;
    if (this.#live === null) process.exit(code === 0 ? 130 : code); // not up yet: nobody to say goodbye to
    this.#live.stop();
    console.log("Stopping …");
    await this.#edge?.stop();
    await this.#core?.stop();
    process.exit(code);
  }

  #upstream(): Upstream {
    const { core: kind, upstream } = this.#options;
    if (this.#core === null) return { kind, connect: upstream!, proxyProtocol: "off" };
    const { port, proxyPort } = this.#core;
    return { kind, connect: `tcp://${HOST}:${proxyPort ?? port}`, proxyProtocol: proxyPort ? "v2" : "off" };
  }

  #watch(edge: DemoEdge, core: Core | null): void {
    const corePid = core?.pid;
    const look = async (): Promise<void> => {
      if (this.#stoppedAt !== Number.POSITIVE_INFINITY) return;
      if (!edge.running) return this.#ended("Breakwater", await edge.log());
      if (corePid && !isAlive(corePid)) return this.#ended(this.#options.core, await core!.log());
    };
    setInterval(() => void look(), WATCH_MS);
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

const demo = new Demo(JSON.parse(process.argv[2]!) as QuickstartOptions);
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
