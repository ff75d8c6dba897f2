import { createServer, type Server, type Socket } from "node:net";
import { Mailbox } from "./clients/mailbox.ts";
import { type Element, escapeXml, XmlStream } from "./clients/xml-stream.ts";

const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND = "urn:ietf:params:xml:ns:xmpp-bind";
const STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";

/** What a scripted core does; every part may be changed while it runs, and holds for what comes next. */
export interface FakeCoreScript {
  domain: string;
  /** Which XEP-0198 it offers after login, null: none. */
  sm: "urn:xmpp:sm:3" | "urn:xmpp:sm:2" | null;
  /** What it says to `<enable/>`. */
  enable: "enabled" | "not-resumable" | "failed" | "silent";
  /** Whether it answers `<r/>`; when false the test calls `ack`. */
  answersRequests: boolean;
  csi: boolean;
  mechanisms: readonly string[];
  /** Further stream features as XML, before and after login. */
  featuresBefore: string;
  featuresAfter: string;
  /** Further attributes of its opening tags. */
  headerAttributes: string;
  /** Takes a PROXY header (version 1 line or version 2) before the stream. */
  proxy: boolean;
  /** Accepts TCP and then says nothing by itself. */
  mute: boolean;
  /** An element came that the defaults would answer. True: the test has dealt with it. */
  onElement: ((stream: FakeStream, element: Element) => boolean) | null;
  /** An opening tag came. True: the test has dealt with it. */
  onHeader: ((stream: FakeStream) => boolean) | null;
}

const DEFAULTS: FakeCoreScript = {
  domain: "localhost",
  sm: "urn:xmpp:sm:3",
  enable: "enabled",
  answersRequests: true,
  csi: true,
  mechanisms: ["PLAIN", "SCRAM-SHA-1"],
  featuresBefore: "",
  featuresAfter: "",
  headerAttributes: "",
  proxy: false,
  mute: false,
  onElement: null,
  onHeader: null,
};

/**
 * A scripted XMPP server for wire tests, in this process: answers what a login needs, records everything that arrives,
 * and otherwise says what the test tells it to. PLAIN succeeds for every user with the password "pw".
 */
export class FakeCore {
  readonly script: FakeCoreScript;
  /** Every stream that was opened here, the edge's probes included. */
  readonly streams: FakeStream[] = [];
  /** Streams that nobody has taken yet. */
  readonly opened = new Mailbox<FakeStream>(() => "a stream");
  /** Bound streams that nobody has taken yet. */
  readonly bound = new Mailbox<FakeStream>((stream) => stream.jid ?? "?");
  readonly kind = "other";
  readonly #server: Server;

  private constructor(script: Partial<FakeCoreScript>) {
    this.script = { ...DEFAULTS, ...script };
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      const stream = new FakeStream(this, socket);
      this.streams.push(stream);
      this.opened.push(stream);
    });
  }

  static async listen(script: Partial<FakeCoreScript> = {}, port = 0): Promise<FakeCore> {
    const core = new FakeCore(script);
    await new Promise<void>((resolve, reject) =>
      core.#server.once("error", reject).listen({ host: "127.0.0.1", port, backlog: 1000 }, resolve),
    );
    return core;
  }

  get domain(): string {
    return this.script.domain;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** The next stream that opens, or has opened and was not taken. */
  async nextStream(): Promise<FakeStream> {
    return (await this.opened.next(1, "a stream from the edge"))[0]!;
  }

  /** The next stream that is bound, or was and was not taken. */
  async nextBound(): Promise<FakeStream> {
    return (await this.bound.next(1, "a bound stream"))[0]!;
  }

  /** Forgets what came so far, e.g. the edge's probe. */
  forget(): void {
    this.streams.length = 0;
    this.opened.items.length = 0;
    this.bound.items.length = 0;
  }

  /** Accepts nobody any more; streams stay. */
  async stopListening(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      // A server with open connections never closes; it no longer listens all the same.
      setImmediate(resolve);
    });
  }

  async close(): Promise<void> {
    for (const stream of this.streams) stream.cut();
    await this.stopListening();
  }
}

/** How a stream to the fake core ended: with `</stream:stream>` first, or without a word. */
export type StreamEnd = "stream-end" | "fin" | "reset";

