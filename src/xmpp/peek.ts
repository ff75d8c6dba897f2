import { attributeValue } from "./attribute-value.ts";
import { type Frame, KIND } from "./frame.ts";
import { SPACE } from "./framer-tables.ts";
import { NS } from "./ns.ts";
import { attributeNameEnd, colonIn, skipSpace, valueEnd, valueStart } from "./tag-walk.ts";

const CDATA_CLOSE = Buffer.from("]]>");

/** A child element as `peek` sees it. */
export interface PeekedChild {
  /** Local name, without prefix. */
  readonly name: string;
  /** Null when only the stream header can tell: an undeclared prefix, or the default of a stream that is not jabber:client. */
  readonly xmlns: string | null;
}

/** Questions about a frame without parsing it: they read bytes, rely on the framer's proof, and decode only the answer. */
export const peek = {
  /** The local name of the element. */
  name(frame: Frame): string {
    return localName(frame.bytes, frame.nameStart, frame.nameEnd);
  },

  /** The value of an attribute of the top start tag, or null. `name` is as written: "type", "xml:lang". */
  attr(frame: Frame, name: string): string | null {
    return attributeOf(frame.bytes, frame.nameEnd, name);
  },

  /** Whether the top start tag has the attribute with this value. */
  attrEquals(frame: Frame, name: string, value: string): boolean {
    const b = frame.bytes;
    const start = findAttribute(b, frame.nameEnd, name);
    if (start < 0) return false;
    const end = valueEnd(b, start);
    for (let p = start; p < end; p++) {
      const byte = b[p]!;
      // What needs decoding is decoded; a difference before that is one already.
      if (byte >= 0x80 || byte === 0x26 || byte < 0x20) return attributeValue(b, start, end) === value;
      if (byte !== value.charCodeAt(p - start)) return false;
    }
    return value.length === end - start;
  },

  /** All attributes of the top start tag, namespace declarations included, by their names as written. */
  attributes(frame: Frame): Map<string, string> {
    const b = frame.bytes;
    const found = new Map<string, string>();
    let p = skipSpace(b, frame.nameEnd);
    while (b[p] !== 0x3e && b[p] !== 0x2f) {
      const nameEnd = attributeNameEnd(b, p);
      const start = valueStart(b, nameEnd);
      const end = valueEnd(b, start);
      found.set(b.toString("utf8", p, nameEnd), attributeValue(b, start, end));
      p = skipSpace(b, end + 1);
    }
    return found;
  },

  /** The first child element, or null. */
  firstChild(frame: Frame): PeekedChild | null {
    const at = childFrom(frame, frame.tagEnd);
    if (at < 0) return null;
    const b = frame.bytes;
    const end = tagNameEnd(b, at + 1);
    return { name: localName(b, at + 1, end), xmlns: namespaceOfChild(frame, at + 1, end) };
  },

  /** Whether there is a direct child with this local name in this namespace. */
  hasChild(frame: Frame, name: string, xmlns: string): boolean {
    const b = frame.bytes;
    for (let at = childFrom(frame, frame.tagEnd); at >= 0; at = childFrom(frame, skipElement(b, at))) {
      const end = tagNameEnd(b, at + 1);
      if (hasLocalName(b, at + 1, end, name) && namespaceOfChild(frame, at + 1, end) === xmlns) return true;
    }
    return false;
  },
};

/** The end of the tag name that begins at `p`. */
function tagNameEnd(b: Buffer, p: number): number {
  while (SPACE[b[p]!] === 0 && b[p] !== 0x3e && b[p] !== 0x2f) p++;
  return p;
}

function localName(b: Buffer, start: number, end: number): string {
  const colon = colonIn(b, start, end);
  return b.toString("utf8", colon < end ? colon + 1 : start, end);
}

function hasLocalName(b: Buffer, start: number, end: number, name: string): boolean {
  const colon = colonIn(b, start, end);
  return isText(b, colon < end ? colon + 1 : start, end, name);
}

function isText(b: Buffer, start: number, end: number, text: string): boolean {
  for (let p = start; p < end; p++) {
    const byte = b[p]!;
    if (byte >= 0x80) return b.toString("utf8", start, end) === text;
    if (byte !== text.charCodeAt(p - start)) return false;
  }
  return text.length === end - start;
}

/** Where the value of the attribute begins, or -1. `p` is where the tag's name ends. */
function findAttribute(b: Buffer, p: number, name: string): number {
  for (;;) {
    p = skipSpace(b, p);
    if (b[p] === 0x3e || b[p] === 0x2f) return -1;
    const end = attributeNameEnd(b, p);
    const start = valueStart(b, end);
    if (isText(b, p, end, name)) return start;
    p = valueEnd(b, start) + 1;
  }
}

function attributeOf(b: Buffer, nameEnd: number, name: string): string | null {
  const start = findAttribute(b, nameEnd, name);
  return start < 0 ? null : attributeValue(b, start, valueEnd(b, start));
}

function namespaceOfChild(frame: Frame, start: number, end: number): string | null {
  const b = frame.bytes;
  const colon = colonIn(b, start, end);
  if (colon < end) {
    const prefix = b.toString("utf8", start, colon);
    if (prefix === "xml") return NS.xml;
    return attributeOf(b, end, `xmlns:${prefix}`) ?? attributeOf(b, frame.nameEnd, `xmlns:${prefix}`);
  }
  const declared = attributeOf(b, end, "xmlns") ?? attributeOf(b, frame.nameEnd, "xmlns");
  if (declared !== null) return declared;
  // Had the stream another default namespace, this child would have made the frame depend on the header.
  return frame.usesStreamPrefix ? null : NS.client;
}

/** The position of the first child element at or after `p`, which is in the content of the top element; -1: none. */
function childFrom(frame: Frame, p: number): number {
  const b = frame.bytes;
  if (frame.tagEnd === frame.end || frame.kind === KIND.streamHeader) return -1;
  for (;;) {
    while (b[p] !== 0x3c) p++;
    if (b[p + 1] === 0x2f) return -1;
    if (b[p + 1] !== 0x21) return p;
    p = b.indexOf(CDATA_CLOSE, p) + 3;
  }
}

/** The position past the start tag whose name ends at `p`. */
function skipTag(b: Buffer, p: number): number {
  for (;;) {
    const byte = b[p++]!;
    if (byte === 0x3e) return p;
    if (byte === 0x22 || byte === 0x27) p = valueEnd(b, p) + 1;
  }
}

/** The position past the element that begins at `p`. */
function skipElement(b: Buffer, p: number): number {
  let open = 0;
  for (;;) {
    while (b[p] !== 0x3c) p++;
    const next = b[p + 1];
    if (next === 0x21) {
      p = b.indexOf(CDATA_CLOSE, p) + 3;
      continue;
    }
    p = skipTag(b, p + 1);
    if (next === 0x2f) open--;
    else if (b[p - 2] !== 0x2f) open++;
    if (open === 0) return p;
  }
}
