import { mkdirSync, writeFileSync } from "node:fs";
import { testAuthority } from "../certificates.ts";
import type { Core, CoreOptions } from "./core.ts";
import { freePorts } from "./ports.ts";
import { streamsAnswer, type Target } from "./probe.ts";
import { Program, systemAccount } from "./program.ts";

const START_LIMIT_MS = 60_000;

/** Starts Debian's Prosody. Ready when every c2s listener answers a stream. */
export async function startProsody(options: CoreOptions = {}): Promise<Prosody> {
  const ports = await freePorts("c2s", "http", "component");
  if (options.port) ports.c2s = options.port;
  const tls = options.tls ? await freePorts("direct", "https") : undefined;
  const core = new Prosody(options, ports, tls);
  try {
    await core.start();
  } catch (error) {
    const log = await core.log();
    await core.stop();
    throw new Error(`Prosody does not start: ${(error as Error).message}\n${log.slice(-4000)}`, { cause: error });
  }
  return core;
}

type Ports = Record<"c2s" | "http" | "component", number>;
type TlsPorts = Record<"direct" | "https", number>;

export class Prosody implements Core {
  readonly kind = "prosody";
  readonly host = "127.0.0.1";
  readonly domain: string;
  readonly port: number;
  readonly componentPort: number;
  readonly httpPort: number;
  readonly starttlsPort?: number;
  readonly tlsPort?: number;
  readonly httpsPort?: number;
  readonly ca?: string;
  #program: Program;
  #domains: string[];
  #hashed: boolean;

