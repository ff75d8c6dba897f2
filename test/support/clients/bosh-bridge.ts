import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { PATIENCE_MS } from "./mailbox.ts";
import { type BoshAnswer, bodyText, RawBosh, type RawBoshOptions } from "./raw-bosh.ts";
import { attributesOf, declared, HEADER } from "./websocket-bridge.ts";
import { type Element, XmlStream } from "./xml-stream.ts";

const XBOSH = { "xmlns:xmpp": "urn:xmpp:xbosh" };

/** Requests that a client may have open (hold and one). */
const OPEN = 2;

/**
 * A BOSH session that looks like a TCP socket, as WebSocketBridge does for WebSocket. One request is always open; what is
 * written goes with the next one. A request whose connection breaks is sent again, as it was (XEP-0124 §14.3).
 */
export class BoshBridge extends Duplex {
  readonly bosh: RawBosh;
  #parser: XmlStream;
  #payload: string[] = [];
  // Attributes of the next request, which then goes alone.
  #attributes: Record<string, string> | null = null;
  #open = 0;
  // The next answer to be read, and those that came before their turn.
  #due: number;
  readonly #early = new Map<number, BoshAnswer>();
  #ended = false;
  #over = false;

  private constructor(options: RawBoshOptions) {
    super();
    this.bosh = new RawBosh(options, 1 + Math.floor(Math.random() * 2 ** 48));
    this.#due = this.bosh.rid + 1;
    this.#parser = this.#newParser();
  }

  static connect(options: RawBoshOptions): Socket {
    return new BoshBridge(options) as unknown as Socket;
  }

  /** Of the connections that are in use. */
  get localPorts(): readonly number[] {
    const { sockets, freeSockets } = this.bosh.agent;
    return [...Object.values(sockets), ...Object.values(freeSockets)].flatMap((list) =>
      (list ?? []).map((socket) => (socket as Socket).localPort ?? 0),
    );
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    // The scripted client acknowledges what comes even behind its own end, which no server reads.
    if (this.#ended) return done();
    if (chunk.includes("<stream:stream")) this.#parser = this.#newParser();
    this.#parser.write(chunk);
    this.#pump();
    done();
  }

  override _final(done: () => void): void {
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#over = true;
    this.bosh.drop();
    done(error);
  }

  /** As a socket does for a client that wants to be gone. */
  resetAndDestroy(): this {
    return this.destroy();
  }

  #newParser(): XmlStream {
    return new XmlStream({
      header: (attributes) => this.#header(attributes),
      element: (element: Element) => void this.#payload.push(declared(element)),
      end: () => {
        this.#ended = true;
        this.#attributes = { type: "terminate" };
      },
      error: (error) => this.destroy(error),
    });
  }

  #header(attributes: Readonly<Record<string, string>>): void {
    if (this.bosh.sid === "") return void this.#create();
    this.#attributes = { ...XBOSH, "xmpp:restart": "true" };
    this.push(`${HEADER}${attributesOf(attributes)}>`);
  }

  async #create(): Promise<void> {
    this.#open++;
    try {
      const answer = await this.bosh.open();
      this.#open--;
      const { from = "", authid = "" } = answer.body?.attrs ?? {};
      this.push(`${HEADER} from='${from}' id='${authid}' version='1.0'>`);
      this.#read(answer);
      this.#pump();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #pump(): void {
    if (this.bosh.sid === "" || this.#over) return;
    while (this.#open < OPEN && (this.#open === 0 || this.#payload.length > 0 || this.#attributes !== null)) {
      const payload = this.#payload.splice(0).join("");
      const attributes = payload === "" ? this.#attributes : null;
      if (attributes !== null) this.#attributes = null;
      const rid = ++this.bosh.rid;
      this.#open++;
      void this.#post(rid, bodyText({ rid: String(rid), sid: this.bosh.sid, ...attributes }, payload));
    }
  }

  async #post(rid: number, body: string): Promise<void> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      if (this.#over) return;
      try {
        const answer = await this.bosh.send(body);
        // The same request came again meanwhile: this is the older one.
        if (answer.body?.attrs["type"] === "error") return;
        this.#early.set(rid, answer);
        break;
      } catch (error) {
        if (performance.now() > until) return void this.destroy(error as Error);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    for (let next = this.#early.get(this.#due); next !== undefined; next = this.#early.get(this.#due)) {
      this.#early.delete(this.#due++);
      this.#open--;
      this.#read(next);
    }
    this.#pump();
  }

  #read({ status, text, body }: BoshAnswer): void {
    if (this.#over) return;
    if (status !== 200 || body === null) return void this.destroy(new Error(`HTTP ${status}: ${text}`));
    const [, content] = /^<body[^>]*[^/]>([\s\S]*)<\/body>$/.exec(text) ?? [];
    if (content) this.push(content);
    if (body.attrs["type"] !== "terminate") return;
    this.#over = true;
    this.push("</stream:stream>");
    this.push(null);
    this.destroy();
  }
}