/** One stream of the edge, seen from its core. */
export class FakeStream {
  readonly core: FakeCore;
  readonly socket: Socket;
  /** First-level elements that came, oldest first, `<r/>` and `<a/>` included. */
  readonly elements: Element[] = [];
  /** The same, less what was taken. */
  readonly inbox = new Mailbox<Element>((element) => element.xml);
  /** Attributes of the opening tags that came. */
  readonly headers: Readonly<Record<string, string>>[] = [];
  /** All bytes that came, PROXY header excluded. */
  raw = "";
  proxyHeader: Buffer | null = null;
  user: string | null = null;
  jid: string | null = null;
  authenticated = false;
  /** Set by `<enable/>`. */
  sm: { ns: string; id: string; max: string | null } | null = null;
  /** Stanzas that came since `<enable/>`, and stanzas that were sent since `<enabled/>`. */
  handled = 0;
  sent = 0;
  /** Every `h` that the edge acknowledged. */
  readonly acks: number[] = [];
  readonly ended: Promise<StreamEnd>;
  isEnded = false;
  #parser: XmlStream;
  #saidEnd = false;
  #resolveEnded!: (end: StreamEnd) => void;

  constructor(core: FakeCore, socket: Socket) {
    this.core = core;
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#parser = this.#newParser();
    let failed = false;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("error", () => {
      failed = true;
    });
    socket.on("end", () => {
      this.#finish(this.#saidEnd ? "stream-end" : "fin");
      socket.end();
    });
    socket.on("close", () => this.#finish(this.#saidEnd ? "stream-end" : failed ? "reset" : "fin"));
  }

  /** The last `h` that the edge told. */
  get acked(): number {
    return this.acks.at(-1) ?? 0;
  }

  /** Sends stanzas, counted. */
  send(...stanzas: string[]): void {
    this.sent += stanzas.length;
    this.write(stanzas.join(""));
  }

  /** Bytes as they are. */
  write(data: string | Buffer): void {
    if (!this.socket.destroyed && this.socket.writable) this.socket.write(data);
  }

  /** A numbered message from `from`. */
  message(body: string, { from = "bob@localhost/x", attributes = "" } = {}): void {
    this.send(`<message from='${from}' to='${this.jid}' type='chat' ${attributes}><body>${body}</body></message>`);
  }

  /** Confirms what came, or lies. */
  ack(h = this.handled): void {
    this.write(`<a xmlns='${this.sm?.ns}' h='${h}'/>`);
  }

  request(): void {
    this.write(`<r xmlns='${this.sm?.ns}'/>`);
  }

  /** A stream error and the end of the stream. */
  error(condition: string): void {
    this.write(`<stream:error><${condition} xmlns='${STREAM_ERRORS}'/></stream:error></stream:stream>`);
    this.socket.end();
  }

  /** RST. */
  cut(): void {
    // After a FIN the kernel takes no reset, and Node would leave the handle open.
    if (this.socket.writableEnded) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** FIN without a word. */
  fin(): void {
    this.socket.end();
  }

  /** Stops reading, and goes on. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** The first element, now or later, whose bytes match; what lies before it stays. */
  expect(pattern: RegExp): Promise<Element> {
    return this.inbox.take((element) => pattern.test(element.xml), `${pattern} at the core`);
  }

  /** Waits until the edge has told this `h`, in whatever way. */
  async acknowledged(h: number): Promise<void> {
    while (this.acked !== h) await this.inbox.take((element) => element.name === "a", `<a h='${h}'/> at the core`);
  }

  /** Stanzas that came since the stream was bound, as they stood on the wire. */
  get stanzas(): string[] {
    return this.elements.filter((element) => isStanza(element) && !element.child("bind", BIND)).map(({ xml }) => xml);
  }

  /** Opening tag and stream features. */
  answerHeader(): void {
    this.write(this.header() + this.features());
  }

  header(): string {
    const { domain, headerAttributes } = this.core.script;
    return (
      `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ` +
      `version='1.0' id='fake-${Math.random().toString(36).slice(2)}' from='${escapeXml(domain)}' ${headerAttributes}>`
    );
  }

  features(): string {
    const { script } = this.core;
    if (!this.authenticated) {
      const list = script.mechanisms.map((name) => `<mechanism>${name}</mechanism>`).join("");
      return `<stream:features>${script.featuresBefore}<mechanisms xmlns='${SASL}'>${list}</mechanisms></stream:features>`;
    }
    const sm = script.sm === null ? "" : `<sm xmlns='${script.sm}'/>`;
    const csi = script.csi ? "<csi xmlns='urn:xmpp:csi:0'/>" : "";
    return `<stream:features><bind xmlns='${BIND}'/>${sm}${csi}${script.featuresAfter}</stream:features>`;
  }

  /** The credentials are good: the next stream is an authenticated one. */
  succeed(user: string, data = ""): void {
    this.user = user;
    this.authenticated = true;
    this.#parser = this.#newParser();
    this.write(`<success xmlns='${SASL}'>${data}</success>`);
  }

  #received(chunk: Buffer): void {
    if (this.core.script.proxy && this.proxyHeader === null) {
      const length = proxyLength(chunk);
      this.proxyHeader = chunk.subarray(0, length);
      chunk = chunk.subarray(length);
    }
    this.raw += chunk.toString("utf8");
    if (!this.core.script.mute) this.#parser.write(chunk);
  }

  #newParser(): XmlStream {
    return new XmlStream({
      header: (attrs) => {
        this.headers.push(attrs);
        if (!this.core.script.onHeader?.(this)) this.answerHeader();
      },
      element: (element) => this.#element(element),
      end: () => {
        this.#saidEnd = true;
        this.write("</stream:stream>");
        this.socket.end();
      },
      error: (error) => {
        this.write(`<stream:error><not-well-formed xmlns='${STREAM_ERRORS}'/></stream:error></stream:stream>`);
        this.inbox.close(`the edge sent what is not XML: ${error.message}`);
        this.socket.end();
      },
    });
  }

