import { once } from "node:events";
import { readFileSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { client as newEntity, type XmlElement, type XmppEntity, xml } from "@xmpp/client";
import type { ChatMessage, LibraryClient, LibraryOptions } from "./library-client.ts";
import { Mailbox, PATIENCE_MS } from "./mailbox.ts";

const trusted = new Set<string>();

/** xmpp.js passes no TLS options to STARTTLS: an authority of ours can only be trusted by the whole process. */
export function trust(ca: string): void {
  if (trusted.has(ca)) return;
  trusted.add(ca);
  setDefaultCACertificates([...getCACertificates("default"), readFileSync(ca, "utf8")]);
}

interface XmppJsOptions extends LibraryOptions {
  /** The address to log in at, instead of host and port. */
  webSocket?: string;
  /** Becomes available on "online", as its users do: before the library has turned XEP-0198 on. */
  presentOnline?: boolean;
}

/** @xmpp/client, in this process. It does not reconnect by itself here, so that a test says when. */
export class XmppJs implements LibraryClient {
  readonly library = "@xmpp/client";
  readonly resendsUnacked = true;
  readonly messages = new Mailbox<ChatMessage>((message) => `${message.from}: ${message.body}`);
  /** Every stanza that arrives, messages with a body excepted. */
  readonly stanzas = new Mailbox<XmlElement>(String);
  readonly entity: XmppEntity;
  readonly options: LibraryOptions;
  /** Errors that the library has reported. */
  readonly errors: Error[] = [];

  private constructor(options: XmppJsOptions) {
    this.options = options;
    const { domain, user: username, password, resource, mechanism } = options;
    this.entity = newEntity({
      service: options.webSocket ?? serviceOf(options),
      domain,
      ...(resource === undefined ? {} : { resource }),
      ...(mechanism === undefined
        ? { username, password }
        : { credentials: (authenticate) => authenticate({ username, password }, mechanism) }),
    });
    this.entity.reconnect.stop();
    this.entity.on("error", (error: Error) => this.errors.push(error));
    this.entity.on("stanza", (stanza: XmlElement) => this.#received(stanza));
    if (options.presentOnline) this.entity.on("online", () => void this.presence());
    // Direct TLS connects to an address; the certificate is the domain's.
    const parameters = this.entity.socketParameters.bind(this.entity);
    this.entity.socketParameters = (service) =>
      options.tls === "direct" && !service.startsWith("ws")
        ? { ...parameters(service), servername: domain, ALPNProtocols: ["xmpp-client"] }
        : parameters(service);
    // COMPAT: xmpp.js 0.14 decodes each chunk by itself, which breaks a character that two chunks share.
    let decoder = new StringDecoder("utf8");
    this.entity._onData = (data) => this.entity.parser.write(decoder.write(data));
    this.entity.on("connecting", () => {
      decoder = new StringDecoder("utf8");
    });
  }

  static async login(options: XmppJsOptions): Promise<XmppJs> {
    trust(options.ca);
    const client = new XmppJs(options);
    try {
      await client.#start();
    } catch (error) {
      await client.stop();
      throw error;
    }
    return client;
  }

  // COMPAT: xmpp.js 0.14's own start() begins to wait for "online" before it has written its header, and nobody looks at a
  // failure that comes until then: a server that is quick with its refusal ends the process.
  async #start(): Promise<void> {
    const { domain, service, lang } = this.entity.options;
    await this.entity.connect(service);
    const online = once(this.entity, "online", { signal: AbortSignal.timeout(PATIENCE_MS) });
    online.catch(() => {});
    await this.entity.open({ domain, lang });
    await online;
  }

  get jid(): string {
    return this.entity.jid?.toString() ?? "";
  }

  /** Whether XEP-0198 is on. It is turned on after the login, so wait for `smEnabled` first. */
  async smEnabled(): Promise<void> {
    while (!this.entity.streamManagement.enabled) {
      await once(this.entity, "nonza", { signal: AbortSignal.timeout(PATIENCE_MS) });
      await new Promise(setImmediate); // the library handles it behind us
    }
  }

  async presence(): Promise<void> {
    await this.entity.send(xml("presence"));
  }

  async message(to: string, body: string): Promise<void> {
    await this.entity.send(xml("message", { to, type: "chat", id: crypto.randomUUID() }, xml("body", {}, body)));
  }

  async bodies(count: number): Promise<string[]> {
    return (await this.messages.next(count, "a message")).map((message) => message.body);
  }

  /** An iq to `to`, and its answer; throws its error. */
  async request(type: "get" | "set", child: XmlElement, to?: string): Promise<XmlElement> {
    return await this.entity.iqCaller.request(xml("iq", { type, to }, child), PATIENCE_MS);
  }

  async fence(): Promise<void> {
    await this.request("get", xml("ping", { xmlns: "urn:xmpp:ping" }), this.options.domain);
  }

  async cut(): Promise<void> {
    const gone = once(this.entity, "disconnect", { signal: AbortSignal.timeout(PATIENCE_MS) });
    const { socket } = this.entity;
    const transport = socket?.socket ?? socket;
    if (transport instanceof WebSocket)
      transport.close(); // it cannot be cut harder from here
    else transport?.destroy();
    await gone;
  }

  /** How the connection ended by itself. */
  async disconnected(): Promise<void> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    while (this.entity.status !== "disconnect") {
      await once(this.entity, "disconnect", { signal }).catch((error) => {
        if (signal.aborted) throw error; // a WebSocket that is cut has an error of its own first
      });
    }
  }

  async reconnect(to: { host?: string; port: number } | string = this.options): Promise<"resumed" | "new"> {
    this.entity.options.service = typeof to === "string" ? to : serviceOf({ ...this.options, ...to });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const how = Promise.race([
      once(this.entity.streamManagement, "resumed", { signal }).then(() => "resumed" as const),
      once(this.entity, "online", { signal }).then(() => "new" as const),
    ]);
    how.catch(() => {});
    await this.entity.reconnect.reconnect();
    return await how;
  }

  async stop(): Promise<void> {
    await this.entity.stop().catch(() => {});
    this.messages.close("stopped");
    this.stanzas.close("stopped");
  }

  #received(stanza: XmlElement): void {
    const body = stanza.is("message") ? stanza.getChildText("body") : null;
    if (body === null) {
      this.stanzas.push(stanza);
      return;
    }
    const { from = "", id = null, type = null } = stanza.attrs;
    this.messages.push({ from, body, id, type });
  }
}

function serviceOf({ host = "127.0.0.1", port, tls }: LibraryOptions): string {
  return `${tls === "direct" ? "xmpps" : "xmpp"}://${host}:${port}`;
}
