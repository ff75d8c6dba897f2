import type { IncomingMessage, ServerResponse } from "node:http";
import { gunzipSync } from "node:zlib";
import { messageOf } from "../../base/errors.ts";
import type { Endpoint, Link, LinkOwner } from "../../session/ports.ts";
import type { FramerLimits } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { domainKey } from "../../xmpp/jid.ts";
import type { Admission } from "../admission.ts";
import { contentEncoding, readBody } from "../http/body.ts";
import { mayConnect } from "../http/origins.ts";
import { answer, type HttpRoute, httpRefused } from "../http/route.ts";
import { bytesFromClient } from "../links.ts";
import { type Condition, statusFor, terminal } from "./answers.ts";
import { type Body, BodyError, readBodyElement, readNumber, sidIn } from "./body.ts";
import { BoshLink, type BoshLinkHost, boshRefused } from "./bosh-link.ts";
import { Exchange, type Reply } from "./exchange.ts";
import { termsFor, versionFor } from "./terms.ts";

/** What a `<body/>` may add to the stanzas in it. */
const BODY_BYTES = 4096;
const USUAL_TYPE = "text/xml; charset=utf-8";

export interface BoshHost extends Omit<BoshLinkHost, "left" | "forgotten"> {
  readonly admission: Admission;
  origins(): readonly string[];
  domains(): ReadonlySet<string>;
  limits(): { readonly beforeLogin: FramerLimits; readonly afterLogin: FramerLimits };
  welcome(link: Link): LinkOwner;
}

interface Known {
  readonly link: BoshLink;
  readonly contentType: string;
}

/** BOSH (XEP-0124): finds the session that a request belongs to, or opens one. */
export class BoshPort implements HttpRoute {
  readonly path: string;
  /** XEP-0124 has no GET; the script syntax of its early versions is refused with it. */
  readonly methods = ["POST", "OPTIONS"];
  readonly #host: BoshHost;
  readonly #linkHost: BoshLinkHost;
  readonly #sessions = new Map<string, Known>();

