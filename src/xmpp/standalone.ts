import { SPACE } from "./framer-tables.ts";
import { NS } from "./ns.ts";
import { attributeNameEnd, skipSpace, valueEnd, valueStart } from "./tag-walk.ts";

const NOTHING: Buffer = Buffer.alloc(0);
const CLIENT = Buffer.from(` xmlns='${NS.client}'`);
const STREAMS = Buffer.from(` xmlns:stream='${NS.streams}'`);
const BOTH = Buffer.concat([CLIENT, STREAMS]);

const XMLNS = Buffer.from("xmlns");
const XMLNS_STREAM = Buffer.from("xmlns:stream");
const STREAM_PREFIX = Buffer.from("stream:");

/** The end of the name of the element that begins at `start`. */
export function elementNameEnd(bytes: Buffer, start: number): number {
  let p = start + 1;
  while (SPACE[bytes[p]!] === 0 && bytes[p] !== 0x3e && bytes[p] !== 0x2f) p++;
  return p;
}

/**
 * The declarations that a first-level element of a stream leaves to the opening tag, to be put at the end of its name:
 * with them it means the same where there is no opening tag (RFC 7395 §3.3.3, XEP-0206 §4). Looks at the start tag only.
 * For what leans on nothing but `xmlns='jabber:client'` and, in its own name, the prefix `stream`: other prefixes are
 * declared where they are used already (`selfContained`). The bytes are proven well-formed; the answer is shared.
 */
export function missingDeclarations(bytes: Buffer, start: number, nameEnd: number): Buffer {
  let hasDefault = false;
  let needsStream = isText(bytes, start + 1, STREAM_PREFIX);
  let p = skipSpace(bytes, nameEnd);
  while (bytes[p] !== 0x3e && bytes[p] !== 0x2f) {
    const end = attributeNameEnd(bytes, p);
    if (end - p === XMLNS.length) hasDefault ||= isText(bytes, p, XMLNS);
    else if (needsStream && end - p === XMLNS_STREAM.length) needsStream = !isText(bytes, p, XMLNS_STREAM);
    p = skipSpace(bytes, valueEnd(bytes, valueStart(bytes, end)) + 1);
  }
  if (hasDefault) return needsStream ? STREAMS : NOTHING;
  return needsStream ? BOTH : CLIENT;
}

/** The element as a document of its own: its bytes where nothing is missing, else a copy. */
export function standalone(bytes: Buffer, start: number, end: number): Buffer {
  const nameEnd = elementNameEnd(bytes, start);
  const missing = missingDeclarations(bytes, start, nameEnd);
  if (missing.length === 0) return bytes.subarray(start, end);
  return Buffer.concat([bytes.subarray(start, nameEnd), missing, bytes.subarray(nameEnd, end)]);
}

function isText(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}
