import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type LibraryClient, type LibraryOptions, ProcessClient, type Report } from "./library-client.ts";
import { type Element, escapeXml, XmlStream } from "./xml-stream.ts";

const SOURCE = join(import.meta.dirname, "strophe-client.c");
const CACHE = join(import.meta.dirname, "../../../.cache/clients");

/** Compiles the program once per version of its source, and answers its path. */
function program(): string {
  const version = createHash("sha256").update(readFileSync(SOURCE)).digest("hex").slice(0, 16);
  const path = join(CACHE, `strophe-client-${version}`);
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  const flags = execFileSync("pkg-config", ["--cflags", "--libs", "libstrophe"], { encoding: "utf8" })
    .trim()
    .split(" ");
  const unfinished = `${path}.${process.pid}`; // another test file may be compiling it too
  execFileSync("gcc", ["-O1", "-Wall", "-Wextra", "-o", unfinished, SOURCE, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  renameSync(unfinished, path);
  return path;
}

/** libstrophe as Debian ships it, in a process of its own. It turns XEP-0198 on and resumes by itself. */
export class Strophe extends ProcessClient implements LibraryClient {
  readonly library = "libstrophe";
  readonly resendsUnacked = true;
  readonly options: LibraryOptions;

  private constructor(options: LibraryOptions) {
    super("libstrophe", program(), []);
    this.options = options;
  }

  static async login(options: LibraryOptions): Promise<Strophe> {
    const client = new Strophe(options);
    const { host = "127.0.0.1", port, user, domain, resource, password, tls = "starttls", ca } = options;
    const jid = `${user}@${domain}${resource === undefined ? "" : `/${resource}`}`;
    try {
      client.jid = (await client.call("connect", { host, port, jid, password, tls, ca }))["jid"] as string;
    } catch (error) {
      await client.stop();
      throw error;
    }
    return client;
  }

  protected encode(id: number, command: string, args: Record<string, unknown>): string {
    return [id, command, ...Object.values(args)].map((field) => escapeField(String(field))).join("\t");
  }

  async send(xml: string): Promise<void> {
    await this.call("send", { xml });
  }

  async presence(): Promise<void> {
    await this.send("<presence/>");
  }

  async message(to: string, body: string): Promise<void> {
    await this.send(
      `<message type="chat" to="${escapeXml(to)}" id="${randomUUID()}"><body>${escapeXml(body)}</body></message>`,
    );
  }

  /** Sends an iq with one child and answers the whole answer. */
  async request(type: "get" | "set", child: string, to?: string): Promise<Element> {
    const id = randomUUID();
    await this.send(`<iq type="${type}" id="${id}"${to === undefined ? "" : ` to="${escapeXml(to)}"`}>${child}</iq>`);
    const wants = (report: Report) => report.event === "stanza" && report["name"] === "iq" && report["id_attr"] === id;
    return parse((await this.events.take(wants, `the answer to ${child}`))["xml"] as string);
  }

  async fence(): Promise<void> {
    await this.request("get", '<ping xmlns="urn:xmpp:ping"/>', this.options.domain);
  }

  async cut(): Promise<void> {
    await this.call("cut");
    await this.events.take((report) => report.event === "disconnected", "the end of the connection");
  }
}

function escapeField(text: string): string {
  return text.replace(/[\\\n\t]/g, (char) => ({ "\\": "\\\\", "\n": "\\n", "\t": "\\t" })[char]!);
}

function parse(xml: string): Element {
  let parsed: Element | undefined;
  const stream = new XmlStream({
    header: () => {},
    element: (element) => {
      parsed = element;
    },
    end: () => {},
    error: (error) => {
      throw error;
    },
  });
  stream.write(Buffer.from(`<stream xmlns='jabber:client'>${xml}`));
  return parsed!;
}