  #element(element: Element): void {
    this.elements.push(element);
    if (this.sm !== null && isStanza(element)) this.handled++;
    if (element.name === "a" && element.ns.startsWith("urn:xmpp:sm:")) this.acks.push(Number(element.attrs["h"]));
    this.inbox.push(element);
    if (!this.core.script.onElement?.(this, element)) this.#answer(element);
  }

  #answer(element: Element): void {
    const { script } = this.core;
    const { name, ns, attrs } = element;
    if (ns === SASL && name === "auth") return this.#authenticate(element);
    if (ns === SASL && name === "abort") return this.write(`<failure xmlns='${SASL}'><aborted/></failure>`);
    if (ns.startsWith("urn:xmpp:sm:")) {
      if (name === "enable") this.#enable(element);
      else if (name === "r" && script.answersRequests) this.ack();
      return;
    }
    if (name !== "iq" || (attrs["type"] !== "get" && attrs["type"] !== "set")) return;
    const wish = element.child("bind", BIND);
    if (wish === undefined) return this.send(`<iq type='result' id='${escapeXml(attrs["id"] ?? "")}'/>`);
    this.jid = `${this.user}@${script.domain}/${wish.text("resource") ?? "fake"}`;
    this.write(
      `<iq type='result' id='${escapeXml(attrs["id"] ?? "")}'><bind xmlns='${BIND}'><jid>${escapeXml(this.jid)}</jid></bind></iq>`,
    );
    this.core.bound.push(this);
  }

  #authenticate(element: Element): void {
    const [, user, password] = Buffer.from(element.text() ?? "", "base64")
      .toString("utf8")
      .split("\0");
    if (element.attrs["mechanism"] === "PLAIN" && password === "pw") return this.succeed(user!);
    this.write(
      `<failure xmlns='${SASL}'><not-authorized/><text xml:lang='en'>Invalid username or password</text></failure>`,
    );
  }

  #enable({ ns, attrs }: Element): void {
    const { enable } = this.core.script;
    if (enable === "silent") return;
    if (enable === "failed") {
      return this.write(
        `<failed xmlns='${ns}'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`,
      );
    }
    this.sm = { ns, id: `core-${this.jid}`, max: attrs["max"] ?? null };
    this.handled = this.sent = 0;
    const how = enable === "enabled" ? ` id='${escapeXml(this.sm.id)}' resume='true' max='300'` : "";
    this.write(`<enabled xmlns='${ns}'${how}/>`);
  }

  #finish(end: StreamEnd): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.inbox.close(`the edge closed the core stream (${end})`);
    this.#resolveEnded(end);
  }
}

function isStanza({ name, ns }: Element): boolean {
  return ns === "jabber:client" && (name === "message" || name === "presence" || name === "iq");
}

function proxyLength(chunk: Buffer): number {
  return chunk[0] === 0x0d ? 16 + chunk.readUInt16BE(14) : chunk.indexOf("\r\n") + 2;
}
