import { attributeBit } from "./framer-attributes.ts";
import { badCharacter, badName, refusal, tooManyAttributes, tooMuch, wrongEnd } from "./framer-refusals.ts";
import type { FrameScan } from "./framer-scan.ts";
import { checkAttribute, classify, declare, leave, settle } from "./framer-settle.ts";
import * as stages from "./framer-stages.ts";
import * as tables from "./framer-tables.ts";
import { decodeUtf8, INCOMPLETE, isNameChar, isNameStart, skipUtf8, utf8Length } from "./utf8.ts";
import { XmlDeclaration } from "./xml-declaration.ts";

// Constants of this module: the compiler knows them, and looks up imported ones each time.
const { DECLARES, FLAG, SCAN, STAGE } = stages;
const { CDATA, NAME, NAME_START, SPACE, TEXT, VALUE } = tables;
const CDATA_OPEN = Buffer.from("[CDATA[");
const DOCTYPE = Buffer.from("DOCTYPE");

/**
 * Reads on from any stage, byte by byte, up to `stop`: all the rules, and every place where a chunk may end. Hands over to
 * the usual road where the next tag begins.
 */
export function readOn(scan: FrameScan, b: Buffer, stop: number): number {
  let what: number;
  do {
    if (scan.pos >= stop) return SCAN.more;
    what = readStage(scan, b, stop);
  } while (what === SCAN.goOn);
  return what;
}

/** At least one byte is there, at `scan.pos`. */
function readStage(scan: FrameScan, b: Buffer, stop: number): number {
  switch (scan.stage) {
    case STAGE.inText:
      return readText(scan, b, stop);
    case STAGE.afterLt:
      return readAfterLt(scan, b, stop);
    case STAGE.inName:
    case STAGE.inAttribute:
      return readName(scan, b, stop);
    case STAGE.localName:
    case STAGE.localAttribute:
      return readLocalName(scan, b, stop);
    case STAGE.afterToken:
      return readAfterToken(scan, b);
    case STAGE.inTag:
      return readInTag(scan, b, stop);
    case STAGE.beforeEquals:
    case STAGE.beforeValue:
      return readBeforeValue(scan, b);
    case STAGE.inValue:
      return readValue(scan, b, stop);
    case STAGE.afterSlash:
      return readAfterSlash(scan, b);
    case STAGE.inEndName:
      return readEndName(scan, b, stop);
    case STAGE.afterEndName:
      return readAfterEndName(scan, b);
    case STAGE.inReference:
      return readReference(scan, b, stop);
    case STAGE.afterBang:
      return readAfterBang(scan, b, stop);
    case STAGE.inCdata:
      return readCdata(scan, b, stop);
    case STAGE.inDeclaration:
      return readDeclaration(scan, b, stop);
    default:
      return readStreamEnd(scan, b, stop);
  }
}

function goTo(scan: FrameScan, stage: number, p: number): number {
  scan.stage = stage;
  scan.pos = p;
  return SCAN.goOn;
}

function stopAt(scan: FrameScan, p: number): number {
  scan.pos = p;
  return SCAN.more;
}

function arrive(scan: FrameScan, p: number, what: number): number {
  scan.pos = p;
  return what;
}

function readText(scan: FrameScan, b: Buffer, stop: number): number {
  let p = scan.pos;
  while (p < stop && TEXT[b[p]!] === 0) p++;
  if (p >= stop) return stopAt(scan, p);
  const c = b[p]!;
  if (c === 0x3c) {
    scan.stage = STAGE.afterLt;
    scan.pos = p + 1;
    return SCAN.handOver;
  }
  if (c >= 0x80) return readCharacters(scan, b, p, stop, TEXT);
  if (c === 0x26) return beginReference(scan, p);
  if (c !== 0x3e) throw badCharacter(scan, p);
  // Nothing but text can put "]]" right before this byte (XML 1.0 §2.4).
  if (b[p - 1] === 0x5d && b[p - 2] === 0x5d) throw refusal(scan, "not-well-formed", '"]]>" in text', p);
  return goTo(scan, STAGE.inText, p + 1);
}

/** A run with characters beyond ASCII, in text, CDATA or a value. */
function readCharacters(scan: FrameScan, b: Buffer, p: number, stop: number, stops: Uint8Array): number {
  const past = skipUtf8(b, p, stop, stops);
  if (past < 0) throw badCharacter(scan, ~past);
  scan.pos = past;
  return past < stop && b[past]! < 0x80 ? SCAN.goOn : SCAN.more;
}

