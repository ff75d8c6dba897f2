import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { gunzipSync } from "node:zlib";
import { bodyText } from "../../support/clients/raw-bosh.ts";
import type { FakeStream } from "../../support/fake-core.ts";
import { Wire, type WireOptions } from "../../support/wire.ts";

export const XBOSH = "urn:xmpp:xbosh";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND = "urn:ietf:params:xml:ns:xmpp-bind";

export type Attributes = Readonly<Record<string, string | null>>;
export type Headers = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly head: string;
  /** Decompressed. */
  readonly text: string;
  readonly bytes: Buffer;
}

/** How requests travel: over which connections. */
export interface Channel {
  send(body: string | Buffer, headers?: Headers): Promise<Answer>;
  drop(): void;
}

/** One connection: requests go out as they come, answers come back in the order of the requests (pipelining). */
export class Pipe implements Channel {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  isClosed = false;
  /** Requests without an answer. */
  readonly #waiting: { resolve(answer: Answer): void; reject(error: Error): void }[] = [];
  #received: Buffer = Buffer.alloc(0);

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("error", () => {});
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      while (this.#parse());
    });
    this.closed = new Promise((resolve) => {
      this.socket.once("close", () => {
        this.isClosed = true;
        for (const { reject } of this.#waiting.splice(0)) reject(new Error("the connection was closed"));
        resolve();
      });
    });
  }

  get busy(): boolean {
    return this.#waiting.length > 0;
  }

  send(body: string | Buffer, headers: Headers = {}): Promise<Answer> {
    const bytes = Buffer.from(body);
    return this.write(Buffer.concat([Buffer.from(requestHead(bytes.length, headers)), bytes]));
  }

  /** A request as it stands on the wire. */
  write(bytes: string | Buffer): Promise<Answer> {
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.isClosed) reject(new Error("the connection was closed"));
      else this.#waiting.push({ resolve, reject });
    });
    answer.catch(() => {}); // who waits for it is told; nobody has to
    this.socket.write(bytes);
    return answer;
  }

  drop(): void {
    this.socket.destroy();
  }

  #parse(): boolean {
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd < 0) return false;
    const head = this.#received.toString("latin1", 0, headEnd + 4);
    const end = headEnd + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#received.length < end) return false;
    const bytes = this.#received.subarray(headEnd + 4, end);
    this.#received = this.#received.subarray(end);
    const text = (/content-encoding: gzip/i.test(head) ? gunzipSync(bytes) : bytes).toString();
    this.#waiting.shift()?.resolve({ status: Number(/ (\d+)/.exec(head)![1]), head, text, bytes });
    return true;
  }
}

