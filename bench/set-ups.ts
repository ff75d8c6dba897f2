/** The set-ups that are compared: programs that end TLS in front of one ejabberd, and ejabberd doing it itself. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { testAuthority } from "../test/support/certificates.ts";
import { type Core, freePort, streamFeatures } from "../test/support/cores/index.ts";
import { Program } from "../test/support/cores/program.ts";
import { family } from "./processes.ts";

/** A way into the core. */
export interface SetUp {
  readonly name: SetUpName;
  readonly port: number;
  readonly tls: boolean;
  /** The processes in front of the core, none when clients talk to the core itself. */
  readonly pids: readonly number[];
  /** Of the edge: all its series with their values. Empty for the others. */
  metrics(): Promise<ReadonlyMap<string, number>>;
  stop(): Promise<void>;
}

export type SetUpName = "edge" | "haproxy" | "nginx" | "ejabberd-tls" | "ejabberd-plain";

export const DOMAIN = "localhost";
const READY_MS = 20_000;
const ROOT = dirname(import.meta.dirname);

/** `listener` and `config`, further lines of YAML: of the edge. */
export async function startSetUp(
  name: SetUpName,
  core: Core,
  listener: "tls" | "all" = "tls",
  config = "",
): Promise<SetUp> {
  const nothing = async () => {};
  const none = { pids: [], metrics: async () => new Map(), stop: nothing };
  if (name === "ejabberd-plain") return { name, port: core.port, tls: false, ...none };
  if (name === "ejabberd-tls") return { name, port: core.tlsPort!, tls: true, ...none };
  const [port, opsPort] = [await freePort(), await freePort()];
  const program = new Program(name, undefined);
  if (name === "edge") startEdge(program, [port, opsPort], core, listener, config);
  else if (name === "haproxy") startHaproxy(program, port, core.port);
  else startNginx(program, port, core.port);
  try {
    await answers(program, port);
  } catch (error) {
    const output = await program.logs();
    await program.end();
    program.remove();
    throw new Error(`${name} does not start: ${(error as Error).message}\n${output.slice(-2000)}`, { cause: error });
  }
  const stop = async () => {
    await program.end();
    program.remove();
  };
  const metrics = () => (name === "edge" ? seriesOf(opsPort) : none.metrics());
  return { name, port, tls: true, pids: family(program.leader), metrics, stop };
}

async function seriesOf(opsPort: number): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
  return new Map([...text.matchAll(/^([^#\s].*) (\S+)$/gm)].map(([, series, value]) => [series!, Number(value)]));
}

function startEdge(
  program: Program,
  [port, opsPort]: readonly [number, number],
  core: Core,
  listener: "tls" | "all",
  more: string,
): void {
  const { cert, key } = testAuthority().issue([DOMAIN]);
  const config = program.path("breakwater.yaml");
  // Everything as it comes; only the places are given.
  writeFileSync(
    config,
    `domains: [{ name: ${DOMAIN}, certificate: ${cert}, key: ${key}, core: main }]
listeners: [{ kind: ${listener}, listen: "127.0.0.1:${port}" }]
cores: [{ name: main, kind: ${core.kind}, connect: "tcp://127.0.0.1:${core.port}" }]
ops: { listen: "127.0.0.1:${opsPort}" }
${more}`,
  );
  program.start(`${ROOT}/bin/breakwater`, ["run", "--config", config], process.env);
}

function startHaproxy(program: Program, port: number, corePort: number): void {
  const { cert, key } = testAuthority().issue([DOMAIN]);
  writeFileSync(program.path("edge.pem"), readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
  // Handshakes alone are measured on the second port: there no core is dialled before the client speaks.
  writeFileSync(
    program.path("haproxy.cfg"),
    `global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:${port} ssl crt ${program.path("edge.pem")} alpn xmpp-client ssl-min-ver TLSv1.2
  tcp-request inspect-delay 60s
  tcp-request content accept if { req.len gt 0 }
  default_backend core
backend core
  server ejabberd 127.0.0.1:${corePort}
`,
  );
  program.start("/usr/sbin/haproxy", ["-db", "-f", program.path("haproxy.cfg")], process.env);
}

function startNginx(program: Program, port: number, corePort: number): void {
  const { cert, key } = testAuthority().issue([DOMAIN]);
  writeFileSync(
    program.path("nginx.conf"),
    `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid ${program.path("nginx.pid")};
error_log stderr;
worker_processes 1;
events { worker_connections 20000; }
stream {
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_timeout 1h;
    proxy_pass 127.0.0.1:${corePort};
  }
}
`,
  );
  program.start("/usr/sbin/nginx", ["-e", "stderr", "-c", program.path("nginx.conf")], process.env);
}

async function answers(program: Program, port: number): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    try {
      await streamFeatures({ domain: DOMAIN, port, tls: true });
      return;
    } catch (error) {
      if (!program.running) throw new Error("it has ended");
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
