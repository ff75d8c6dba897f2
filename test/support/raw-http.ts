import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Mailbox } from "./clients/mailbox.ts";

export interface RawHttpOptions {
  port: number;
  /** PEM file: then the connection is TLS. */
  ca?: string;
  servername?: string;
  /** ALPN; none by default. */
  alpn?: string[];
}

/** Bytes towards a port for browsers, and what comes back: for requests that no library would send. */
export class RawHttp {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  received = "";
  readonly #chunks = new Mailbox<string>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      this.received += text;
      this.#chunks.push(String(text));
    });
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.once("close", () => this.#chunks.close("the connection was closed"));
  }

  static async connect({ port, ca, servername = "localhost", alpn }: RawHttpOptions): Promise<RawHttp> {
    const socket =
      ca === undefined
        ? connect({ port, host: "127.0.0.1" })
        : connectTls({
            port,
            host: "127.0.0.1",
            ca: readFileSync(ca),
            servername,
            ...(alpn && { ALPNProtocols: alpn }),
          });
    const http = new RawHttp(socket);
    await new Promise((resolve, reject) => {
      socket.once(ca === undefined ? "connect" : "secureConnect", resolve);
      socket.once("error", reject);
    });
    return http;
  }

  write(text: string | Buffer): void {
    this.socket.write(text, "latin1");
  }

  /** Waits until what came matches, and forgets it up to the end of the match. */
  async expect(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.received);
      if (match !== null) {
        this.received = this.received.slice(match.index + match[0].length);
        return match;
      }
      await this.#chunks.next(1, String(pattern)).catch((error: Error) => {
        throw new Error(`${error.message}; received ${JSON.stringify(this.received)}`);
      });
    }
  }

  /** One request without a body; its status and header, and the body as far as `Content-Length` says. */
  async request(lines: string): Promise<{ status: number; head: string; body: string }> {
    this.write(`${lines.replaceAll("\n", "\r\n")}\r\n\r\n`);
    const [head, status] = await this.expect(/HTTP\/1\.1 (\d+)[\s\S]*?\r\n\r\n/);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const [body] = length === 0 || /^HEAD /.test(lines) ? [""] : await this.expect(new RegExp(`^[\\s\\S]{${length}}`));
    return { status: Number(status), head, body };
  }

  drop(): void {
    this.socket.destroy();
  }
}