  constructor(host: BoshHost) {
    this.#host = host;
    this.path = host.options().path;
    this.#linkHost = {
      clock: host.clock,
      janitor: host.janitor,
      log: host.log,
      options: () => host.options(),
      newSid: () => host.newSid(),
      left: (link) => host.admission.leave(link.client.address),
      forgotten: (link) => this.#sessions.delete(link.sid),
    };
  }

  handle(request: IncomingMessage, response: ServerResponse, client: Endpoint, server: Endpoint): void {
    const { origin } = request.headers;
    if (!mayConnect(origin, this.#host.domains(), this.#host.origins())) {
      this.#host.log.info("page of another origin refused", { client: client.address, origin: origin ?? "" });
      httpRefused.inc("origin");
      return answer(response, 403, "Pages of this origin may not connect here", { Connection: "close" });
    }
    const cors: Readonly<Record<string, string>> =
      origin === undefined ? {} : { "Access-Control-Allow-Origin": origin, Vary: "Origin" };
    if (request.method === "OPTIONS") return preflight(response, cors);
    const encoding = contentEncoding(request);
    if (encoding === null) {
      httpRefused.inc("encoding");
      return answer(response, 415, "gzip or no encoding", { ...cors, "Accept-Encoding": "gzip", Connection: "close" });
    }
    const connection = client.port === 0 ? null : client.port;
    const reply = { response, headers: cors, gzip: acceptsGzip(request.headers["accept-encoding"]), connection };
    const maxBytes = this.#host.limits().beforeLogin.maxBytes + BODY_BYTES;
    let link: BoshLink | null = null;
    const raise = (soFar: Buffer): number => {
      link = this.#find(sidIn(soFar))?.link ?? null;
      return link?.loggedIn ? this.#maxBytes : maxBytes;
    };
    // What is compressed does not say whose it is.
    readBody(request, encoding === "gzip" ? { maxBytes } : { maxBytes, raise }, (body) => {
      if (body === "aborted") return;
      if (body === "too-large") return this.#tooLarge(reply, link);
      bytesFromClient.value += body.length;
      const bytes = encoding === "gzip" ? this.#inflated(body) : body;
      if (bytes === null) return this.#refuse(reply, "bad-request");
      this.#take(bytes, reply, client, server);
    });
  }

  /** Whether a session with this id is here. */
  has(sid: string): boolean {
    return this.#sessions.has(sid);
  }

  get #maxBytes(): number {
    return this.#host.limits().afterLogin.maxBytes + BODY_BYTES;
  }

  #find(sid: string | null | undefined): Known | null {
    return sid == null ? null : (this.#sessions.get(sid) ?? null);
  }

  // Stops at the limit: a bomb is not inflated further.
  #inflated(body: Buffer): Buffer | null {
    try {
      return gunzipSync(body, { maxOutputLength: this.#maxBytes });
    } catch {
      return null;
    }
  }

  #tooLarge(reply: Reply, link: BoshLink | null): void {
    httpRefused.inc("body_size");
    answer(reply.response, 413, "The body is too large", { ...reply.headers, Connection: "close" });
    link?.refuse(new FramingError("policy-violation", "a <body/> longer than a stanza may be"));
  }

  #take(bytes: Buffer, reply: Reply, client: Endpoint, server: Endpoint): void {
    let body: Body;
    try {
      body = readBodyElement(bytes);
    } catch (thrown) {
      return this.#malformed(reply, this.#find(sidIn(bytes))?.link ?? null, false, thrown, client);
    }
    const rid = readNumber(body.attributes.get("rid"));
    const sid = body.attributes.get("sid");
    const known = this.#find(sid);
    if (rid === null || rid === 0) {
      const legacy = sid === undefined && versionFor(body.attributes.get("ver")) === null;
      const error = new BodyError("rid is a positive number up to 2^53 - 1");
      return this.#malformed(reply, known?.link ?? null, legacy, error, client);
    }
    const maxBytes = known?.link.maxBytes ?? this.#host.limits().beforeLogin.maxBytes;
    if (bytes.length > maxBytes + BODY_BYTES) return this.#tooLarge(reply, known?.link ?? null);
    if (sid === undefined) return this.#open(rid, body, reply, client, server);
    if (known === null) return this.#refuse(reply, "item-not-found");
    known.link.request(new Exchange(rid, body, typed(reply, known.contentType), this.#host.clock.now()));
  }

  // Who knows the sid is the client: its session is over.
  #malformed(reply: Reply, link: BoshLink | null, legacy: boolean, thrown: unknown, client: Endpoint): void {
    const detail = messageOf(thrown);
    this.#host.log.info("BOSH request refused", { client: client.address, detail });
    this.#refuse(reply, "bad-request", link?.legacy ?? legacy);
    link?.refuse(thrown instanceof FramingError ? thrown : new FramingError("bad-format", detail));
  }

  #open(rid: number, body: Body, reply: Reply, client: Endpoint, server: Endpoint): void {
    const { attributes } = body;
    const terms = termsFor(attributes, this.#host.options());
    const legacy = terms.version === null;
    const to = attributes.get("to");
    if (to === undefined || to === "") return this.#refuse(reply, "improper-addressing", legacy);
    // `route` is not read: whom the edge connects to is the operator's choice (XEP-0124 §7.1).
    if (!this.#host.domains().has(domainKey(to))) return this.#refuse(reply, "host-unknown", legacy);
    if (!this.#host.admission.accepts) return this.#refuse(reply, "system-shutdown", legacy);
    if (!this.#host.admission.admit(client.address)) return this.#refuse(reply, "policy-violation", legacy);
    const contentType = contentTypeOf(attributes.get("content"));
    const first = new Exchange(rid, body, typed(reply, contentType), this.#host.clock.now());
    const init = { client, server, limits: this.#host.limits().beforeLogin, terms };
    const link = new BoshLink(first, body, init, this.#linkHost);
    this.#sessions.set(link.sid, { link, contentType });
    link.owner = this.#host.welcome(link);
    link.begin(first);
  }

  #refuse(reply: Reply, condition: Condition, legacy = false): void {
    boshRefused.inc(condition);
    const bytes = terminal(condition);
    const { headers, response } = typed(reply, USUAL_TYPE);
    response.writeHead(statusFor(condition, legacy), { ...headers, "Content-Length": bytes.length });
    response.end(bytes);
  }
}

function preflight(response: ServerResponse, cors: Readonly<Record<string, string>>): void {
  response.writeHead(204, {
    ...cors,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding",
    "Access-Control-Max-Age": "86400",
  });
  response.end();
}

// RFC 9110 §12.5.3; what is not said of gzip is read as no.
function acceptsGzip(header: string | string[] | undefined): boolean {
  return /(?:^|[,\s])gzip\s*(?:;\s*q=(?:1|0\.0*[1-9])[\d.]*\s*)?(?:,|$)/i.test(String(header ?? ""));
}

/** The media type that the client wants to see on all answers (XEP-0124 §7.1), when it is one. */
function contentTypeOf(content: string | undefined): string {
  return content !== undefined && /^[\w.+-]{1,60}\/[\w.+-]{1,60}(?:; ?[\w-]{1,30}=[\w-]{1,30})?$/.test(content)
    ? content
    : USUAL_TYPE;
}

// As another type, say text/html, what people write to each other must not become a page of this site.
function typed(reply: Reply, contentType: string): Reply {
  const inert =
    contentType === USUAL_TYPE
      ? undefined
      : { "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'" };
  return { ...reply, headers: { ...reply.headers, "Content-Type": contentType, ...inert } };
}