export function requestHead(length: number | null, headers: Headers = {}): string {
  const all: Record<string, string> = { Host: "localhost", "Content-Type": "text/xml; charset=utf-8", ...headers };
  if (length !== null) all["Content-Length"] = String(length);
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /http-bind HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Connections that are used again when they are free, as browsers do it. */
export class KeepAlive implements Channel {
  readonly pipes: Pipe[] = [];
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  send(body: string | Buffer, headers?: Headers): Promise<Answer> {
    const free = this.pipes.find((one) => !one.busy && !one.isClosed);
    const pipe = free ?? new Pipe(this.#port);
    if (free === undefined) this.pipes.push(pipe);
    return pipe.send(body, headers);
  }

  drop(): void {
    for (const pipe of this.pipes) pipe.drop();
  }
}

/** A connection for each request. */
export class OneByOne implements Channel {
  readonly pipes: Pipe[] = [];
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  send(body: string | Buffer, headers: Headers = {}): Promise<Answer> {
    const pipe = new Pipe(this.#port);
    this.pipes.push(pipe);
    return pipe.send(body, { Connection: "close", ...headers });
  }

  drop(): void {
    for (const pipe of this.pipes) pipe.drop();
  }
}

export const CHANNELS = {
  "keep-alive connections": (port: number) => new KeepAlive(port),
  "pipelined on one connection": (port: number) => new Pipe(port),
  "one connection per request": (port: number) => new OneByOne(port),
} as const;

/** A BOSH client that does what the test says, request by request. */
export class Client {
  readonly wire: Wire;
  channel: Channel;
  sid = "";
  rid: number;
  headers: Headers = {};

  constructor(wire: Wire, channel: Channel, rid = 1_573_741_820) {
    this.wire = wire;
    this.channel = channel;
    this.rid = rid;
  }

  async open(attributes: Attributes = {}): Promise<Answer> {
    const answer = await this.channel.send(opening(this.rid, attributes), this.headers);
    this.sid = attribute(answer, "sid") ?? "";
    return answer;
  }

  async authenticate(user = "alice", password = "pw"): Promise<Answer> {
    const token = Buffer.from(`\0${user}\0${password}`).toString("base64");
    return await this.post(`<auth xmlns='${SASL}' mechanism='PLAIN'>${token}</auth>`);
  }

  restart(attributes: Attributes = {}): Promise<Answer> {
    return this.post("", { ...RESTART, to: "localhost", ...attributes });
  }

  async bind(resource = "bosh"): Promise<FakeStream> {
    const answer = await this.post(bindRequest(resource));
    assert.match(answer.text, /<jid>/);
    return await this.wire.core.nextBound();
  }

  post(payload = "", attributes: Attributes = {}): Promise<Answer> {
    return this.postAs(++this.rid, payload, attributes);
  }

  postAs(rid: number | string, payload = "", attributes: Attributes = {}): Promise<Answer> {
    return this.channel.send(this.request(rid, payload, attributes), this.headers);
  }

  request(rid: number | string, payload = "", attributes: Attributes = {}): string {
    return bodyText({ rid: String(rid), sid: this.sid, ...attributes }, payload);
  }
}

export const RESTART: Attributes = { "xmlns:xmpp": XBOSH, "xmpp:restart": "true" };

export function bindRequest(resource = "bosh"): string {
  return `<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='${BIND}'><resource>${resource}</resource></bind></iq>`;
}

export function message(body: string | number): string {
  return `<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>${body}</body></message>`;
}

/** The request for a session. */
export function opening(rid: number | string, attributes: Attributes = {}): string {
  const usual = { rid: String(rid), to: "localhost", wait: "60", hold: "1", ver: "1.11", "xml:lang": "en" };
  return bodyText({ ...usual, "xmlns:xmpp": XBOSH, "xmpp:version": "1.0", ...attributes }, "");
}

/** An attribute of the `<body/>`. */
export function attribute({ text }: Answer, name: string): string | null {
  const tag = /^<body[^>]*>/.exec(text)?.[0] ?? "";
  return new RegExp(` ${name}='([^']*)'`).exec(tag)?.[1] ?? null;
}

/** The texts of the messages in an answer. */
export function bodies({ text }: Answer): string[] {
  return [...text.matchAll(/<body>([^<]*)<\/body>/g)].map(([, body]) => body!);
}

export function isEmpty({ text }: Answer): boolean {
  return /^<body[^>]*\/>$/.test(text);
}

export interface Bosh {
  readonly wire: Wire;
  /** A client without a session. */
  client(channel?: Channel): Client;
  /** A client that has opened a session. */
  opened(attributes?: Attributes): Promise<{ client: Client; answer: Answer; core: FakeStream }>;
  /** A bound client. */
  login(options?: LoginOptions): Promise<{ client: Client; core: FakeStream }>;
}

export interface LoginOptions {
  channel?: Channel;
  attributes?: Attributes;
  headers?: Headers;
  user?: string;
}

/** A fake core, an edge and BOSH clients; nothing of it outlives the test. */
export async function bosh(t: TestContext, options: WireOptions = {}): Promise<Bosh> {
  const channels: Channel[] = [];
  const wire = await Wire.start(t, options);
  t.after(() => {
    for (const channel of channels) channel.drop();
  });
  const client = (channel: Channel = new KeepAlive(wire.edge.http)): Client => {
    channels.push(channel);
    return new Client(wire, channel);
  };
  return {
    wire,
    client,
    opened: async (attributes) => {
      const one = client();
      const answer = await one.open(attributes);
      return { client: one, answer, core: await wire.core.nextStream() };
    },
    login: async ({ channel, attributes, headers, user } = {}) => {
      const one = client(channel);
      if (headers !== undefined) one.headers = headers;
      await one.open(attributes);
      assert.match((await one.authenticate(user)).text, /<success/);
      await one.restart();
      const core = await one.bind();
      wire.core.opened.items.length = 0;
      return { client: one, core };
    },
  };
}
