import { escapeText } from "../../xmpp/element.ts";
import { type Frame, KIND } from "../../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import { selfContained } from "../../xmpp/self-contained.ts";

const STREAM = Buffer.from(`<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}'>`);
const EMPTY_END = Buffer.from("/>");
/** What a start tag may cost: it holds a dozen short attributes. */
const TAG_LIMITS: FramerLimits = { maxBytes: 4096, maxDepth: 1, maxElements: 1, maxAttributes: 40 };
const MAX_PROLOG_BYTES = 256;

/** The `<body/>` of one request (XEP-0124 §6): its attributes decoded, its payload as the bytes that came. */
export interface Body {
  readonly attributes: ReadonlyMap<string, string>;
  /** `xmpp:version` and `xmpp:restart` (XEP-0206 §3, §5), whatever their prefix. */
  readonly version: string | null;
  readonly restart: boolean;
  /** The prefixes that the start tag declares for its payload, as attributes; nearly always "". */
  readonly declarations: string;
  /** Everything between the tags, white space at both ends left out. Not looked at yet. */
  readonly payload: Buffer;
}

/** Thrown for what is no `<body/>` at all, or one that nothing may be read from. */
export class BodyError extends Error {}

/** Reads the one start tag and finds the end tag; what is between them is read by `PayloadReader`. */
export function readBodyElement(bytes: Buffer): Body {
  const start = elementStart(bytes);
  const tagEnd = startTagEnd(bytes, start);
  if (tagEnd < 0) throw new BodyError("the start tag has no end");
  const tag = readTag(bytes, start, tagEnd);
  const name = tag.bytes.toString("latin1", tag.nameStart, tag.nameEnd);
  const attributes = peek.attributes(tag);
  const scope = scopeOf(name, attributes);
  const payload = payloadOf(bytes, start, tagEnd, name);
  const xbosh = scope.xbosh;
  return {
    attributes,
    version: xbosh === null ? null : (attributes.get(`${xbosh}:version`) ?? null),
    restart: xbosh !== null && isTrue(attributes.get(`${xbosh}:restart`)),
    declarations: scope.declarations,
    payload,
  };
}

/** The `sid` in the start tag of a body of which perhaps only the beginning has come; null: not there, or not yet. */
export function sidIn(bytes: Buffer): string | null {
  try {
    const start = elementStart(bytes);
    const tagEnd = startTagEnd(bytes, start);
    return tagEnd < 0 ? null : peek.attr(readTag(bytes, start, tagEnd), "sid");
  } catch {
    return null;
  }
}

// XEP-0124 §5: as XML Schema has it.
function isTrue(value: string | undefined): boolean {
  return value === "true" || value === "1";
}

/** A number without sign, no larger than 2^53 − 1 (XEP-0124 §14.1); null: none, or something else. */
export function readNumber(value: string | undefined): number | null {
  if (value === undefined || !/^\d{1,16}$/.test(value)) return null;
  const number = Number(value);
  return number <= Number.MAX_SAFE_INTEGER ? number : null;
}

// Behind an XML declaration, which a document may have (RFC 6120 §11.5 for its encoding), and white space.
function elementStart(bytes: Buffer): number {
  const head = bytes.toString("latin1", 0, Math.min(bytes.length, MAX_PROLOG_BYTES));
  const prolog = /^(?:<\?xml[ \t\r\n][^<>]*\?>)?[ \t\r\n]*/.exec(head)![0];
  const encoding = /encoding[ \t\r\n]*=[ \t\r\n]*["']([^"']*)["']/.exec(prolog)?.[1];
  if (encoding !== undefined && encoding.toLowerCase() !== "utf-8") throw new BodyError("only UTF-8 is read");
  if (head[prolog.length] !== "<") throw new BodyError("a request holds one <body/> element");
  return prolog.length;
}

/** The position past the `>` of the tag that begins at `start`, -1 when it does not come within the limit. */
function startTagEnd(bytes: Buffer, start: number): number {
  const last = Math.min(bytes.length, start + TAG_LIMITS.maxBytes);
  let quote = 0;
  for (let p = start; p < last; p++) {
    const byte = bytes[p]!;
    if (quote !== 0) quote = byte === quote ? 0 : quote;
    else if (byte === 0x22 || byte === 0x27) quote = byte;
    else if (byte === 0x3e) return p + 1;
  }
  return -1;
}

