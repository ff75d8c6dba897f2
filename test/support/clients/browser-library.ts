import { readFileSync } from "node:fs";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import * as stanza from "stanza";
import { $msg, $pres, Strophe as StropheJs } from "strophe.js";
import { Mailbox, PATIENCE_MS } from "./mailbox.ts";

export interface BrowserOptions {
  /** `wss://` for WebSocket, `https://` for BOSH. */
  url: string;
  domain: string;
  user: string;
  password: string;
  resource: string;
  /** PEM file of the authority to trust. */
  ca: string;
}

/** What the tests want of a library for browsers, here in Node. */
export interface BrowserClient {
  readonly library: string;
  readonly jid: string;
  /** Bodies of messages that have come and were not taken. */
  readonly bodies: Mailbox<string>;
  message(to: string, body: string): Promise<void>;
  /** Ends the session politely. */
  stop(): Promise<void>;
}

const trusted = new Set<string>();

// A browser has one set of authorities, and these libraries have no way to name another.
export function trustEverywhere(ca: string): void {
  if (trusted.has(ca)) return;
  trusted.add(ca);
  setDefaultCACertificates([...getCACertificates("default"), readFileSync(ca, "utf8")]);
}

StropheJs.setLogLevel(StropheJs.LogLevel.FATAL);

/** strophe.js: no XEP-0198. */
export async function loginStrophe(options: BrowserOptions): Promise<BrowserClient> {
  trustEverywhere(options.ca);
  const bodies = new Mailbox<string>();
  const connection = new StropheJs.Connection(options.url);
  connection.addHandler(
    (message: { getElementsByTagName(name: string): ArrayLike<{ textContent: string | null }> }) => {
      const body = message.getElementsByTagName("body")[0]?.textContent;
      if (body != null) bodies.push(body);
      return true;
    },
    "jabber:client",
    "message",
  );
  const status = new Mailbox<number>(String);
  const { user, domain, resource, password } = options;
  connection.connect(`${user}@${domain}/${resource}`, password, (now: number) => {
    status.push(now);
    return true;
  });
  const { CONNECTED, AUTHFAIL, CONNFAIL, DISCONNECTED } = StropheJs.Status;
  const first = await status.take((now) => [CONNECTED, AUTHFAIL, CONNFAIL].includes(now), "a login by strophe.js");
  if (first !== CONNECTED) throw new Error(`strophe.js could not log in: status ${first}`);
  connection.send($pres());
  connection.flush();
  return {
    library: "strophe.js",
    jid: connection.jid,
    bodies,
    message: async (to, body) => {
      connection.send($msg({ to, type: "chat" }).c("body").t(body));
      connection.flush();
    },
    stop: async () => {
      connection.disconnect("done");
      await status.take((now) => now === DISCONNECTED, "the end of strophe.js");
    },
  };
}

export interface StanzaClient extends BrowserClient {
  /** The WebSocket dies; the library keeps its XEP-0198 state. */
  cut(): Promise<void>;
  /** The connection has ended by itself. */
  disconnected(): Promise<void>;
  reconnect(url?: string): Promise<"resumed" | "new">;
}

/** stanza (formerly stanza.io), used as its README shows; it enables XEP-0198 right behind the presence that it is told to send. */
export async function loginStanza(options: BrowserOptions): Promise<StanzaClient> {
  trustEverywhere(options.ca);
  const bodies = new Mailbox<string>();
  const events = new Mailbox<string>();
  const { user, domain, resource, password } = options;
  const settings = (url: string) => ({
    jid: `${user}@${domain}`,
    resource,
    password,
    transports: url.startsWith("https:") ? { websocket: false, bosh: url } : { websocket: url, bosh: false },
    autoReconnect: false,
  });
  const client = stanza.createClient(settings(options.url));
  client.on("message", ({ body }) => void (body !== undefined && bodies.push(body)));
  client.on("session:started", () => {
    events.push("new");
    client.getRoster().catch(() => {});
    client.sendPresence();
  });
  client.on("stream:management:resumed", () => events.push("resumed"));
  client.on("auth:failed", () => events.push("failed"));
  client.on("stream:error", (error) => events.push(`error: ${error.condition}`));
  client.on("disconnected", () => events.push("disconnected"));
  const connected = async (): Promise<"resumed" | "new"> => {
    client.connect();
    const what = await events.take((event) => event !== "disconnected", "a login by stanza", PATIENCE_MS);
    if (what !== "new" && what !== "resumed") throw new Error(`stanza could not log in: ${what}`);
    return what;
  };
  const disconnected = async () => void (await events.take((event) => event === "disconnected", "stanza's disconnect"));
  await connected();
  return {
    library: "stanza",
    get jid() {
      return client.jid;
    },
    bodies,
    message: async (to, body) => void client.sendMessage({ to, body, type: "chat" }),
    cut: async () => {
      (client.transport as unknown as { socket: { close(): void } }).socket.close();
      await disconnected();
    },
    disconnected,
    reconnect: async (url = options.url) => {
      client.updateConfig(settings(url));
      return await connected();
    },
    stop: async () => {
      client.disconnect();
      await events.take((event) => event === "disconnected", "stanza's end");
    },
  };
}