function beginReference(scan: FrameScan, p: number): number {
  scan.reference.begin(scan.stage, p - scan.base);
  return goTo(scan, STAGE.inReference, p + 1);
}

function readReference(scan: FrameScan, b: Buffer, stop: number): number {
  const past = scan.reference.read(b, scan.pos, stop, scan.base);
  return past < 0 ? stopAt(scan, ~past) : goTo(scan, scan.reference.from, past);
}

function readAfterLt(scan: FrameScan, b: Buffer, stop: number): number {
  const p = scan.pos;
  const c = b[p]!;
  if (c < 0x80 && NAME[c] !== NAME_START) return readMarkup(scan, c, p);
  const character = c < 0x80 ? c : decodeUtf8(b, p, stop);
  if (character === INCOMPLETE) return SCAN.more;
  if (c >= 0x80 && !isNameStart(character)) throw badName(scan, p);
  if (scan.depth >= scan.maxDepth || scan.elements >= scan.maxElements) throw tooMuch(scan, scan.depth, p);
  scan.elements++;
  scan.token = p - scan.base;
  scan.colon = 0;
  scan.flags = scan.baseFlags;
  scan.attributeCount = 0;
  scan.attributeMask = 0;
  if (scan.attributes.hits !== 0) scan.attributes.clear();
  return goTo(scan, STAGE.inName, p + utf8Length(character));
}

/** `<` and then something that begins no name. */
function readMarkup(scan: FrameScan, c: number, p: number): number {
  const next = p + 1;
  const atTop = scan.depth === 0;
  scan.token = next - scan.base;
  if (c === 0x2f) {
    if (!atTop) return goTo(scan, STAGE.inEndName, next);
    if (scan.root === null) throw refusal(scan, "not-well-formed", "end tag before the stream header", p);
    return goTo(scan, STAGE.inStreamEnd, next);
  }
  if (c === 0x21) return goTo(scan, STAGE.afterBang, next);
  if (c !== 0x3f) throw refusal(scan, "not-well-formed", '"<" that begins no tag', p);
  if (atTop && scan.mayDeclare) return goTo(scan, STAGE.inDeclaration, next);
  throw refusal(scan, "restricted-xml", "processing instruction", p);
}

/** The name of a start tag or of an attribute. */
function readName(scan: FrameScan, b: Buffer, stop: number): number {
  let p = scan.pos;
  while (p < stop && NAME[b[p]!] !== 0) p++;
  if (p >= stop) return stopAt(scan, p);
  const c = b[p]!;
  const ofElement = scan.stage === STAGE.inName;
  if (c === 0x3a) {
    if (scan.colon !== 0) throw badName(scan, p);
    scan.colon = p - scan.base;
    return goTo(scan, ofElement ? STAGE.localName : STAGE.localAttribute, p + 1);
  }
  if (c >= 0x80) {
    const character = decodeUtf8(b, p, stop);
    if (character === INCOMPLETE) return stopAt(scan, p);
    if (!isNameChar(character)) throw badName(scan, p);
    return goTo(scan, scan.stage, p + utf8Length(character));
  }
  scan.pos = p;
  if (ofElement) endName(scan, p);
  else endAttributeName(scan, b, p);
  return SCAN.goOn;
}

/** Behind the colon of a QName another NCName must begin (Namespaces in XML 1.0 §4). */
function readLocalName(scan: FrameScan, b: Buffer, stop: number): number {
  const p = scan.pos;
  const c = b[p]!;
  const character = c < 0x80 ? c : decodeUtf8(b, p, stop);
  if (character === INCOMPLETE) return SCAN.more;
  if (c < 0x80 ? NAME[c] !== NAME_START : !isNameStart(character)) throw badName(scan, p);
  return goTo(scan, scan.stage === STAGE.localName ? STAGE.inName : STAGE.inAttribute, p + utf8Length(character));
}

function endName(scan: FrameScan, p: number): void {
  const slot = scan.depth * 2;
  if (slot >= scan.names.length) scan.growNames();
  scan.names[slot] = scan.token;
  scan.names[slot + 1] = p - scan.base;
  scan.depth++;
  if (scan.colon !== 0) {
    scan.flags |= FLAG.elementPrefix;
    scan.elementColon = scan.colon;
  }
  scan.stage = STAGE.afterToken;
}

