import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { resolve } from "node:path";
import { type DevelopmentCertificate, developmentCertificate } from "../../src/tls/development-certificate.ts";
import { freePort, streamFeatures } from "../../test/support/cores/index.ts";
import { Program } from "../../test/support/cores/program.ts";
import type { Kept } from "./keeper.ts";
import { HOST, PASSWORD, type QuickstartOptions, Trouble, tail, userNames } from "./options.ts";
import type { PageFacts } from "./page.ts";

const PROCESS = resolve(import.meta.dirname, "edge-process.ts");
const START_LIMIT_MS = 30_000;
export const WEBSOCKET_PATH = "/ws";
export const BOSH_PATH = "/http-bind";

// As bin/breakwater sets them, so that this process weighs what one of an operator weighs; for up to 50,000 sessions.
const MALLOC = {
  MALLOC_MMAP_THRESHOLD_: "60000",
  MALLOC_TRIM_THRESHOLD_: "65536",
  MALLOC_TOP_PAD_: "0",
  MALLOC_MMAP_MAX_: "50000",
};

/** The core behind the edge, in the words of Breakwater's configuration. */
export interface Upstream {
  readonly kind: string;
  readonly connect: string;
  readonly proxyProtocol: "off" | "v2";
}

/** What edges beside each other have in common: clients trust all of them, and each goes on with the others' sessions. */
export interface Fellowship {
  readonly certificate: DevelopmentCertificate;
  readonly resumeSecret: string;
  readonly redisPort: number;
}

/** Who this one is among the edges. */
interface Place {
  /** For people. */
  readonly name: string;
  readonly fellowship: Fellowship | null;
}

const ALONE: Place = { name: "Breakwater", fellowship: null };

/** Breakwater in a process of its own, with the newcomer's page beside it; it and its files go with this process. */
export class DemoEdge implements Kept {
  readonly name: string;
  readonly starttls: number;
  readonly tls: number;
  readonly https: number;
  readonly ops: number;
  /** SHA-256 of its certificate, as browsers show it. */
  readonly fingerprint: string;
  readonly #program = new Program("demo", undefined);
  readonly #options: QuickstartOptions;
  readonly #upstream: Upstream;
  readonly #fellowship: Fellowship | null;

