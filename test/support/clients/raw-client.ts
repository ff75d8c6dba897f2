import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { reset } from "../reset.ts";
import { BoshBridge } from "./bosh-bridge.ts";
import { Mailbox, PATIENCE_MS } from "./mailbox.ts";
import type { RawBoshOptions } from "./raw-bosh.ts";
import { type Gs2, Scram, type ScramHash } from "./scram.ts";
import { type BridgeOptions, WebSocketBridge } from "./websocket-bridge.ts";
import { type Element, escapeXml, XmlStream } from "./xml-stream.ts";

export interface RawClientOptions {
  host?: string;
  port?: number;
  /** Instead of host and port. */
  unixPath?: string;
  /** The same, over WebSocket: `ws://` or `wss://` with `ca`. */
  webSocket?: string | BridgeOptions;
  /** The same, over BOSH. */
  bosh?: RawBoshOptions;
  /** The stream's `to`, and the name that the certificate must have. Default "localhost". */
  domain?: string;
  /** Default "none". */
  tls?: "none" | "starttls" | "direct";
  /** PEM file of the authority to trust. */
  ca?: string;
  /** Of an earlier connection (`client.tlsSession`). */
  tlsSession?: Buffer;
  /** SNI, when it is not the domain; null sends none. */
  servername?: string | null;
  /** Default ["xmpp-client"] with Direct TLS. */
  alpn?: string[];
  /** Bytes before everything else, e.g. a PROXY header. */
  preamble?: string | Buffer;
  /** Further attributes of the stream header, as text. */
  headerAttributes?: string;
  /** How long to wait for anything. Default 20 s. */
  patienceMs?: number;
  /** Cuts the connection over TCP, whatever it is at. */
  signal?: AbortSignal;
  /** Told what it does next on its way to a session. */
  onStep?: (step: "connect" | "open" | "authenticate" | "open again" | "resume") => void;
}

export interface Credentials {
  user: string;
  password: string;
  /** Default PLAIN. */
  mechanism?: "PLAIN" | "SCRAM-SHA-1" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
  /** Default "n". */
  gs2?: Gs2;
}

export interface LoginOptions extends RawClientOptions, Credentials {
  resource?: string;
}

/** The client's half of XEP-0198. Outlives the connection: hand it to the next one. */
export interface StreamManagement {
  ns: string;
  /** Null: not resumable. */
  id: string | null;
  max: number | null;
  /** Stanzas handled, this client's `h`. */
  handled: number;
  /** Stanzas that the server has acknowledged. */
  acked: number;
  /** Sent and not acknowledged, oldest first. */
  unacked: string[];
}

const SM = "urn:xmpp:sm:3";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";

/**
 * A scripted XMPP client of our own, for wire tests and for load: shows what came over the wire and does nothing that it
 * was not asked to, except XEP-0198's duties once `enable` was called. Light enough for thousands in one process.
 */
export class RawClient {
  readonly options: RawClientOptions;
  readonly domain: string;
  /** What came and was not taken yet. */
  readonly inbox = new Mailbox<Element>((element) => element.xml);
  /** Attributes of the server's latest stream header. */
  header: Readonly<Record<string, string>> | null = null;
  /** The latest `<stream:features>`. */
  features: Element | null = null;
  /** Full address, once bound. */
  jid: string | null = null;
  sm: StreamManagement | null = null;
  /** False: `<r/>` and `<a/>` are not answered and counted but go to the inbox. */
  autoAck = true;
  /** With `autoAck`: also acknowledge unasked, after each stanza. */
  eagerAck = false;
  /** Takes the stanzas that arrive, instead of the inbox; answers to our own requests still go there. */
  onStanza: ((stanza: Element) => void) | null = null;
  /** Takes the bytes themselves: from then on nothing is parsed. For load. */
  onBytes: ((chunk: Buffer) => void) | null = null;
  bytesReceived = 0;
  bytesSent = 0;
  /** message, presence and iq. */
  stanzasReceived = 0;
  /** The newest TLS session ticket. */
  tlsSession: Buffer | null = null;
  /** Why the connection ended: "stream-end" (`</stream:stream>` came first), "fin", "error: …", "dropped". */
  readonly closed: Promise<string>;

