import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { developmentCertificate } from "../../src/tls/development-certificate.ts";
import { freePort, streamFeatures } from "../../test/support/cores/index.ts";
import { Program } from "../../test/support/cores/program.ts";
import { HOST, type QuickstartOptions, Trouble, tail } from "./options.ts";

const LAUNCHER = resolve(import.meta.dirname, "../../bin/breakwater");
const START_LIMIT_MS = 30_000;

/** The core behind the edge, in the words of Breakwater's configuration. */
export interface Upstream {
  readonly kind: string;
  readonly connect: string;
  readonly proxyProtocol: "off" | "v2";
}

/** Breakwater in a process of its own, started as an operator starts it; it and its files go with this process. */
export class DemoEdge {
  readonly starttls: number;
  readonly tls: number;
  readonly ops: number;
  readonly #program = new Program("demo", undefined);
  readonly #options: QuickstartOptions;
  readonly #upstream: Upstream;

  private constructor(
    options: QuickstartOptions,
    upstream: Upstream,
    ports: Record<"starttls" | "tls" | "ops", number>,
  ) {
    this.#options = options;
    this.#upstream = upstream;
    this.starttls = ports.starttls;
    this.tls = ports.tls;
    this.ops = ports.ops;
    const { ca, certificate, key } = developmentCertificate([options.domain]);
    writeFileSync(this.path("ca.pem"), ca);
    writeFileSync(this.path("edge.crt"), certificate);
    writeFileSync(this.path("edge.key"), key, { mode: 0o600 });
    writeFileSync(this.path("breakwater.yaml"), this.#configuration());
  }

  /** Resolves when clients can log in; throws a Trouble that says why they cannot, and leaves nothing running. */
  static async start(options: QuickstartOptions, upstream: Upstream): Promise<DemoEdge> {
    const { starttls, tls, ops } = options.ports;
    const ports = {
      starttls: starttls || (await freePort()),
      tls: tls || (await freePort()),
      ops: ops || (await freePort()),
    };
    const edge = new DemoEdge(options, upstream, ports);
    try {
      edge.#program.start(LAUNCHER, ["run", "--config", edge.path("breakwater.yaml")], process.env);
      await edge.#ready();
    } catch (error) {
      await edge.stop();
      throw error;
    }
    return edge;
  }

  get pid(): number {
    return this.#program.leader;
  }

  get running(): boolean {
    return this.#program.running;
  }

  /** PEM file of the authority that signed its certificate. */
  get ca(): string {
    return this.path("ca.pem");
  }

  get logFile(): string {
    return this.path("output.log");
  }

  get metricsUrl(): string {
    return `http://${HOST}:${this.ops}/metrics`;
  }

  path(name: string): string {
    return this.#program.path(name);
  }

  log(): Promise<string> {
    return this.#program.logs();
  }

  async stop(): Promise<void> {
    await this.#program.end();
    this.#program.remove();
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + START_LIMIT_MS;
    for (;;) {
      const state = await this.#readiness();
      if (state === "ready") break;
      if (!this.running) throw new Trouble(`Breakwater does not start: ${whyNot(await this.log())}`);
      if (state !== null)
        throw new Trouble(`Breakwater cannot serve anybody: ${state}. Is the core running, and does it listen there?`);
      if (performance.now() > deadline)
        throw new Trouble(`Breakwater is not ready in time:\n${tail(await this.log())}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    // Up to the core: a stream inside TLS has the core's own features.
    const { domain } = this.#options;
    await streamFeatures({ domain, port: this.starttls });
    await streamFeatures({ domain, port: this.tls, tls: true }, 5000);
  }

  /** "ready", why not in the edge's own words, or null while nobody answers. */
  async #readiness(): Promise<string | null> {
    try {
      const response = await fetch(`http://${HOST}:${this.ops}/readyz`);
      if (response.status === 200) return "ready";
      const { failing } = (await response.json()) as { failing: { reason: string }[] };
      return failing.map((check) => check.reason).join("; ");
    } catch {
      return null;
    }
  }

  #configuration(): string {
    const { kind, connect, proxyProtocol } = this.#upstream;
    return `# Written by npm run quickstart. docs/config.md tells what else there is.
domains:
  - { name: ${JSON.stringify(this.#options.domain)}, certificate: edge.crt, key: edge.key }
listeners:
  - { kind: starttls, listen: "${HOST}:${this.starttls}" }
  - { kind: tls, listen: "${HOST}:${this.tls}" }
cores:
  - { name: ${kind}, kind: ${kind}, connect: ${JSON.stringify(connect)}, proxy_protocol: "${proxyProtocol}" }
ops: { listen: "${HOST}:${this.ops}" }
`;
  }
}

/** What the edge said when it gave up: beside the log lines, which are JSON. Failing that, the end of the log. */
function whyNot(log: string): string {
  const said = log.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
  return said.length > 0 ? said.join("\n").replace("breakwater: cannot start: ", "") : `\n${tail(log)}`;
}