  private constructor(options: QuickstartOptions, upstream: Upstream, { name, fellowship }: Place) {
    const { ports } = options;
    this.name = name;
    this.#options = options;
    this.#upstream = upstream;
    this.#fellowship = fellowship;
    this.starttls = ports.starttls;
    this.tls = ports.tls;
    this.https = ports.https;
    this.ops = ports.ops;
    const { ca, certificate, key } = fellowship?.certificate ?? developmentCertificate([options.domain]);
    this.fingerprint = new X509Certificate(certificate).fingerprint256;
    writeFileSync(this.path("ca.pem"), ca);
    writeFileSync(this.path("edge.crt"), certificate);
    writeFileSync(this.path("edge.key"), key, { mode: 0o600 });
    if (fellowship) writeFileSync(this.path("resume.secret"), fellowship.resumeSecret, { mode: 0o600 });
    writeFileSync(this.path("breakwater.yaml"), this.#configuration());
  }

  /** Resolves when clients can log in; throws a Trouble that says why they cannot, and leaves nothing running. */
  static async start(options: QuickstartOptions, upstream: Upstream, place: Place = ALONE): Promise<DemoEdge> {
    const { starttls, tls, https, ops } = options.ports;
    const ports = {
      starttls: starttls || (await freePort()),
      tls: tls || (await freePort()),
      https: https || (await freePort()),
      ops: ops || (await freePort()),
    };
    const edge = new DemoEdge({ ...options, ports }, upstream, place);
    try {
      await edge.restart();
    } catch (error) {
      await edge.stop();
      throw error;
    }
    return edge;
  }

  /** Starts the process (again): same ports, same files. Resolves when clients can log in; else it does not run. */
  async restart(): Promise<void> {
    const facts = JSON.stringify(this.#pageFacts());
    const env = { ...MALLOC, ...process.env };
    this.#program.start(process.execPath, [PROCESS, this.path("breakwater.yaml"), facts], env);
    try {
      await this.#ready();
    } catch (error) {
      await this.#program.end();
      throw error;
    }
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

  get pageUrl(): string {
    return `https://localhost:${this.https}/`;
  }

  get websocketUrl(): string {
    return `wss://${HOST}:${this.https}${WEBSOCKET_PATH}`;
  }

  get boshUrl(): string {
    return `https://${HOST}:${this.https}${BOSH_PATH}`;
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
      const failing = await this.#failing();
      if (failing?.length === 0) break;
      if (!this.running) throw new Trouble(`Breakwater does not start: ${whyNot(await this.log())}`);
      const reasons = failing?.map((check) => check.reason).join("; ") ?? "nobody answers at /readyz";
      // Redis is there before the edge, which is on its way to it.
      if (failing?.some((check) => check.name !== "store"))
        throw new Trouble(
          `Breakwater cannot serve anybody: ${reasons}. Is the core running, and does it listen there?`,
        );
      if (performance.now() > deadline)
        throw new Trouble(`Breakwater is not ready in time (${reasons}):\n${tail(await this.log())}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    // Up to the core: a stream inside TLS has the core's own features.
    const { domain } = this.#options;
    await streamFeatures({ domain, port: this.starttls });
    await streamFeatures({ domain, port: this.tls, tls: true }, 5000);
    await pageAnswers(this.https, this.ca);
  }

  /** What keeps clients away, in the edge's own words: nothing when it is ready. Null while nobody answers. */
  async #failing(): Promise<{ name: string; reason: string }[] | null> {
    try {
      const response = await fetch(`http://${HOST}:${this.ops}/readyz`);
      if (response.status === 200) return [];
      return ((await response.json()) as { failing: { name: string; reason: string }[] }).failing;
    } catch {
      return null;
    }
  }

  #pageFacts(): PageFacts {
    const { domain, accounts } = this.#options;
    return {
      domain,
      accounts: userNames(Math.min(accounts, 2)).map((user) => ({ jid: `${user}@${domain}`, password: PASSWORD })),
      websocketPath: WEBSOCKET_PATH,
      boshPath: BOSH_PATH,
    };
  }

  #configuration(): string {
    const { kind, connect, proxyProtocol } = this.#upstream;
    return `# Written by npm run quickstart. docs/config.md tells what else there is.
domains:
  - { name: ${JSON.stringify(this.#options.domain)}, certificate: edge.crt, key: edge.key }
listeners:
  - { kind: starttls, listen: "${HOST}:${this.starttls}" }
  - { kind: tls, listen: "${HOST}:${this.tls}" }
  - { kind: https, listen: "${HOST}:${this.https}" }
http:
  origins: ["https://localhost:${this.https}", "https://${HOST}:${this.https}"] # whatever the domain is
cores:
  - { name: ${kind}, kind: ${kind}, connect: ${JSON.stringify(connect)}, proxy_protocol: "${proxyProtocol}" }
ops: { listen: "${HOST}:${this.ops}" }
${this.#fellowship ? sharing(this.#fellowship) : ""}`;
  }
}

function sharing({ redisPort }: Fellowship): string {
  return `stream_management: { resume_secret: { file: resume.secret } }
store: { driver: redis, redis: { nodes: ["${HOST}:${redisPort}"] } }
`;
}

function pageAnswers(port: number, ca: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ host: HOST, port, ca: readFileSync(ca) }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`the page is answered with ${response.statusCode}`));
    }).once("error", reject);
  });
}

/** What the edge said when it gave up: beside the log lines, which are JSON. Failing that, the end of the log. */
function whyNot(log: string): string {
  const said = log.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
  return said.length > 0 ? said.join("\n").replace("breakwater: cannot start: ", "") : `\n${tail(log)}`;
}
