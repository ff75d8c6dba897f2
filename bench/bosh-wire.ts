import type { Socket } from "node:net";
import { END_MS, type LoadTarget, NO_OWNER, openSocket, type Wire } from "./wire.ts";

const HTTPBIND = "http://jabber.org/protocol/httpbind";
const XBOSH = "xmlns:xmpp='urn:xmpp:xbosh'";
const BODY_END = Buffer.from("</body>");

/**
 * BOSH as a page uses it (XEP-0124, XEP-0206): two connections, a request at a time on each, and as long as there is
 * nothing to say one request that the server holds. What is written while both are busy leaves together.
 */
export class BoshWire implements Wire {
  readonly xmlns = " xmlns='jabber:client'";
  onBytes: Wire["onBytes"] = NO_OWNER;
  onLost: Wire["onLost"] = NO_OWNER;
  readonly #domain: string;
  readonly #lanes: readonly PostLane[];
  #sid = "";
  #rid = 1 + Math.floor(Math.random() * 2 ** 48);
  /** Of a request that carries nothing else: it begins a stream or ends the session. */
  #attributes: string | null = null;
  #queue: Buffer[] = [];
  #reading = false;
  #pollDue = false;
  #ended: (() => void) | null = null;

  constructor(target: LoadTarget) {
    this.#domain = target.domain;
    this.#lanes = [0, 1].map(
      () =>
        new PostLane(target, {
          ready: () => this.#pump(),
          answered: (body) => this.#answered(body),
          lost: (why) => this.#lost(why),
        }),
    );
  }

  open(): void {
    const to = ` to='${this.#domain}' xml:lang='en' ${XBOSH}`;
    this.#attributes =
      this.#sid === ""
        ? `${to} content='text/xml; charset=utf-8' hold='1' wait='60' ver='1.6' xmpp:version='1.0'`
        : `${to} xmpp:restart='true'`;
    this.#pump();
  }

  write(...elements: Buffer[]): void {
    this.#queue.push(...elements);
    if (!this.#reading) this.#pump();
  }

  async end(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    this.#attributes = " type='terminate'";
    this.#pump();
    const timer = setTimeout(() => this.#ended!(), END_MS);
    await ended;
    clearTimeout(timer);
    this.destroy();
  }

  destroy(): void {
    for (const lane of this.#lanes) lane.destroy();
  }

  #pump(): void {
    while (this.#attributes !== null || this.#queue.length > 0) {
      // Requests that overtake each other on a new connection are legal, but no more than that.
      if (this.#lanes.some((lane) => lane.connecting)) return;
      const lane = this.#lanes.find((lane) => !lane.busy);
      if (!lane) return;
      if (this.#queue.length > 0) lane.post(this.#body("", this.#queue.splice(0)));
      else {
        lane.post(this.#body(this.#attributes!, []));
        this.#attributes = null;
      }
    }
  }

  #body(attributes: string, elements: readonly Buffer[]): Buffer[] {
    const sid = this.#sid === "" ? "" : ` sid='${this.#sid}'`;
    return [Buffer.from(`<body rid='${this.#rid++}'${sid} xmlns='${HTTPBIND}'${attributes}>`), ...elements, BODY_END];
  }

  #answered(body: Buffer): void {
    const tag = body.toString("latin1", 0, body.indexOf(0x3e));
    if (tag.includes("terminate")) {
      if (this.#ended) this.#ended();
      else this.#lost(body.toString());
      return;
    }
    if (this.#sid === "") this.#sid = /\ssid=['"]([^'"]+)/.exec(tag)?.[1] ?? "";
    this.#reading = true;
    this.onBytes(body);
    this.#reading = false;
    this.#pump();
    // Whoever has been waiting for this answer may write first: then no request without content is needed.
    if (this.#idle() && !this.#pollDue) {
      this.#pollDue = true;
      setImmediate(() => {
        this.#pollDue = false;
        if (this.#idle()) this.#lanes[0]!.post(this.#body("", []));
      });
    }
  }

  /** Nothing is on its way and nothing waits. */
  #idle(): boolean {
    return this.#ended === null && this.#sid !== "" && this.#lanes.every((lane) => !lane.busy);
  }

  #lost(why: string): void {
    if (this.#ended) return;
    this.destroy();
    this.onLost(why);
  }
}

interface PostOwner {
  ready(): void;
  answered(body: Buffer): void;
  lost(why: string): void;
}

/** One HTTP/1.1 connection, opened when it is needed, that has one request on its way at most. */
class PostLane {
  readonly #target: LoadTarget;
  readonly #owner: PostOwner;
  readonly #head: string;
  #socket: Socket | null = null;
  #rest: Buffer | null = null;
  busy = false;
  connecting = false;

  constructor(target: LoadTarget, owner: PostOwner) {
    this.#target = target;
    this.#owner = owner;
    // About what a browser sends. No Accept-Encoding: answers are to be read as they come.
    this.#head =
      `POST ${target.http!.path} HTTP/1.1\r\nHost: ${target.domain}\r\nConnection: keep-alive\r\n` +
      `User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n` +
      `Accept: */*\r\nAccept-Language: en-US,en;q=0.9\r\nOrigin: https://${target.domain}\r\n` +
      `Content-Type: text/xml; charset=utf-8\r\nContent-Length: `;
  }

  post(content: readonly Buffer[]): void {
    this.busy = true;
    const length = content.reduce((sum, part) => sum + part.length, 0);
    const request = Buffer.concat([Buffer.from(`${this.#head}${length}\r\n\r\n`), ...content]);
    if (this.#socket !== null) this.#socket.write(request);
    else void this.#connect(request);
  }

  destroy(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
  }

  async #connect(request: Buffer): Promise<void> {
    this.connecting = true;
    let socket: Socket;
    try {
      socket = await openSocket(this.#target);
    } catch (error) {
      return this.#owner.lost((error as Error).message);
    } finally {
      this.connecting = false;
    }
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      if (this.busy) this.#owner.lost("closed before the answer");
    });
    socket.write(request);
    this.#owner.ready();
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    const start = bytes.indexOf("\r\n\r\n") + 4;
    const head = start < 4 ? "" : bytes.toString("latin1", 0, start);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? Number.POSITIVE_INFINITY);
    if (head !== "" && (!head.startsWith("HTTP/1.1 200") || length === Number.POSITIVE_INFINITY)) {
      return this.#owner.lost(`unexpected answer: ${head}`);
    }
    if (bytes.length < start + length) {
      this.#rest = bytes;
      return;
    }
    this.busy = false;
    if (/\r\nconnection: *close/i.test(head)) this.destroy();
    this.#owner.answered(bytes.subarray(start, start + length));
  }
}
