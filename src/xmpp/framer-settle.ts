import { attributeValue } from "./attribute-value.ts";
import { KIND } from "./frame.ts";
import { REPEATED } from "./framer-attributes.ts";
import { kindOf, namespaceOf, namespaceOfSpan, OF_HEADER, UNDECLARED } from "./framer-namespaces.ts";
import { quoted, refusal } from "./framer-refusals.ts";
import type { FrameScan } from "./framer-scan.ts";
import * as stages from "./framer-stages.ts";
import { NS } from "./ns.ts";
import { attributeNameEnd, colonIn, skipSpace, valueEnd, valueStart } from "./tag-walk.ts";

// Constants of this module: the compiler knows them, and looks up imported ones each time.
const { DECLARES, FLAG } = stages;
const XMLNS = Buffer.from("xmlns");

/** Whether `b[at, at + length)` is `xml` or `xmlns`. */
export function isXmlPrefix(b: Buffer, at: number, length: number): boolean {
  if ((length !== 3 && length !== 5) || b[at] !== 0x78) return false;
  for (let i = 1; i < length; i++) {
    if (b[at + i] !== XMLNS[i]) return false;
  }
  return true;
}

/**
 * What the attribute with the name `b[from, p)` declares; or the complement of the flag that it raises. `colon` is relative
 * to the frame, 0: none.
 */
export function classify(scan: FrameScan, b: Buffer, from: number, colon: number, p: number): number {
  if (colon === 0) return p - from === 5 && isXmlPrefix(b, from, 5) ? DECLARES.defaultNamespace : DECLARES.nothing;
  const length = scan.base + colon - from;
  if (!isXmlPrefix(b, from, length)) return ~FLAG.attributePrefix;
  if (length === 3) return DECLARES.nothing;
  scan.declaredEnd = p - scan.base;
  return DECLARES.prefix;
}

/**
 * The name in `b[from, p)` may be in this tag already: refuses it then. Returns what the mask of names must have besides.
 */
export function checkAttribute(scan: FrameScan, b: Buffer, depth: number, from: number, p: number): number {
  const found = scan.attributes.check(b, scan.base + scan.names[depth * 2 - 1]!, from, p);
  if (found === REPEATED) {
    const name = quoted(scan, b, from - scan.base, p - scan.base);
    throw refusal(scan, "not-well-formed", `attribute ${name} comes twice`, p);
  }
  return found;
}

/** A namespace declaration is complete: its value is `b[from, p)` (Namespaces in XML 1.0 §3). */
export function declare(
  scan: FrameScan,
  b: Buffer,
  depth: number,
  declares: number,
  colon: number,
  from: number,
  p: number,
  dirty: boolean,
): void {
  const reserved = reservedUri(b, from, p, dirty);
  if (declares === DECLARES.prefix) {
    declarePrefix(scan, b, depth, colon, from, p, reserved);
    return;
  }
  if (reserved !== "") throw refusal(scan, "not-well-formed", "reserved namespace as the default namespace", p);
  if (depth === 1) {
    scan.defaultAt = from - scan.base;
    scan.defaultEnd = p - scan.base;
    scan.defaultDirty = dirty;
  }
  if (scan.defaultDepth === 0) scan.defaultDepth = depth;
}

function declarePrefix(
  scan: FrameScan,
  b: Buffer,
  depth: number,
  colon: number,
  from: number,
  p: number,
  uri: string,
): void {
  const { base, declaredEnd } = scan;
  const prefix = b.toString("utf8", base + colon + 1, base + declaredEnd);
  if (prefix === "xmlns" || uri === NS.xmlns || (prefix === "xml") !== (uri === NS.xml)) {
    throw refusal(scan, "not-well-formed", "reserved prefix or namespace in a declaration", p);
  }
  if (p === from) throw refusal(scan, "not-well-formed", "prefix declared to be no namespace", p);
  scan.namespaces.declare(b, base, colon + 1, declaredEnd, from - base, p - base, depth);
  scan.mustLeave = 1;
}

/** The URI in `b[from, p)` if it is one of the two reserved ones, else "". */
function reservedUri(b: Buffer, from: number, p: number, dirty: boolean): string {
  const length = p - from;
  if (!dirty && length !== NS.xml.length && length !== NS.xmlns.length) return "";
  const uri = attributeValue(b, from, p);
  return uri === NS.xml || uri === NS.xmlns ? uri : "";
}

