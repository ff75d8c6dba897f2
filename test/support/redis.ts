import { writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { testAuthority } from "./certificates.ts";
import { freePort } from "./cores/ports.ts";
import { Program, systemAccount } from "./cores/program.ts";

export interface RedisServerOptions {
  /** More lines of redis.conf. */
  readonly config?: readonly string[];
  readonly tls?: boolean;
  readonly cluster?: boolean;
  /** Watch this master instead of being a Redis. */
  readonly sentinelOf?: RedisServer;
}

/** Debian's redis-server with a directory of its own, on a free port. Keeps nothing on disk. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = new RedisServer(await freePort(), options.cluster ? await freePort() : 0, options);
  await server.start();
  return server;
}

export class RedisServer {
  readonly host = "127.0.0.1";
  readonly port: number;
  /** Where the nodes of a cluster talk; 0 without one. */
  readonly busPort: number;
  readonly #program = new Program("redis", systemAccount("redis"));
  readonly #options: RedisServerOptions;

  constructor(port: number, busPort: number, options: RedisServerOptions) {
    this.port = port;
    this.busPort = busPort;
    this.#options = options;
    const file = this.#program.path("redis.conf");
    writeFileSync(file, this.#configuration());
    this.#program.own(file); // a Sentinel and a cluster node write into it
  }

  get address(): string {
    return `${this.host}:${this.port}`;
  }

  async start(): Promise<void> {
    const mode = this.#options.sentinelOf ? ["--sentinel"] : [];
    this.#program.start("redis-server", [this.#program.path("redis.conf"), ...mode], environment);
    await until(() => this.#answers(), `redis-server on port ${this.port} answers`);
  }

  /** What `redis-cli` prints. */
  async cli(...args: string[]): Promise<string> {
    const tls = this.#tlsFiles();
    const secure = tls === null ? [] : ["--tls", "--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key];
    const printed = await this.#program.run("redis-cli", ["-p", String(this.port), ...secure, ...args], environment);
    return printed.trim();
  }

  /** As a crash or a power cut. */
  kill(): Promise<void> {
    return this.#program.kill();
  }

  freeze(): void {
    process.kill(this.#program.leader, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.#program.leader, "SIGCONT");
  }

  async stop(): Promise<void> {
    await this.#program.kill();
    this.#program.remove();
  }

  #configuration(): string {
    const { config = [], tls, cluster, sentinelOf } = this.#options;
    const files = this.#tlsFiles();
    return [
      `bind ${this.host}`,
      tls ? `port 0\ntls-port ${this.port}` : `port ${this.port}`,
      files ? `tls-cert-file ${files.cert}\ntls-key-file ${files.key}\ntls-ca-cert-file ${files.ca}` : "",
      `dir ${this.#program.dir}`,
      cluster ? `cluster-enabled yes\ncluster-port ${this.busPort}\ncluster-node-timeout 3000` : "",
      sentinelOf
        ? `sentinel monitor main ${sentinelOf.host} ${sentinelOf.port} 1
sentinel down-after-milliseconds main 200
sentinel failover-timeout main 2000`
        : 'save ""\nappendonly no',
      ...config,
      "",
    ].join("\n");
  }

  #tlsFiles() {
    return this.#options.tls ? testAuthority().issue(["localhost"]) : null;
  }

  // A TLS port is well when it takes connections: what it says there is for redis-cli to read.
  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection(this.port, this.host, () => {
        if (this.#options.tls) done(true);
        else socket.write("PING\r\n");
      });
      const done = (well: boolean) => {
        socket.destroy();
        resolve(well);
      };
      socket.once("data", (bytes) => done(/^(\+PONG|-NOAUTH|-NOPERM)/.test(String(bytes))));
      socket.once("error", () => done(false));
      socket.setTimeout(1000, () => done(false));
    });
  }
}

const environment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" };

/** Waits for a fact that only asking again can tell. Here and not with the edge's helpers: a store needs no edge. */
export async function until(fact: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const started = performance.now();
  while (!(await fact())) {
    if (performance.now() - started > 60_000) throw new Error(`patience ended while waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