function endAttributeName(scan: FrameScan, b: Buffer, p: number): void {
  const from = scan.base + scan.token;
  const bit = attributeBit(b[from]!, p - from);
  if ((scan.attributeMask & bit) !== 0) scan.attributeMask |= checkAttribute(scan, b, scan.depth, from, p);
  scan.attributeMask |= bit;
  scan.attributeCount++;
  const declares = classify(scan, b, from, scan.colon, p);
  if (declares < 0) scan.flags |= ~declares;
  scan.declares = declares < 0 ? DECLARES.nothing : declares;
  scan.stage = STAGE.beforeEquals;
}

function readInTag(scan: FrameScan, b: Buffer, stop: number): number {
  const p = scan.pos;
  const c = b[p]!;
  if (SPACE[c] !== 0) return goTo(scan, STAGE.inTag, p + 1);
  if (c === 0x3e || c === 0x2f) return goTo(scan, STAGE.afterToken, p);
  const character = c < 0x80 ? c : decodeUtf8(b, p, stop);
  if (character === INCOMPLETE) return SCAN.more;
  if (c < 0x80 ? NAME[c] !== NAME_START : !isNameStart(character)) throw badName(scan, p);
  if (scan.attributeCount >= scan.maxAttributes) throw tooManyAttributes(scan, p);
  scan.token = p - scan.base;
  scan.colon = 0;
  return goTo(scan, STAGE.inAttribute, p + utf8Length(character));
}

/** Behind the name of a start tag, or behind an attribute. */
function readAfterToken(scan: FrameScan, b: Buffer): number {
  const p = scan.pos;
  const c = b[p]!;
  if (SPACE[c] !== 0) return goTo(scan, STAGE.inTag, p + 1);
  if (c === 0x2f) return goTo(scan, STAGE.afterSlash, p + 1);
  if (c !== 0x3e) throw badName(scan, p);
  if (mustSettle(scan) && settle(scan, b, scan.depth, scan.flags, p + 1)) return arrive(scan, p + 1, SCAN.header);
  return goTo(scan, STAGE.inText, p + 1);
}

function readAfterSlash(scan: FrameScan, b: Buffer): number {
  const p = scan.pos;
  if (b[p] !== 0x3e) throw refusal(scan, "not-well-formed", '"/" in a start tag', p);
  if (mustSettle(scan) && settle(scan, b, scan.depth, scan.flags, p + 1)) return arrive(scan, p + 1, SCAN.emptyHeader);
  return close(scan, b, p + 1);
}

function mustSettle(scan: FrameScan): boolean {
  return scan.flags !== 0 || scan.depth === 1;
}

/** An element is closed. */
function close(scan: FrameScan, b: Buffer, p: number): number {
  if (scan.mustLeave !== 0) leave(scan, b, scan.depth);
  scan.depth--;
  return scan.depth === 0 ? arrive(scan, p, SCAN.element) : goTo(scan, STAGE.inText, p);
}

function readBeforeValue(scan: FrameScan, b: Buffer): number {
  const p = scan.pos;
  const c = b[p]!;
  if (SPACE[c] !== 0) return goTo(scan, scan.stage, p + 1);
  if (scan.stage === STAGE.beforeEquals) {
    if (c !== 0x3d) throw refusal(scan, "not-well-formed", "attribute without a value", p);
    return goTo(scan, STAGE.beforeValue, p + 1);
  }
  if (c !== 0x22 && c !== 0x27) throw refusal(scan, "not-well-formed", "attribute value without quotes", p);
  scan.quote = c;
  scan.valueAt = p + 1 - scan.base;
  scan.dirty = false;
  return goTo(scan, STAGE.inValue, p + 1);
}

