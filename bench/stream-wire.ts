import type { Socket } from "node:net";
import { closed, type LoadTarget, NO_OWNER, openSocket, type Wire } from "./wire.ts";

/** A stream of its own over TCP or TLS. */
export class StreamWire implements Wire {
  readonly xmlns = "";
  onBytes: Wire["onBytes"] = NO_OWNER;
  onLost: Wire["onLost"] = NO_OWNER;
  readonly #socket: Socket;
  readonly #header: string;

  private constructor(socket: Socket, domain: string) {
    this.#socket = socket;
    this.#header = streamHeader(domain);
    socket.on("data", (chunk: Buffer) => this.onBytes(chunk));
    socket.on("error", (error) => this.onLost(error.message));
    socket.on("close", () => this.onLost("closed"));
  }

  static async connect(target: LoadTarget): Promise<StreamWire> {
    return new StreamWire(await openSocket(target), target.domain);
  }

  open(): void {
    this.#socket.write(this.#header);
  }

  write(...elements: Buffer[]): void {
    this.#socket.write(elements.length === 1 ? elements[0]! : Buffer.concat(elements));
  }

  async end(): Promise<void> {
    if (!this.#socket.destroyed) this.#socket.end("</stream:stream>");
    await closed(this.#socket);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

export function streamHeader(domain: string): string {
  return (
    `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ` +
    `version='1.0' to='${domain}' xml:lang='en'>`
  );
}
