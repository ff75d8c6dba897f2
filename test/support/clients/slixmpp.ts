import { join } from "node:path";
import { type LibraryClient, type LibraryOptions, ProcessClient } from "./library-client.ts";

const PROGRAM = join(import.meta.dirname, "slixmpp-client.py");
// Debian's Python, because Debian's slixmpp is only there.
const PYTHON = "/usr/bin/python3";

/** slixmpp as Debian ships it, in a process of its own. */
export class Slixmpp extends ProcessClient implements LibraryClient {
  readonly library = "slixmpp";
  // COMPAT: slixmpp 1.8.3 empties its queue when it sends <resume/>, so what was not acknowledged is lost.
  readonly resendsUnacked = false;
  readonly options: LibraryOptions;

  private constructor(options: LibraryOptions) {
    super("slixmpp", PYTHON, ["-u", PROGRAM]);
    this.options = options;
  }

  static async login(options: LibraryOptions): Promise<Slixmpp> {
    const client = new Slixmpp(options);
    const { host = "127.0.0.1", port, user, domain, resource, password, tls = "starttls", ca, mechanism } = options;
    const jid = `${user}@${domain}${resource === undefined ? "" : `/${resource}`}`;
    try {
      client.jid = (await client.call("connect", { host, port, jid, password, tls, ca, mechanism }))["jid"] as string;
    } catch (error) {
      await client.stop();
      throw error;
    }
    return client;
  }

  protected encode(id: number, command: string, args: Record<string, unknown>): string {
    return JSON.stringify({ ...args, id, do: command });
  }

  async presence(status?: string): Promise<void> {
    await this.call("presence", { status });
  }

  async message(to: string, body: string, type: "chat" | "groupchat" = "chat"): Promise<void> {
    await this.call("message", { to, body, type });
  }

  async fence(): Promise<void> {
    await this.ping(this.options.domain);
  }

  async ping(to: string): Promise<void> {
    await this.call("ping", { to });
  }

  /** Addresses and their subscription states. */
  async roster(): Promise<Record<string, string>> {
    return (await this.call("roster"))["items"] as Record<string, string>;
  }

  async addToRoster(jid: string, name: string): Promise<void> {
    await this.call("roster_add", { jid, name });
  }

  async disco(to: string): Promise<{ features: string[]; identities: string[] }> {
    return (await this.call("disco", { to })) as unknown as { features: string[]; identities: string[] };
  }

  async setVcard(name: string): Promise<void> {
    await this.call("set_vcard", { name });
  }

  /** The full name on it. */
  async vcard(jid: string): Promise<string> {
    return (await this.call("vcard", { jid }))["name"] as string;
  }

  /** The name of the software behind an address (XEP-0092). */
  async version(to: string): Promise<string> {
    return (await this.call("version", { to }))["name"] as string;
  }

  async join(room: string, nick: string): Promise<void> {
    await this.call("join", { room, nick });
  }

  async leave(room: string, nick: string): Promise<void> {
    await this.call("leave", { room, nick });
  }

  async cut(): Promise<void> {
    await this.call("cut");
  }
}
