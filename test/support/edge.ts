import { writeFileSync } from "node:fs";
import { createLog, silentLog } from "../../src/base/log.ts";
import { type Breakwater, start } from "../../src/breakwater.ts";
import { parseConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
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
}

/** A running edge of the test's own, with everything on free ports of loopback. */
export interface TestEdge {
  readonly breakwater: Breakwater;
  readonly host: "127.0.0.1";
  readonly starttls: number;
  readonly tls: number;
  /** A listener that is declared to be behind a balancer which ends TLS. */
  readonly plaintext: number;
  /** PEM file of the authority behind its certificate. */
  readonly ca: string;
  readonly configFile: string;
  readonly dir: string;
  metrics(): Promise<string>;
  /** The sum of a metric's series whose labels contain all of `labels`, 0 when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  stop(): Promise<void>;
}

/** The configuration of a test edge, as a file in a directory that vanishes with the process. */
export function edgeFiles(options: EdgeOptions): { scratch: Scratch; configFile: string; ca: string } {
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
${["starttls", "tls", "plaintext"].map((kind) => `  - kind: ${kind}\n    listen: "127.0.0.1:0"\n${options.listenerConfig ?? ""}`).join("\n")}
cores:
  - name: main
    kind: ${kind}
    connect: ${options.connect ?? `tcp://127.0.0.1:${options.core.port}`}
${options.coreConfig ?? ""}
ops: { listen: "127.0.0.1:0" }
${options.config ?? ""}
`;
  writeFileSync(scratch.path("breakwater.yaml"), text);
  return { scratch, configFile: scratch.path("breakwater.yaml"), ca: scratch.path("ca.pem") };
}

/** Starts an edge in this process. BREAKWATER_TEST_LOG=debug shows what it logs. */
export async function startEdge(options: EdgeOptions): Promise<TestEdge> {
  const { scratch, configFile, ca } = edgeFiles(options);
  const { readFileSync } = await import("node:fs");
  const loaded = parseConfig(readFileSync(configFile, "utf8"), configFile);
  if (loaded instanceof ConfigMistakes) throw new Error(loaded.lines().join("\n"));
  const level = process.env["BREAKWATER_TEST_LOG"] as "debug" | undefined;
  const breakwater = await start({ config: loaded.config, log: level ? createLog({ level }) : silentLog });
  const [starttls, tls, plaintext] = breakwater.listeners.map((address) => address.port) as [number, number, number];
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${breakwater.ops.port}/metrics`)).text();
  return {
    breakwater,
    host: "127.0.0.1",
    starttls,
    tls,
    plaintext,
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