  #tcp: Socket;
  #socket: Socket;
  #stream: XmlStream;
  #resolveClosed!: (why: string) => void;
  #endedByServer = false;
  #failure: string | null = null;
  #isClosed = false;
  /** Set from <resume/> to its answer. */
  #resuming: StreamManagement | null = null;
  /** The server counts what it sends: <enabled/> or <resumed/> came. */
  #counting = false;
  #acks = new Mailbox<number>();
  #wantsAck = false;
  #headers = new Mailbox<Readonly<Record<string, string>>>((header) => JSON.stringify(header));

  private constructor(options: RawClientOptions, tcp: Socket, socket: Socket) {
    this.options = options;
    this.domain = options.domain ?? "localhost";
    this.#tcp = tcp;
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#stream = this.#newStream();
    this.#listen(socket);
    this.#tcp.once("close", () => this.#lost());
    this.#tcp.on("error", (error) => this.#note(error));
  }

  /** Connects and, with Direct TLS, shakes hands. No stream yet. */
  static async connect(options: RawClientOptions): Promise<RawClient> {
    if (options.webSocket !== undefined) {
      const { webSocket: to, ca } = options;
      const url = typeof to === "string" ? { url: to, ...(ca === undefined ? {} : { ca }) } : to;
      const socket = await WebSocketBridge.connect(url);
      return new RawClient(options, socket, socket);
    }
    if (options.bosh !== undefined) {
      const socket = BoshBridge.connect(options.bosh);
      return new RawClient(options, socket, socket);
    }
    const tcp = options.unixPath
      ? connect({ path: options.unixPath })
      : connect({
          ...{ host: options.host ?? "127.0.0.1", port: options.port!, noDelay: true },
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
    // Before "connect": it leaves in the same tick, as an edge should do it too.
    if (options.preamble) tcp.write(options.preamble);
    if (options.tls !== "direct") {
      await happened(tcp, "connect");
      return new RawClient(options, tcp, tcp);
    }
    tcp.on("error", () => {}); // the TLS socket reports it
    const socket = connectTls({ ALPNProtocols: options.alpn ?? ["xmpp-client"], ...tlsOptions(options), socket: tcp });
    const client = new RawClient(options, tcp, socket);
    await happened(socket, "secureConnect");
    return client;
  }

  /** Connects, logs in and binds: ready for stanzas. Sends no presence. */
  static async login(options: LoginOptions): Promise<RawClient> {
    const client = await RawClient.authenticated(options);
    await client.bind(options.resource);
    return client;
  }

  /** Connects and logs in; the stream that follows is open, and nothing is bound: for `resume`. */
  static async authenticated(options: RawClientOptions & Credentials): Promise<RawClient> {
    options.onStep?.("connect");
    const client = await RawClient.connect(options);
    options.onStep?.("open");
    await client.open();
    if (options.tls === "starttls") await client.startTls();
    options.onStep?.("authenticate");
    await client.authenticate(options);
    options.onStep?.("open again");
    await client.open();
    options.onStep?.("resume");
    return client;
  }

  /** Opens a stream (also anew, on the same connection) and waits for its features. */
  async open(): Promise<Element> {
    this.features = null;
    this.#stream = this.#newStream();
    this.write(this.streamHeader());
    const patience = this.options.patienceMs ?? PATIENCE_MS;
    await this.#headers.take(() => true, "a stream header", patience);
    this.features = await this.take((element) => element.name === "features" || element.name === "error", "features");
    if (this.features.name === "error") throw new Error(`stream error: ${this.features.xml}`);
    return this.features;
  }

  streamHeader(): string {
    return (
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ` +
      `version='1.0' to='${escapeXml(this.domain)}' ${this.options.headerAttributes ?? "xml:lang='en'"}>`
    );
  }

  /** RFC 6120 §5, up to the new, encrypted stream's features. */
  async startTls(): Promise<Element> {
    this.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    const answer = await this.next();
    if (answer.name !== "proceed") throw new Error(`STARTTLS refused: ${answer.xml}`);
    await this.secure();
    return await this.open();
  }

  /** The TLS handshake alone. */
  async secure(): Promise<void> {
    this.#tcp.removeAllListeners("data");
    const socket = connectTls({ ...tlsOptions(this.options), socket: this.#tcp });
    this.#socket = socket;
    this.#listen(socket);
    await happened(socket, "secureConnect");
  }

  get socket(): Socket {
    return this.#socket;
  }

  get tls(): TLSSocket | null {
    return this.#socket === this.#tcp ? null : (this.#socket as TLSSocket);
  }

  /** Of the connections that carry it. */
  get localPorts(): readonly number[] {
    if (this.#tcp instanceof BoshBridge) return this.#tcp.localPorts;
    const port = this.#socket.localPort ?? this.#tcp.localPort;
    return port === undefined ? [] : [port];
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  mechanisms(): string[] {
    return (this.features?.child("mechanisms", SASL)?.elements ?? []).map((mechanism) => mechanism.text() ?? "");
  }

  /** SASL up to `<success/>`. Throws with the whole element on `<failure/>`. */
  async authenticate({ user, password, mechanism = "PLAIN", gs2 = "n" }: Credentials): Promise<void> {
    const scram = mechanism === "PLAIN" ? null : new Scram(SCRAM_HASH[mechanism], user, password, gs2);
    const initial = scram ? scram.first() : `\0${user}\0${password}`;
    this.write(`<auth xmlns='${SASL}' mechanism='${mechanism}'>${base64(initial)}</auth>`);
    let answer = await this.next();
    if (answer.name === "challenge" && scram) {
      this.write(`<response xmlns='${SASL}'>${base64(scram.final(plain(answer)))}</response>`);
      answer = await this.next();
    }
    if (answer.name === "challenge" && scram) {
      // The server's signature may come as one more challenge (RFC 6120 §6.4.4).
      if (!scram.isServer(plain(answer))) throw new Error("SCRAM: the server does not know the password");
      this.write(`<response xmlns='${SASL}'/>`);
      answer = await this.next();
    } else if (answer.name === "success" && scram && !scram.isServer(plain(answer))) {
      throw new Error("SCRAM: the server does not know the password");
    }
    if (answer.name !== "success") throw new Error(`login refused: ${answer.xml}`);
  }

  async bind(resource?: string): Promise<string> {
    const wish = resource === undefined ? "" : `<resource>${escapeXml(resource)}</resource>`;
    const answer = await this.request(
      `<iq type='set' id='${newId()}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>${wish}</bind></iq>`,
    );
    this.jid = answer.child("bind")?.text("jid") ?? null;
    if (this.jid === null) throw new Error(`bind refused: ${answer.xml}`);
    return this.jid;
  }

  /** Sends stanzas (each argument one), counted and kept until acknowledged once XEP-0198 is on. */
  send(...stanzas: string[]): void {
    const sm = this.sm ?? this.#resuming;
    for (const stanza of stanzas) sm?.unacked.push(stanza);
    // While a resume is under way <resumed/> sends them.
    if (!this.#resuming) this.write(stanzas.join(""));
  }

  /** Bytes as they are. Nothing is counted. */
  write(data: string | Buffer): void {
    // Node reads from TLS inside an empty write: what comes next would be handed over before what has come.
    if (this.#isClosed || data.length === 0) return;
    this.bytesSent += Buffer.byteLength(data);
    this.#socket.write(data);
  }

  /** Sends an iq and takes its answer. `xml` must have an id. */
  async request(xml: string): Promise<Element> {
    const id = /\bid=['"]([^'"]+)/.exec(xml)?.[1];
    this.send(xml);
    return await this.take(
      ({ name, attrs }) =>
        (name === "iq" && attrs["id"] === id && /result|error/.test(attrs["type"]!)) || name === "error",
      `the answer to ${xml.slice(0, 200)}`,
    );
  }

  message(to: string, body: string, id = newId()): string {
    this.send(`<message type='chat' to='${escapeXml(to)}' id='${id}'><body>${escapeXml(body)}</body></message>`);
    return id;
  }

  presence(): void {
    this.send("<presence/>");
  }

  /** Waits until the server has answered a ping: everything that it had to say before is in the inbox. */
  async fence(): Promise<void> {
    const id = newId();
    const to = escapeXml(this.domain);
    this.send(`<iq type='get' id='${id}' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`);
    await this.take(({ name, attrs }) => name === "iq" && attrs["id"] === id, "the fence's answer");
  }

  /** The next element that came, whatever it is. */
  next(): Promise<Element>;
  next(count: number): Promise<Element[]>;
  async next(count?: number): Promise<Element | Element[]> {
    const elements = await this.inbox.next(count ?? 1, "the next element", this.options.patienceMs);
    return count === undefined ? elements[0]! : elements;
  }

  /** The first element, now or later, whose bytes match. What lies before it stays in the inbox. */
  expect(pattern: RegExp): Promise<Element> {
    return this.take((element) => pattern.test(element.xml), String(pattern));
  }

  take(wants: (element: Element) => boolean, what: string): Promise<Element> {
    return this.inbox.take(wants, what, this.options.patienceMs);
  }

  /** The bodies of the messages in the inbox, which it takes out. */
  takeBodies(): string[] {
    const messages = this.inbox.items.filter((element) => element.name === "message" && element.child("body"));
    for (const message of messages) this.inbox.items.splice(this.inbox.items.indexOf(message), 1);
    return messages.map((message) => message.text("body")!);
  }

  /** Turns stream management on. */
  async enable({
    resume = true,
    max,
    ns = SM,
  }: {
    resume?: boolean;
    max?: number;
    ns?: string;
  } = {}): Promise<Element> {
    const sm: StreamManagement = { ns, id: null, max: null, handled: 0, acked: 0, unacked: [] };
    this.write(`<enable xmlns='${ns}'${resume ? " resume='true'" : ""}${max === undefined ? "" : ` max='${max}'`}/>`);
    this.sm = sm;
    const answer = await this.take(
      ({ name, ns: its }) => its === ns && (name === "enabled" || name === "failed"),
      "enabled",
    );
    if (answer.name === "failed") {
      this.sm = null;
      throw new Error(`stream management refused: ${answer.xml}`);
    }
    sm.id = answer.attrs["id"] ?? null;
    sm.max = answer.attrs["max"] === undefined ? null : Number(answer.attrs["max"]);
    return answer;
  }

  /**
   * Resumes the session that `sm` belongs to. On success what the server has not handled is sent again and the answer is
   * `<resumed/>`; otherwise the answer is `<failed/>` and `sm.unacked` holds what the server has not confirmed.
   */
  async resume(sm: StreamManagement): Promise<Element> {
    this.sm = null;
    this.#resuming = sm;
    this.write(`<resume xmlns='${sm.ns}' previd='${escapeXml(sm.id!)}' h='${sm.handled}'/>`);
    const answer = await this.take(
      ({ name, ns }) => (ns === sm.ns && (name === "resumed" || name === "failed")) || name === "error",
      "resumed",
    );
    this.#resuming = null;
    return answer;
  }

  /** Tells the server how much was handled. */
  ack(): void {
    if (this.sm) this.write(`<a xmlns='${this.sm.ns}' h='${this.sm.handled}'/>`);
  }

  /** Asks how much the server has handled, and waits until it says: everything. */
  async allAcked(): Promise<void> {
    const { sm } = this;
    if (!sm) throw new Error("stream management is off");
    while (sm.unacked.length > 0) {
      this.#wantsAck = true;
      this.write(`<r xmlns='${sm.ns}'/>`);
      await this.#acks.take(() => true, "an acknowledgement", this.options.patienceMs);
    }
  }

  /** Ends the stream politely and waits for the end of the connection. */
  async end(): Promise<string> {
    if (this.sm && this.autoAck) this.ack();
    this.write("</stream:stream>");
    // A server that keeps the connection open after its own </stream:stream> waits for ours (RFC 6120 §4.4).
    const timer = setTimeout(() => this.drop(), this.options.patienceMs ?? PATIENCE_MS);
    const why = await this.closed;
    clearTimeout(timer);
    return why;
  }

  /** Ends the transport without a word: FIN. */
  hangUp(): void {
    this.#tcp.destroy();
  }

  /** Ends the transport without a word: RST. */
  drop(): void {
    this.#failure ??= "dropped";
    reset(this.#tcp, this.#socket);
  }

  /** Stops reading: the server's view of a client that does not keep up. */
  pause(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  #newStream(): XmlStream {
    return new XmlStream({
      header: (attrs) => {
        this.header = attrs;
        this.#headers.push(attrs);
      },
      element: (element) => this.#received(element),
      end: () => {
        this.#endedByServer = true;
        this.#socket.end();
      },
      error: (error) => {
        this.#failure = `error: not well-formed: ${error.message}`;
        this.drop();
      },
    });
  }

  #received(element: Element): void {
    const { name, ns } = element;
    if (ns === "jabber:client" && (name === "message" || name === "presence" || name === "iq")) {
      this.stanzasReceived++;
      if (this.sm && this.#counting) {
        this.sm.handled = (this.sm.handled + 1) >>> 0;
        if (this.eagerAck) this.ack();
      }
      if (this.onStanza && !(name === "iq" && /^(result|error)$/.test(element.attrs["type"] ?? ""))) {
        this.onStanza(element);
        return;
      }
    } else if (ns.startsWith("urn:xmpp:sm:") && this.#managed(element)) return;
    this.inbox.push(element);
  }

  /** True when it is done with. */
  #managed(element: Element): boolean {
    switch (element.name) {
      case "enabled":
        this.#counting = true;
        return false;
      case "resumed":
        this.sm = this.#resuming;
        this.#resuming = null; // what is sent from here on, in answer to the replay, is sent
        this.#counting = true;
        if (this.sm) {
          this.#acknowledged(Number(element.attrs["h"]));
          this.write(this.sm.unacked.join(""));
        }
        return false;
      case "r":
        if (this.autoAck) this.ack();
        return this.autoAck;
      case "a":
        this.#acknowledged(Number(element.attrs["h"]));
        if (this.#wantsAck) this.#acks.push(Number(element.attrs["h"]));
        this.#wantsAck = false;
        return this.autoAck;
      default:
        return false;
    }
  }

  #acknowledged(h: number): void {
    if (!this.sm) return;
    const count = (h - this.sm.acked) >>> 0;
    if (count > this.sm.unacked.length) {
      this.#failure = `error: the server acknowledges ${h}, sent were ${this.sm.acked + this.sm.unacked.length}`;
      this.drop();
      return;
    }
    this.sm.unacked.splice(0, count);
    this.sm.acked = h;
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => {
      this.bytesReceived += chunk.length;
      if (this.onBytes) this.onBytes(chunk);
      else this.#stream.write(chunk);
    });
    if (socket === this.#tcp) return;
    socket.on("session", (session: Buffer) => {
      this.tlsSession = session;
    });
    socket.on("error", (error) => this.#note(error));
    socket.once("close", () => this.#tcp.destroy());
  }

  #note(error: Error): void {
    this.#failure ??= `error: ${error.message}`;
  }

  #lost(): void {
    this.#isClosed = true;
    const why = this.#endedByServer ? "stream-end" : (this.#failure ?? "fin");
    this.inbox.close(`connection closed (${why})`);
    this.#headers.close(`connection closed (${why})`);
    this.#acks.close(`connection closed (${why})`);
    this.#resolveClosed(why);
  }
}

const SCRAM_HASH: Record<Exclude<Credentials["mechanism"], "PLAIN" | undefined>, ScramHash> = {
  "SCRAM-SHA-1": "sha1",
  "SCRAM-SHA-256": "sha256",
  "SCRAM-SHA-512": "sha512",
};

export function newId(): string {
  return randomUUID().slice(0, 13);
}

function tlsOptions(options: RawClientOptions) {
  const { ca, tlsSession, servername = options.domain ?? "localhost" } = options;
  return {
    ...(ca ? { ca: readCa(ca) } : {}),
    ...(tlsSession ? { session: tlsSession } : {}),
    ...(servername === null ? { rejectUnauthorized: false } : { servername }),
  };
}

const authorities = new Map<string, string>();

function readCa(path: string): string {
  let pem = authorities.get(path);
  if (pem === undefined) {
    pem = readFileSync(path, "utf8");
    authorities.set(path, pem);
  }
  return pem;
}

function happened(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error(`closed before ${event}`));
    socket.once("error", reject).once("close", onClose);
    socket.once(event, () => {
      socket.off("error", reject).off("close", onClose);
      resolve();
    });
  });
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function plain(element: Element): string {
  return Buffer.from(element.text() ?? "", "base64").toString("utf8");
}
