import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { testAuthority } from "../certificates.ts";
import type { Core, CoreOptions } from "./core.ts";
import { freePorts } from "./ports.ts";
import { streamsAnswer, type Target } from "./probe.ts";
import { Program, systemAccount } from "./program.ts";

const CTL = "/usr/sbin/ejabberdctl";
const START_LIMIT_MS = 60_000;

/** Starts Debian's ejabberd. Ready when every listener answers a stream. */
export async function startEjabberd(options: CoreOptions = {}): Promise<Ejabberd> {
  const ports = await freePorts("c2s", "proxy", "zlib", "http", "component", "distribution");
  if (options.port) ports.c2s = options.port;
  const tls = options.tls ? await freePorts("starttls", "required", "direct", "https") : undefined;
  const core = new Ejabberd(options, ports, tls);
  try {
    await core.start();
  } catch (error) {
    const log = await core.log();
    await core.stop();
    throw new Error(`ejabberd does not start: ${(error as Error).message}\n${log.slice(-4000)}`, { cause: error });
  }
  return core;
}

type Ports = Record<"c2s" | "proxy" | "zlib" | "http" | "component" | "distribution", number>;
type TlsPorts = Record<"starttls" | "required" | "direct" | "https", number>;

export class Ejabberd implements Core {
  readonly kind = "ejabberd";
  readonly host = "127.0.0.1";
  readonly domain: string;
  readonly port: number;
  readonly proxyPort: number;
  readonly unixPath: string;
  readonly zlibPort: number;
  readonly componentPort: number;
  readonly httpPort: number;
  readonly starttlsPort?: number;
  readonly starttlsRequiredPort?: number;
  readonly tlsPort?: number;
  readonly httpsPort?: number;
  readonly ca?: string;
  #program: Program;
  #domains: string[];
  #distributionPort: number;
  // One connection at a time serves as well as many: the calls are short.
  #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(options: CoreOptions, ports: Ports, tls: TlsPorts | undefined) {
    this.domain = options.domain ?? "localhost";
    this.#domains = [this.domain, ...(options.domains ?? [])];
    this.port = ports.c2s;
    this.proxyPort = ports.proxy;
    this.zlibPort = ports.zlib;
    this.httpPort = ports.http;
    this.componentPort = ports.component;
    this.#distributionPort = ports.distribution;
    this.#program = new Program("ejabberd", systemAccount("ejabberd"));
    this.unixPath = this.#program.path("c2s.sock");
    if (tls) {
      const certificate = options.certificate ?? testAuthority().issue(this.#domains);
      this.ca = certificate.ca;
      this.starttlsPort = tls.starttls;
      this.starttlsRequiredPort = tls.required;
      this.tlsPort = tls.direct;
      this.httpsPort = tls.https;
      const pem = readFileSync(certificate.cert, "utf8") + readFileSync(certificate.key, "utf8");
      writeFileSync(this.#program.path("certificate.pem"), pem);
      writeFileSync(this.#program.path("ca.pem"), readFileSync(certificate.ca));
    }
    writeFileSync(this.#program.path("ejabberd.yml"), this.#configuration(options));
    writeFileSync(this.#program.path("ejabberdctl.cfg"), this.#controlConfiguration());
    writeFileSync(this.#program.path("inetrc"), "");
  }

  get dir(): string {
    return this.#program.dir;
  }

  get pid(): number {
    const pid = Number(readFileSync(this.#program.path("ejabberd.pid"), "utf8"));
    // A signal to 0 would go to our own process group.
    if (!(pid > 0)) throw new Error(`ejabberd.pid holds no process id: ${pid}`);
    return pid;
  }

  async start(): Promise<void> {
    // In the foreground it stays below us, so that its end can be waited for.
    this.#program.start(CTL, [...this.#ctlOptions(), "foreground-quiet"], this.#env());
    await streamsAnswer(this.#targets(), () => this.#program.running, START_LIMIT_MS);
  }

  async register(user: string, password: string, domain = this.domain): Promise<void> {
    await this.api("register", { user, host: domain, password });
  }

  async registerAll(accounts: Iterable<{ user: string; password: string; domain?: string }>): Promise<void> {
    const queue = [...accounts];
    const worker = async () => {
      for (let next = queue.pop(); next; next = queue.pop()) await this.register(next.user, next.password, next.domain);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }

  async sessions(): Promise<string[]> {
    return (await this.api("connected_users", {})) as string[];
  }

  /** One command of ejabberd's own API (`ejabberdctl help` lists them), in a millisecond or two. */
  api(command: string, args: Record<string, unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const path = `/api/${command}`;
      const call = request({ agent: this.#agent, host: this.host, port: this.httpPort, path, method: "POST" });
      call.once("error", reject);
      call.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.once("end", () => {
          if (response.statusCode === 200) resolve(JSON.parse(text));
          else reject(new Error(`ejabberd ${command} ${JSON.stringify(args)}: ${response.statusCode} ${text}`));
        });
      });
      call.setHeader("Content-Type", "application/json").end(JSON.stringify(args));
    });
  }

  ctl(...args: string[]): Promise<string> {
    return this.#program.run(CTL, [...this.#ctlOptions(), ...args], this.#env());
  }

  log(): Promise<string> {
    return this.#program.logs("log/ejabberd.log");
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    await this.#end();
    this.#program.remove();
  }

  async kill(): Promise<void> {
    await this.#program.kill();
  }

  async restart(): Promise<void> {
    await this.#end();
    await this.start();
  }

  freeze(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  // Erlang's machine itself is asked: the shell script above it would die of the signal and leave it behind.
  async #end(): Promise<void> {
    await this.#program.end(existsSync(this.#program.path("ejabberd.pid")) ? this.pid : undefined);
  }

  #targets(): Target[] {
    const { domain } = this;
    const targets: Target[] = [
      { domain, port: this.port },
      { domain, port: this.proxyPort, proxy: true },
      { domain, unixPath: this.unixPath },
      { domain, port: this.zlibPort },
    ];
    if (this.tlsPort) targets.push({ domain, port: this.tlsPort, tls: true });
    return targets;
  }

  #ctlOptions(): string[] {
    const { dir } = this;
    return [
      "-d",
      dir,
      "-f",
      `${dir}/ejabberd.yml`,
      "-c",
      `${dir}/ejabberdctl.cfg`,
      "-s",
      `${dir}/spool`,
      "-l",
      `${dir}/log`,
    ];
  }

  #env(): NodeJS.ProcessEnv {
    // Erlang keeps its cookie at home: with a home of its own an instance talks to nobody else's.
    return { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: this.dir };
  }

  #controlConfiguration(): string {
    // A distribution port of its own means no epmd: ejabberdctl would kill the machine's.
    return `ERLANG_NODE=breakwater${this.#distributionPort}@127.0.0.1
ERL_DIST_PORT=${this.#distributionPort}
ERL_OPTIONS="-env ERL_CRASH_DUMP_BYTES 0 -kernel inet_dist_use_interface {127,0,0,1}"
ERL_MAX_PORTS=32000
EJABBERD_PID_PATH=${this.#program.path("ejabberd.pid")}
CONTRIB_MODULES_PATH=${this.#program.path("contrib")}
`;
  }

  #configuration(options: CoreOptions): string {
    const maxStanza = options.maxStanzaBytes ?? 262_144;
    const listener = (where: number | string, ...lines: string[]) =>
      [
        typeof where === "number" ? `  - port: ${where}\n    ip: 127.0.0.1` : `  - port: "unix:${where}"`,
        "    module: ejabberd_c2s",
        "    access: all",
        "    shaper: none",
        `    max_stanza_size: ${maxStanza}`,
        "    backlog: 1000", // 23.01 defaults to 5
        ...lines.map((line) => `    ${line}`),
      ].join("\n");
    const listeners = [
      listener(this.port, "starttls: false"),
      listener(this.proxyPort, "starttls: false", "use_proxy_protocol: true"),
      listener(this.unixPath, "starttls: false"),
      listener(this.zlibPort, "starttls: false", "zlib: true"),
    ];
    if (this.tlsPort) {
      const verify = options.channelBinding ? ["tls_verify: true", `cafile: ${this.#program.path("ca.pem")}`] : [];
      listeners.push(
        listener(this.starttlsPort!, "starttls: true", ...verify),
        listener(this.starttlsRequiredPort!, "starttls_required: true", ...verify),
        listener(this.tlsPort, "tls: true", ...verify),
      );
    }
    const plus = options.channelBinding ? [] : ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"];
    const streamManagement = `  mod_stream_mgmt:
    ack_timeout: ${options.ackTimeout ?? 60}
    resume_timeout: ${options.resumeTimeout ?? 300}
    max_resume_timeout: ${Math.max(86_400, options.resumeTimeout ?? 300)}
    max_ack_queue: ${options.maxUnacked ?? 5000}
    resend_on_timeout: if_offline
`;
    return `loglevel: info
log_rotate_count: 0
log_rotate_size: infinity
hosts: [${this.#domains.map((domain) => `"${domain}"`).join(", ")}]
acme: {auto: false}
auth_method: internal
auth_password_format: ${options.hashedPasswords ? "scram\nauth_scram_hash: sha256" : "plain"}
disable_sasl_mechanisms: [${["digest-md5", ...(options.tokens ? [] : ["X-OAUTH2"]), ...plus].join(", ")}]
${options.tokens ? "oauth_access: all" : ""}
${this.tlsPort ? `certfiles: [${this.#program.path("certificate.pem")}]` : ""}
listen:
${listeners.join("\n")}
  - port: ${this.httpPort}
    ip: 127.0.0.1
    module: ejabberd_http
    request_handlers:
      /bosh: mod_bosh
      /ws: ejabberd_http_ws
      /api: mod_http_api
${this.httpsPort ? https(this.httpsPort) : ""}  - port: ${this.componentPort}
    ip: 127.0.0.1
    module: ejabberd_service
    check_from: false
    hosts:
      "component.${this.domain}": {password: secret}
trusted_proxies: [127.0.0.0/8]
acl:
  local: {user_regexp: ""}
  loopback: {ip: [127.0.0.0/8]}
access_rules:
  local: {allow: local}
api_permissions:
  "console commands": {from: [ejabberd_ctl], who: all, what: "*"}
  "loopback http": {from: [mod_http_api], who: {ip: 127.0.0.0/8}, what: "*"}
shaper_rules:
  max_user_sessions: 100
  max_user_offline_messages: 100000
modules:
  mod_adhoc: {}
  mod_admin_extra: {}
  mod_blocking: {}
  mod_bosh: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_http_api: {}
  mod_last: {}
  mod_mam: {default: ${options.archive ? "always" : "never"}}
  mod_muc:
    history_size: 20
    default_room_options: {mam: ${options.archive ? "true" : "false"}}
  mod_offline: {}
  mod_ping: {send_pings: false}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub: {plugins: [flat, pep]}
  mod_push: {}
  mod_roster: {versioning: true}
${options.streamManagement === false ? "" : streamManagement}  mod_time: {}
  mod_vcard: {search: false}
  mod_version: {}
`;
  }
}

function https(port: number): string {
  return `  - port: ${port}
    ip: 127.0.0.1
    module: ejabberd_http
    tls: true
    backlog: 1000
    request_handlers:
      /bosh: mod_bosh
      /ws: ejabberd_http_ws
`;
}