/**
 * A start tag is complete and ends at `p`: namespaces, and for the top element its kind. True: it is the header. Needed
 * for a top element, and for others when there are flags.
 */
export function settle(scan: FrameScan, b: Buffer, depth: number, flags: number, p: number): boolean {
  if (flags !== 0) settleNames(scan, b, depth, flags, p);
  if (depth !== 1) return false;
  const base = scan.base;
  const names = scan.names;
  const end = names[1]!;
  scan.tagEnd = p - base;
  scan.nameEnd = end;
  if (scan.root === null) {
    const at = scan.defaultAt;
    const defaultNamespace = at < 0 ? "" : attributeValue(b, base + at, base + scan.defaultEnd);
    scan.kind = KIND.streamHeader;
    scan.declared = scan.namespaces.root(b, base, base + names[0]!, base + end, defaultNamespace);
    return true;
  }
  const local = (flags & FLAG.elementPrefix) === 0 ? names[0]! : scan.elementColon + 1;
  scan.kind = kindOf(namespaceOfTop(scan, b, flags), b, base + local, base + end);
  return false;
}

function settleNames(scan: FrameScan, b: Buffer, depth: number, flags: number, p: number): void {
  const start = scan.names[depth * 2 - 2]!;
  if ((flags & FLAG.elementPrefix) !== 0) resolve(scan, b, start, scan.elementColon, p);
  else if ((flags & FLAG.foreignDefault) !== 0 && scan.defaultDepth === 0) scan.usesStreamPrefix = true;
  if ((flags & FLAG.attributePrefix) !== 0) settleAttributes(scan, b, scan.names[depth * 2 - 1]!, p);
}

/** The number of the top element's namespace. */
function namespaceOfTop(scan: FrameScan, b: Buffer, flags: number): number {
  const { base, root, namespaces, elementColon } = scan;
  if ((flags & FLAG.elementPrefix) !== 0) {
    const start = scan.names[0]!;
    const found = namespaces.resolve(b, base, start, elementColon, root);
    return namespaceOf(namespaces.uri(b, base, start, elementColon, found, root));
  }
  const at = scan.defaultAt;
  if (at < 0) return scan.defaultNamespace;
  if (scan.defaultDirty) return namespaceOf(attributeValue(b, base + at, base + scan.defaultEnd));
  return namespaceOfSpan(b, base + at, base + scan.defaultEnd);
}

/** Every prefix is declared, and no two attributes have one expanded name (Namespaces in XML 1.0 §5 and §6.3). */
function settleAttributes(scan: FrameScan, b: Buffer, nameEnd: number, p: number): void {
  const { base, root } = scan;
  const names = new Set<string>();
  let at = skipSpace(b, base + nameEnd);
  while (b[at] !== 0x3e && b[at] !== 0x2f) {
    const end = attributeNameEnd(b, at);
    const colon = colonIn(b, at, end);
    if (colon < end && !isXmlPrefix(b, at, colon - at)) {
      const found = resolve(scan, b, at - base, colon - base, p);
      const uri = scan.namespaces.uri(b, base, at - base, colon - base, found, root);
      const before = names.size;
      if (names.add(`${b.toString("utf8", colon + 1, end)} ${uri}`).size === before) {
        throw refusal(scan, "not-well-formed", "two attributes with one expanded name", p);
      }
    }
    at = skipSpace(b, valueEnd(b, valueStart(b, end)) + 1);
  }
}

function resolve(scan: FrameScan, b: Buffer, start: number, colon: number, p: number): number {
  const found = scan.namespaces.resolve(b, scan.base, start, colon, scan.root);
  if (found === UNDECLARED) {
    throw refusal(scan, "not-well-formed", `prefix ${quoted(scan, b, start, colon)} is not declared`, p);
  }
  if (found === OF_HEADER) scan.usesStreamPrefix = true;
  return found;
}

/** The element at `depth` is closed: what it declared ends. */
export function leave(scan: FrameScan, b: Buffer, depth: number): void {
  scan.namespaces.leave(b, scan.base, depth);
  if (scan.defaultDepth === depth) scan.defaultDepth = 0;
}
