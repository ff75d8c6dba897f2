import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Clock } from "../../src/base/clock.ts";
import { createLog, silentLog } from "../../src/base/log.ts";
import { type Breakwater, type Seat, start } from "../../src/breakwater.ts";
import { parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import type { Loop } from "../../src/edge/turnstile.ts";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import { freePorts } from "./cores/index.ts";
import { Scratch } from "./scratch.ts";

/** Where a core takes the edge's streams; every core of test/support/cores has these. */
export interface EdgeCore {
  readonly domain: string;
  readonly port: number;
  readonly kind?: string;
}

export interface EdgeOptions {
  core: EdgeCore;
  /** Default: the core's. All of them go to the same core. */
  domains?: readonly string[];
  /** `connect` of the core, default its plain TCP port. */
  connect?: string;
  /** Further lines of YAML at the top level, and of the core. */
  config?: string;
  coreConfig?: string;
  listenerConfig?: string;
  /** Further members of `ops`, as in a flow mapping. */
  opsConfig?: string;
  /** Instead of `listenerConfig`, for the kinds of which it knows. */
  listenerConfigs?: Partial<Record<(typeof KINDS)[number], string>>;
  /** Default 127.0.0.1. */
  listenHost?: string;
  /** The time of an edge in this process, when the test turns it. */
  clock?: Clock;
  /** The event loop of an edge in this process, as its turnstile sees it. */
  loop?: Loop;
  /** Of an edge in this process that is one of several. It has no metrics. */
  seat?: Seat;
  /** Of an edge in a process of its own, beside what this one has. */
  env?: Readonly<Record<string, string>>;
}

/** A running edge of the test's own, with everything on free ports of loopback. */
export interface TestEdge {
  readonly breakwater: Breakwater;
  readonly host: "127.0.0.1";
  readonly starttls: number;
  readonly tls: number;
  /** A listener that is declared to be behind a balancer which ends TLS. */
  readonly plaintext: number;
  /** For browsers: TLS, behind a balancer, and one port for everything. */
  readonly https: number;
  readonly http: number;
  readonly all: number;
  /** PEM file of the authority behind its certificate. */
  readonly ca: string;
  readonly configFile: string;
  readonly dir: string;
  metrics(): Promise<string>;
  /** The sum of a metric's series whose labels contain all of `labels`, 0 when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  stop(): Promise<void>;
}

export interface EdgePorts {
  starttls: number;
  tls: number;
  plaintext: number;
  https: number;
  http: number;
  all: number;
  ops: number;
}

const KINDS = ["starttls", "tls", "plaintext", "https", "http", "all"] as const;

/** The configuration of a test edge, as a file in a directory that vanishes with the process. */
export function edgeFiles(
  options: EdgeOptions,
  ports: EdgePorts = { starttls: 0, tls: 0, plaintext: 0, https: 0, http: 0, all: 0, ops: 0 },
): { scratch: Scratch; configFile: string; ca: string } {
  const scratch = new Scratch("edge");
  const domains = options.domains ?? [options.core.domain];
  const certificate = developmentCertificate(domains);
  writeFileSync(scratch.path("ca.pem"), certificate.ca);
  writeFileSync(scratch.path("edge.crt"), certificate.certificate);
  writeFileSync(scratch.path("edge.key"), certificate.key);
  const kind = options.core.kind ?? "other";
  const text = `
domains:
${domains.map((name) => `  - { name: "${name}", certificate: edge.crt, key: edge.key, core: main }`).join("\n")}
listeners:
${KINDS.map((kind) => `  - kind: ${kind}\n    listen: "${options.listenHost ?? "127.0.0.1"}:${ports[kind]}"\n${listenerLines(options, kind)}`).join("\n")}
cores:
  - name: main
    kind: ${kind}
    connect: ${options.connect ?? `tcp://127.0.0.1:${options.core.port}`}
${options.coreConfig ?? ""}
ops: { listen: "127.0.0.1:${ports.ops}"${options.opsConfig === undefined ? "" : `, ${options.opsConfig}`} }
${options.config ?? ""}
`;
  writeFileSync(scratch.path("breakwater.yaml"), text);
  return { scratch, configFile: scratch.path("breakwater.yaml"), ca: scratch.path("ca.pem") };
}

function listenerLines(options: EdgeOptions, kind: (typeof KINDS)[number]): string {
  return options.listenerConfigs?.[kind] ?? options.listenerConfig ?? "";
}

/** Starts an edge in this process. BREAKWATER_TEST_LOG=debug shows what it logs. */
export async function startEdge(options: EdgeOptions): Promise<TestEdge> {
  const { scratch, configFile, ca } = edgeFiles(options);
  const loaded = parseConfig(readFileSync(configFile, "utf8"), configFile);
  if (loaded instanceof ConfigMistakes) throw new Error(loaded.lines().join("\n"));
  const level = process.env["BREAKWATER_TEST_LOG"] as "debug" | undefined;
  const breakwater = await start({
    config: loaded.config,
    log: level ? createLog({ level }) : silentLog,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.loop === undefined ? {} : { loop: options.loop }),
    ...(options.seat === undefined ? {} : { seat: options.seat }),
  });
  const ports = breakwater.listeners.map((address) => address.port);
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${breakwater.ops.port}/metrics`)).text();
  return {
    breakwater,
    host: "127.0.0.1",
    starttls: ports[0]!,
    tls: ports[1]!,
    plaintext: ports[2]!,
    https: ports[3]!,
    http: ports[4]!,
    all: ports[5]!,
    ca,
    configFile,
    dir: scratch.dir,
    metrics,
    metric: async (name, labels = {}) => sumOf(await metrics(), name, labels),
    stop: async () => {
      await breakwater.stop();
      await scratch.remove();
    },
  };
}