function readValue(scan: FrameScan, b: Buffer, stop: number): number {
  let p = scan.pos;
  while (p < stop && VALUE[b[p]!] === 0) p++;
  if (p >= stop) return stopAt(scan, p);
  const c = b[p]!;
  if (c === scan.quote) {
    const { declares, colon, dirty } = scan;
    if (declares !== DECLARES.nothing) {
      declare(scan, b, scan.depth, declares, colon, scan.base + scan.valueAt, p, dirty);
    }
    return goTo(scan, STAGE.afterToken, p + 1);
  }
  if (c >= 0x80) return readCharacters(scan, b, p, stop, VALUE);
  if (c === 0x3c) throw refusal(scan, "not-well-formed", '"<" in an attribute value', p);
  if (c === 0x26) {
    scan.dirty = true;
    return beginReference(scan, p);
  }
  if (SPACE[c] === 0 && c !== 0x22 && c !== 0x27) throw badCharacter(scan, p);
  return goTo(scan, STAGE.inValue, p + 1);
}

function readEndName(scan: FrameScan, b: Buffer, stop: number): number {
  const slot = scan.depth * 2 - 2;
  const from = scan.names[slot]!;
  const back = scan.token - from;
  const nameStop = scan.base + scan.token + scan.names[slot + 1]! - from;
  let p = scan.pos;
  while (p < nameStop) {
    if (p >= stop) return stopAt(scan, p);
    if (b[p] !== b[p - back]) throw wrongEnd(scan, b, scan.depth, p);
    p++;
  }
  return goTo(scan, STAGE.afterEndName, p);
}

function readAfterEndName(scan: FrameScan, b: Buffer): number {
  const p = scan.pos;
  if (b[p] === 0x3e) return close(scan, b, p + 1);
  // White space may follow the name, but the name may not go on.
  if (SPACE[b[p]!] === 0) throw wrongEnd(scan, b, scan.depth, p);
  return goTo(scan, STAGE.afterEndName, p + 1);
}

/** Behind `<!`: only CDATA goes on, and the rest is refused as soon as it is clear why. */
function readAfterBang(scan: FrameScan, b: Buffer, stop: number): number {
  const from = scan.base + scan.token;
  const first = b[from]!;
  if (first === 0x2d) {
    if (from + 1 >= stop) return SCAN.more;
    if (b[from + 1] === 0x2d) throw refusal(scan, "restricted-xml", "comment", from);
  }
  const word = first === 0x5b ? CDATA_OPEN : DOCTYPE;
  for (let i = 0; i < word.length; i++) {
    // At most a few bytes: they are looked at again when more have come.
    if (from + i >= stop) return SCAN.more;
    if (b[from + i] !== word[i]) throw refusal(scan, "not-well-formed", '"<!" that begins nothing', from);
  }
  if (word === DOCTYPE) throw refusal(scan, "restricted-xml", "document type declaration", from);
  if (scan.depth > 0) return goTo(scan, STAGE.inCdata, from + word.length);
  const condition = scan.root === null ? "not-well-formed" : "bad-format";
  throw refusal(scan, condition, "character data outside of a stanza", from);
}

function readCdata(scan: FrameScan, b: Buffer, stop: number): number {
  let p = scan.pos;
  while (p < stop && CDATA[b[p]!] === 0) p++;
  if (p >= stop) return stopAt(scan, p);
  const c = b[p]!;
  if (c >= 0x80) return readCharacters(scan, b, p, stop, CDATA);
  if (c !== 0x3e) throw badCharacter(scan, p);
  // "[" comes before the content, so that "]]" is inside it.
  const ends = b[p - 1] === 0x5d && b[p - 2] === 0x5d;
  return goTo(scan, ends ? STAGE.inText : STAGE.inCdata, p + 1);
}

function readDeclaration(scan: FrameScan, b: Buffer, stop: number): number {
  scan.declaration ??= new XmlDeclaration();
  const past = scan.declaration.read(b, scan.pos, stop);
  if (past < 0) return stopAt(scan, stop);
  scan.declaration = null;
  return arrive(scan, past, SCAN.declaration);
}

/** `</` at the level of the stream: the root's name, white space, `>`. */
function readStreamEnd(scan: FrameScan, b: Buffer, stop: number): number {
  const { name } = scan.root!;
  const from = scan.base + scan.token;
  for (let p = scan.pos; p < stop; p++) {
    const at = p - from;
    if (at < name.length ? b[p] === name[at] : SPACE[b[p]!] !== 0) continue;
    if (at >= name.length && b[p] === 0x3e) return arrive(scan, p + 1, SCAN.streamEnd);
    throw refusal(scan, "not-well-formed", "end tag of no element", p);
  }
  return stopAt(scan, stop);
}