  constructor(options: CoreOptions, ports: Ports, tls: TlsPorts | undefined) {
    this.domain = options.domain ?? "localhost";
    this.#domains = [this.domain, ...(options.domains ?? [])];
    this.#hashed = options.hashedPasswords ?? false;
    this.port = ports.c2s;
    this.componentPort = ports.component;
    this.httpPort = ports.http;
    this.#program = new Program("prosody", systemAccount("prosody"));
    let certificate: CoreOptions["certificate"];
    if (tls) {
      certificate = options.certificate ?? testAuthority().issue(this.#domains);
      this.ca = certificate.ca;
      this.starttlsPort = this.port;
      this.tlsPort = tls.direct;
      this.httpsPort = tls.https;
    }
    writeFileSync(this.#program.path("prosody.cfg.lua"), this.#configuration(options, certificate));
    this.#directory("data");
    this.#directory("certs");
  }

  get dir(): string {
    return this.#program.dir;
  }

  get pid(): number {
    return this.#program.leader;
  }

  async start(): Promise<void> {
    this.#program.start("prosody", ["--config", this.#program.path("prosody.cfg.lua"), "-F"], this.#env());
    await streamsAnswer(this.#targets(), () => this.#program.running, START_LIMIT_MS);
  }

  async register(user: string, password: string, domain = this.domain): Promise<void> {
    if (this.#hashed) {
      await this.ctl("register", user, domain, password);
      return;
    }
    // Prosody reads an account anew at each login, so writing its file is all there is to do.
    const folder = this.#directory("data", encode(domain), "accounts");
    const path = `${folder}/${encode(user)}.dat`;
    writeFileSync(path, `return {\n\t["password"] = ${quote(password)};\n};\n`);
    this.#program.own(path);
  }

  async registerAll(accounts: Iterable<{ user: string; password: string; domain?: string }>): Promise<void> {
    for (const { user, password, domain } of accounts) await this.register(user, password, domain);
  }

  async sessions(): Promise<string[]> {
    const printed = await this.ctl("shell", LIST_SESSIONS);
    return [...printed.matchAll(/session:(\S+)/g)].map((match) => match[1]!);
  }

  ctl(...args: string[]): Promise<string> {
    return this.#program.run("prosodyctl", ["--config", this.#program.path("prosody.cfg.lua"), ...args], this.#env());
  }

  log(): Promise<string> {
    return this.#program.logs("prosody.log");
  }

  async stop(): Promise<void> {
    await this.#program.end();
    this.#program.remove();
  }

  async kill(): Promise<void> {
    await this.#program.kill();
  }

  async restart(): Promise<void> {
    await this.#program.end();
    await this.start();
  }

  freeze(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  #targets(): Target[] {
    const { domain } = this;
    const targets: Target[] = [{ domain, port: this.port }];
    if (this.tlsPort) targets.push({ domain, port: this.tlsPort, tls: true });
    return targets;
  }

  #env(): NodeJS.ProcessEnv {
    return { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", HOME: this.dir };
  }

  #directory(...names: string[]): string {
    for (let depth = 1; depth <= names.length; depth++) {
      const path = this.#program.path(...names.slice(0, depth));
      if (mkdirSync(path, { recursive: true })) this.#program.own(path);
    }
    return this.#program.path(...names);
  }

  #configuration(options: CoreOptions, certificate: CoreOptions["certificate"]): string {
    const maxUnacked = options.maxUnacked ?? 5000;
    const tls = certificate
      ? `ssl = { certificate = ${quote(certificate.cert)}; key = ${quote(certificate.key)}; }
c2s_direct_tls_ports = { ${this.tlsPort} }`
      : `modules_disabled = { "s2s", "tls" } -- no mod_tls: no <starttls/> offered at all
c2s_direct_tls_ports = {}`;
    return `admins = {}
data_path = ${quote(this.#program.path("data"))}
pidfile = ${quote(this.#program.path("prosody.pid"))}
admin_socket = ${quote(this.#program.path("prosody.sock"))}
log = { info = ${quote(this.#program.path("prosody.log"))} }
run_as_root = true
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { ${this.port} }
s2s_ports = {}
component_ports = { ${this.componentPort} }
component_interfaces = { "127.0.0.1" }
http_ports = { ${this.httpPort} }
https_ports = { ${this.httpsPort ?? ""} }
http_interfaces = { "127.0.0.1" }
https_interfaces = { "127.0.0.1" }
trusted_proxies = { "127.0.0.1" }
consider_bosh_secure = true
consider_websocket_secure = true
c2s_require_encryption = ${options.requireEncryption ? "true" : "false"}
allow_unencrypted_plain_auth = true
authentication = "${this.#hashed ? "internal_hashed" : "internal_plain"}"
storage = "internal"
limits = {}
c2s_stanza_size_limit = ${options.maxStanzaBytes ?? 262_144}
smacks_hibernation_time = ${options.resumeTimeout ?? 300}
smacks_max_queue_size = ${maxUnacked}
default_archive_policy = ${options.archive ? "true" : "false"}
network_settings = { tcp_backlog = 1000 }
${certificate ? 'modules_disabled = { "s2s" }' : ""}
${tls}
modules_enabled = {
	"roster"; "saslauth"; "disco"; "carbons"; "pep"; "private"; "blocklist"; "vcard4"; "vcard_legacy"; "bookmarks";
	"version"; "uptime"; "time"; "ping"; "csi"; "csi_simple"; "mam"; "bosh"; "websocket"; "posix"; "offline";
	"admin_socket"; "admin_shell"; ${options.streamManagement === false ? "" : '"smacks"; '}${certificate ? '"tls"; ' : ""}
}
${this.#domains
  .map(
    (domain) => `VirtualHost "${domain}"
Component "conference.${domain}" "muc"
	restrict_room_creation = false
	muc_room_locking = false
	${options.archive ? 'modules_enabled = { "muc_mam" }' : ""}
`,
  )
  .join("")}
Component "component.${this.domain}"
	component_secret = "secret"
`;
  }
}

// Every address with a session, dormant ones included, one on a line.
const LIST_SESSIONS = `> for jid in pairs(prosody.full_sessions) do print("session:" .. jid) end`;

// Prosody's util.datamanager: whatever is not a letter or a digit becomes %xx.
function encode(name: string): string {
  return Buffer.from(name)
    .toString("latin1")
    .replace(/[^A-Za-z0-9]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
}
