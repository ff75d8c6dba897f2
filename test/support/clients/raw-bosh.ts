import { readFileSync } from "node:fs";
import { Agent, type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { type Element, escapeXml, XmlStream } from "./xml-stream.ts";

export interface RawBoshOptions {
  port: number;
  /** PEM file of the authority to trust: then requests go over TLS. */
  ca?: string;
  path?: string;
  domain?: string;
  /** Further attributes of the request for a session, and those that replace the usual ones (null: leave out). */
  attributes?: Readonly<Record<string, string | null>>;
  /** Further headers of all requests. */
  headers?: Readonly<Record<string, string>>;
}

export interface BoshAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Null when the answer is no XML. */
  readonly body: Element | null;
}

const HTTP_BIND = "http://jabber.org/protocol/httpbind";
const XBOSH = "urn:xmpp:xbosh";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND = "urn:ietf:params:xml:ns:xmpp-bind";

/** A BOSH client for wire tests: sends what it is told to, request by request, and shows each answer. */
export class RawBosh {
  readonly options: RawBoshOptions;
  readonly agent: Agent;
  sid = "";
  rid: number;
  jid = "";

  constructor(options: RawBoshOptions, rid = 1_573_741_820) {
    this.options = options;
    this.rid = rid;
    const keep = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY };
    this.agent =
      options.ca === undefined
        ? new Agent(keep)
        : new TlsAgent({ ...keep, ca: readFileSync(options.ca), servername: options.domain ?? "localhost" });
  }

  /** Opens a session; answers the session creation response. */
  async open(): Promise<BoshAnswer> {
    const attributes: Record<string, string | null> = {
      rid: String(this.rid),
      to: this.options.domain ?? "localhost",
      wait: "60",
      hold: "1",
      ver: "1.11",
      "xml:lang": "en",
      "xmlns:xmpp": XBOSH,
      "xmpp:version": "1.0",
      ...this.options.attributes,
    };
    const answer = await this.send(bodyText(attributes, ""));
    this.sid = answer.body?.attrs["sid"] ?? "";
    return answer;
  }

  /** Opens a session, logs in with PLAIN, restarts the stream and binds. */
  static async login(
    options: RawBoshOptions & { user: string; password: string; resource?: string },
  ): Promise<RawBosh> {
    const client = new RawBosh(options);
    await client.open();
    await client.authenticate(options);
    await client.bind(options.resource);
    return client;
  }

  async authenticate({ user, password }: { user: string; password: string }): Promise<void> {
    const token = Buffer.from(`\0${user}\0${password}`).toString("base64");
    const answer = await this.post(`<auth xmlns='${SASL}' mechanism='PLAIN'>${token}</auth>`);
    if (!answer.body?.child("success", SASL)) throw new Error(`no success: ${answer.text}`);
  }

  async restart(): Promise<BoshAnswer> {
    return await this.post("", { "xmlns:xmpp": XBOSH, "xmpp:restart": "true", to: this.options.domain ?? "localhost" });
  }

  async bind(resource = "bosh"): Promise<void> {
    await this.restart();
    const answer = await this.post(
      `<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='${BIND}'><resource>${resource}</resource></bind></iq>`,
    );
    this.jid = answer.body?.child("iq")?.child("bind")?.text("jid") ?? "";
    if (this.jid === "") throw new Error(`no bind: ${answer.text}`);
  }

  /** The next request in order. */
  post(payload = "", attributes: Readonly<Record<string, string | null>> = {}): Promise<BoshAnswer> {
    return this.postAs(++this.rid, payload, attributes);
  }

  /** A request with a `rid` of the test's choice. */
  postAs(
    rid: number | string,
    payload = "",
    attributes: Readonly<Record<string, string | null>> = {},
  ): Promise<BoshAnswer> {
    return this.send(bodyText({ rid: String(rid), sid: this.sid, ...attributes }, payload));
  }

  /** Any bytes as a request of its own. */
  send(
    body: string | Buffer,
    headers: Readonly<Record<string, string>> = {},
    signal?: AbortSignal,
  ): Promise<BoshAnswer> {
    const { port, ca, path = "/http-bind", domain = "localhost" } = this.options;
    const bytes = Buffer.from(body);
    return new Promise((resolve, reject) => {
      const request = (ca === undefined ? plainRequest : tlsRequest)(
        {
          agent: this.agent,
          host: "127.0.0.1",
          port,
          path,
          method: "POST",
          headers: {
            Host: domain,
            "Content-Type": "text/xml; charset=utf-8",
            "Content-Length": bytes.length,
            ...this.options.headers,
            ...headers,
          },
          ...(signal && { signal }),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            resolve({ status: response.statusCode!, headers: response.headers, text, body: parsed(text) });
          });
        },
      );
      request.on("error", reject);
      request.end(bytes);
    });
  }

  /** Drops all connections; nobody is told. */
  drop(): void {
    this.agent.destroy();
  }
}

/** A `<body/>` as a client writes it. */
export function bodyText(attributes: Readonly<Record<string, string | null>>, payload: string): string {
  const text = Object.entries(attributes)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => ` ${name}='${escapeXml(value!)}'`)
    .join("");
  return `<body xmlns='${HTTP_BIND}'${text}>${payload}</body>`;
}

function parsed(text: string): Element | null {
  let body: Element | null = null;
  const stream = new XmlStream({
    header: () => {},
    element: (element) => {
      body = element;
    },
    end: () => {},
    error: () => {
      body = null;
    },
  });
  stream.write(Buffer.from(`<stream>${text}`));
  return body;
}