/** An edge in a process of its own, as an operator runs it: for load, for signals and for kill -9. */
export interface SpawnedEdge extends EdgePorts {
  readonly host: "127.0.0.1";
  readonly ca: string;
  readonly configFile: string;
  readonly dir: string;
  readonly process: ChildProcess;
  readonly pid: number;
  metrics(): Promise<string>;
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Everything it has logged, and the processes before it on its ports; and the file that has it. */
  log(): string;
  readonly logFile: string;
  /** The same edge in a new process, on the same ports: once this one has ended. `listens`: not only when it is ready. */
  again(wait?: "listens"): Promise<SpawnedEdge>;
  /** `--pid-file` of each process. */
  readonly pidFile: string;
  /** SIGTERM, and its exit code. */
  stop(): Promise<number | null>;
}

export async function spawnEdge(options: EdgeOptions): Promise<SpawnedEdge> {
  const ports = await freePorts(...KINDS, "ops");
  const { scratch, configFile, ca } = edgeFiles(options, ports);
  return await spawnWith({ scratch, configFile, ca, ports, env: options.env ?? {} });
}

interface EdgePlace {
  readonly scratch: Scratch;
  readonly configFile: string;
  readonly ca: string;
  readonly ports: EdgePorts;
  readonly env: Readonly<Record<string, string>>;
}

async function spawnWith(place: EdgePlace, wait: "listens" | "ready" = "ready"): Promise<SpawnedEdge> {
  const { scratch, configFile, ca, ports, env } = place;
  const launcher = join(import.meta.dirname, "../../bin/breakwater");
  const pidFile = scratch.path("edge.pid");
  const logFile = scratch.path("edge.log");
  const output = openSync(logFile, "a");
  const child = spawn(launcher, ["run", "--config", configFile, "--pid-file", pidFile], {
    stdio: ["ignore", output, output],
    env: { ...process.env, ...env },
  });
  closeSync(output);
  const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  const log = (): string => readFileSync(logFile, "utf8");
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${ports.ops}/metrics`)).text();
  running.add(child);
  child.once("exit", () => running.delete(child));
  await Promise.race([
    wait === "ready" ? ready(ports.ops) : listens(ports[KINDS.at(-1)!]),
    exited.then((code) => Promise.reject(new Error(`edge exited (${code}): ${log()}`))),
  ]);
  return {
    ...ports,
    host: "127.0.0.1",
    ca,
    configFile,
    dir: scratch.dir,
    process: child,
    pidFile,
    pid: child.pid!,
    metrics,
    metric: async (name, labels = {}) => sumOf(await metrics(), name, labels),
    log,
    logFile,
    again: async (wait) => {
      await exited;
      return await spawnWith(place, wait);
    },
    stop: async () => {
      child.kill("SIGTERM");
      const code = await exited;
      await scratch.remove();
      return code;
    },
  };
}

// None outlives the tests.
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

async function ready(port: number): Promise<void> {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null);
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// The last of its listeners.
async function listens(port: number): Promise<void> {
  for (;;) {
    const taken = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (taken) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function sumOf(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0;
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] !== name) continue;
    if (Object.entries(labels).every(([key, value]) => match[2]?.includes(`${key}="${value}"`)))
      sum += Number(match[3]);
  }
  return sum;
}
