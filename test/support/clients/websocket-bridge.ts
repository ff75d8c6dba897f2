import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { type Element, XmlStream } from "./xml-stream.ts";

const FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
export const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";

export interface BridgeOptions {
  url: string;
  ca?: string;
  origin?: string;
  headers?: Record<string, string>;
  localAddress?: string;
}

/**
 * A WebSocket that looks like a TCP socket: what is written is cut into elements, one message each, and `<open/>` and
 * `<close/>` stand for the stream's tags (RFC 7395). So every client and scene for TCP can be played over WebSocket.
 */
export class WebSocketBridge extends Duplex {
  readonly ws: WebSocket;
  /** Messages as they came and went. */
  readonly received: string[] = [];
  readonly sent: string[] = [];
  /** Of the TCP connection below. */
  localPort: number | undefined;
  #parser: XmlStream;

  private constructor(ws: WebSocket) {
    super();
    this.ws = ws;
    this.#parser = this.#newParser();
    ws.on("message", (data, isBinary) => this.#message(isBinary ? "(binary)" : String(data)));
    ws.on("upgrade", ({ socket }) => {
      this.localPort = socket.localPort;
    });
    ws.on("close", () => this.destroy());
    ws.on("error", (error) => this.destroy(error));
  }

  static async connect({ url, ca, origin, headers, localAddress }: BridgeOptions): Promise<Socket> {
    const ws = new WebSocket(url, ["xmpp"], {
      ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
      ...(origin === undefined ? {} : { origin }),
      ...(headers === undefined ? {} : { headers }),
      ...(localAddress === undefined ? {} : { localAddress }),
      servername: "localhost",
      perMessageDeflate: false,
    } as object);
    const bridge = new WebSocketBridge(ws);
    bridge.on("error", () => {}); // of a handshake, before anybody listens: it is told below
    await new Promise((resolve, reject) => {
      ws.once("open", resolve);
      ws.once("error", reject);
    });
    return bridge as unknown as Socket;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    // A header begins a new stream: the scripted client restarts with one.
    if (chunk.includes("<stream:stream")) this.#parser = this.#newParser();
    this.#parser.write(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.ws.close();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.ws.terminate();
    done(error);
  }

  /** As a socket does for a client that wants to be gone. */
  resetAndDestroy(): this {
    return this.destroy();
  }

  #newParser(): XmlStream {
    return new XmlStream({
      header: (attributes) => this.#send(`<open xmlns='${FRAMING}'${attributesOf(attributes)}/>`),
      element: (element: Element) => this.#send(declared(element)),
      end: () => this.#send(`<close xmlns='${FRAMING}'/>`),
      error: (error) => this.destroy(error),
    });
  }

  #send(text: string): void {
    this.sent.push(text);
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(text);
  }

  #message(text: string): void {
    this.received.push(text);
    const [, name, attributes] =
      /^<(open|close) xmlns='urn:ietf:params:xml:ns:xmpp-framing'([^>]*)\/>$/.exec(text) ?? [];
    if (name === "open") this.push(`${HEADER}${attributes}>`);
    else if (name === "close") this.push("</stream:stream>");
    else this.push(text);
  }
}

export function attributesOf(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .filter(([name]) => !name.startsWith("xmlns"))
    .map(([name, value]) => ` ${name}='${value}'`)
    .join("");
}

// As real clients do: the namespace on every element.
export function declared({ xml }: Element): string {
  const tag = /^<[^\s/>]+[^>]*/.exec(xml)![0];
  return / xmlns=/.test(tag) ? xml : xml.replace(/^<[^\s/>]+/, (name) => `${name} xmlns='jabber:client'`);
}