// The framer's strictness for the start tag: as an element without content it is a frame of some stream.
function readTag(bytes: Buffer, start: number, tagEnd: number): Frame {
  const framer = new StanzaFramer(TAG_LIMITS);
  framer.feed(STREAM, true);
  framer.next();
  const isEmpty = bytes[tagEnd - 2] === 0x2f;
  const tag = isEmpty ? bytes.subarray(start, tagEnd) : Buffer.concat([bytes.subarray(start, tagEnd - 1), EMPTY_END]);
  framer.feed(tag, true);
  const frame = framer.next();
  if (frame === null || frame === "end" || framer.unread() > 0 || frame.kind !== KIND.other) {
    throw new BodyError("a request holds one <body/> element");
  }
  return frame;
}

function scopeOf(
  name: string,
  attributes: ReadonlyMap<string, string>,
): { xbosh: string | null; declarations: string } {
  const colon = name.indexOf(":");
  const own = colon < 0 ? "xmlns" : `xmlns:${name.slice(0, colon)}`;
  if (name.slice(colon + 1) !== "body" || attributes.get(own) !== NS.httpBind) {
    throw new BodyError(`a request holds one <body xmlns='${NS.httpBind}'/>`);
  }
  let xbosh: string | null = null;
  let declarations = "";
  for (const [attribute, value] of attributes) {
    if (!attribute.startsWith("xmlns") || attribute === own) continue;
    const prefix = attribute.slice("xmlns:".length);
    if (value === NS.xbosh && prefix !== "") xbosh = prefix;
    else if (prefix === "stream" ? value !== NS.streams : prefix === "" && value !== NS.client) {
      throw new BodyError(`${attribute} stands for something else here`);
    } else if (prefix !== "" && prefix !== "stream") declarations += ` xmlns:${prefix}='${escapeText(value)}'`;
  }
  return { xbosh, declarations };
}

function payloadOf(bytes: Buffer, start: number, tagEnd: number, name: string): Buffer {
  let end = trimEnd(bytes, tagEnd, bytes.length);
  if (bytes[tagEnd - 2] === 0x2f) {
    if (end > tagEnd) throw new BodyError("something after the <body/>");
    return bytes.subarray(start, start);
  }
  if (bytes[end - 1] !== 0x3e) throw new BodyError("the <body> has no end");
  end = trimEnd(bytes, tagEnd, end - 1);
  const close = end - name.length - 2;
  if (close < tagEnd || bytes.toString("latin1", close, end) !== `</${name}`)
    throw new BodyError("the <body> has no end");
  let from = tagEnd;
  while (from < close && isSpace(bytes[from]!)) from++;
  return bytes.subarray(from, trimEnd(bytes, from, close));
}

function trimEnd(bytes: Buffer, from: number, end: number): number {
  while (end > from && isSpace(bytes[end - 1]!)) end--;
  return end;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/**
 * The payloads of one client, body after body, as the frames of a stream. What says no namespace is jabber:client, the
 * note of XEP-0206 §2. Throws FramingError for what no body may hold.
 */
export class PayloadReader {
  // Of the stream; a body that declares prefixes of its own is read by another.
  #framer: StanzaFramer;
  #current: StanzaFramer;

  constructor(limits: FramerLimits) {
    this.#framer = this.#current = new StanzaFramer(limits);
  }

  get limits(): FramerLimits {
    return this.#framer.limits;
  }

  /** May be replaced at any time; the next payload obeys. */
  set limits(limits: FramerLimits) {
    this.#framer.limits = this.#current.limits = limits;
  }

  /** A new stream begins: its opening tag as a frame. */
  open(tag: Buffer): Frame {
    this.#framer = this.#current = new StanzaFramer(this.limits);
    this.#framer.feed(tag, true);
    return this.#framer.next() as Frame;
  }

  /** Begins with a body; the one before it has been read to its end. */
  begin(body: Body): void {
    this.#current = this.#framer;
    if (body.declarations !== "") {
      this.#current = new StanzaFramer(this.limits);
      this.#current.feed(Buffer.from(`${STREAM.toString("latin1", 0, STREAM.length - 1)}${body.declarations}>`), true);
      this.#current.next();
    }
    this.#current.feed(body.payload, true);
  }

  /** The next payload, valid until the next call; null: the body is at its end. */
  next(): Frame | null {
    const framer = this.#current;
    const frame = framer.next();
    if (frame === "end" || (frame === null && framer.midFrame)) {
      throw new FramingError("not-well-formed", "a <body/> holds complete elements and nothing else");
    }
    return frame === null || !frame.usesStreamPrefix ? frame : selfContained(frame, framer.header!);
  }
}
