import { attributeValue } from "./attribute-value.ts";
import { type FrameKind, KIND } from "./frame.ts";
import type { FramerLimits } from "./framer.ts";
import { TagAttributes } from "./framer-attributes.ts";
import {
  FrameNamespaces,
  kindOf,
  namespaceOf,
  namespaceOfSpan,
  OF_HEADER,
  OF_XML,
  type StreamScope,
  UNDECLARED,
} from "./framer-namespaces.ts";
import { ReferenceReader } from "./framer-reference.ts";
import * as tables from "./framer-tables.ts";
import { type FramingCondition, FramingError } from "./framing-error.ts";
import { NS } from "./ns.ts";
import { decodeUtf8, INCOMPLETE, isNameChar, isNameStart, skipUtf8, utf8Length } from "./utf8.ts";
import { XmlDeclaration } from "./xml-declaration.ts";

const { CDATA, NAME, SPACE, TEXT, VALUE } = tables;
const NAME_START = 1;

const CDATA_OPEN = Buffer.from("[CDATA[");
const DOCTYPE = Buffer.from("DOCTYPE");
const XMLNS = Buffer.from("xmlns");

/** What `run` answers. */
export const MORE = 0;
export const ELEMENT = 1;
export const HEADER = 2;
export const EMPTY_HEADER = 3;
export const DECLARATION = 4;
export const STREAM_END = 5;

// Where the scan stands, so that it can stop after any byte. Plain numbers: `switch` on them stays one jump.
const IN_TEXT = 0;
const AFTER_LT = 1;
const IN_NAME = 2;
const IN_TAG = 3; // behind white space: an attribute or the end of the tag may follow
const IN_ATTRIBUTE = 4;
const IN_VALUE = 5;
const AFTER_VALUE = 6;
const IN_END_NAME = 7;
const AFTER_END_NAME = 8;
const AFTER_SLASH = 9;
const BEFORE_EQUALS = 10;
const BEFORE_VALUE = 11;
const IN_REFERENCE = 12;
const LOCAL_NAME = 13; // behind the colon of an element's name
const LOCAL_ATTRIBUTE = 14;
const AFTER_BANG = 15;
const IN_CDATA = 16;
const IN_DECLARATION = 17;
const IN_STREAM_END = 18;

// What a start tag holds that `settle` must look at.
const ELEMENT_PREFIX = 1;
const ATTRIBUTE_PREFIX = 2;
/** The stream's default namespace is not jabber:client: every unprefixed element counts as using the header. */
const FOREIGN_DEFAULT = 4;

const DECLARES_NOTHING = 0;
const DECLARES_DEFAULT = 1;
const DECLARES_PREFIX = 2;

const NO_LIMITS: FramerLimits = { maxBytes: 0, maxDepth: 0, maxElements: 0, maxAttributes: 0 };

/**
 * All that is known about one frame while it is read: the strict XML machine (XML 1.0 5th edition, Namespaces 1.0, less
 * what RFC 6120 §11.1 forbids). It may stop after any byte and go on with the next chunk.
 *
 * Positions inside are relative to `base`, so that the bytes may move to another buffer in between. A framer holds one of
 * these only while a frame is incomplete; see `borrowScan`.
 */
export class FrameScan {
  /** Where the frame begins in the buffer that `run` is given. */
  base = 0;
  /** Where `run` stopped, in the same buffer. */
  pos = 0;
  kind: FrameKind = KIND.other;
  usesStreamPrefix = false;
  /** Relative to `base`: where the top start tag and its name end. */
  tagEnd = 0;
  nameEnd = 0;
  /** Of a header: what it declares. */
  declared: StreamScope | null = null;

  #limits = NO_LIMITS;
  #maxBytes = 0;
  #scope: StreamScope | null = null;
  #rootName: Uint8Array | null = null;
  #mayDeclare = false;

  #state = AFTER_LT;
  #depth = 0;
  #elements = 0;
  /** Start of the name or reference or `<!` being read. */
  #token = 0;
  #colon = 0;
  #quote = 0;
  #flags = 0;
  #declares = DECLARES_NOTHING;
  #valueAt = 0;
  #dirty = false;
  #elementColon = 0;
  /** The top element's own default namespace, as a span; -1: none. */
  #defaultAt = -1;
  #defaultEnd = 0;
  #defaultDirty = false;
  /** Depth of the outermost open element with a default namespace of its own; 0: none. Only kept for FOREIGN_DEFAULT. */
  #defaultDepth = 0;
  /** Start and end of the name of every open element. */
  #names: Int32Array = new Int32Array(2 * 32);
  readonly #attributes = new TagAttributes();
  readonly #namespaces = new FrameNamespaces();
  readonly #reference = new ReferenceReader();
  #declaration: XmlDeclaration | null = null;

  /**
   * Begins with the frame whose `<` is at `base`. `scope` and `rootName` are the stream header's, or null when the frame
   * is the header itself; `maxBytes` is what the limits leave of it, and `mayDeclare` whether `<?xml` may come.
   */
  begin(
    base: number,
    limits: FramerLimits,
    maxBytes: number,
    scope: StreamScope | null,
    rootName: Uint8Array | null,
    mayDeclare: boolean,
  ): void {
    this.base = base;
    this.pos = base + 1;
    this.kind = KIND.other;
    this.usesStreamPrefix = false;
    this.#limits = limits;
    this.#maxBytes = maxBytes;
    this.#scope = scope;
    this.#rootName = rootName;
    this.#mayDeclare = mayDeclare;
    this.#state = AFTER_LT;
    this.#depth = 0;
    this.#elements = 0;
    this.#defaultAt = -1;
    this.#defaultDepth = 0;
    if (this.#namespaces.count > 0) this.#namespaces.clear();
  }

  /** The bytes from `base` on are now at `base` of another buffer. */
  moveTo(base: number): void {
    this.pos += base - this.base;
    this.base = base;
  }

  /** Lets go of what belongs to a stream. */
  clear(): void {
    this.#limits = NO_LIMITS;
    this.#scope = null;
    this.#rootName = null;
    this.declared = null;
    this.#declaration = null;
    this.#attributes.clear();
    this.#namespaces.clear();
  }

  /** Reads on, up to `end`. Throws FramingError. */
  run(b: Buffer, end: number): number {
    const base = this.base | 0;
    const limit = (base + this.#maxBytes) | 0;
    const stop = (end < limit ? end : limit) | 0;
    const limits = this.#limits;
    let names: Int32Array = this.#names;
    const attributes = this.#attributes;
    const baseFlags = this.#scope !== null && this.#scope.defaultNamespace !== NS.client ? FOREIGN_DEFAULT : 0;

    let p = this.pos | 0;
    let state = this.#state | 0;
    let depth = this.#depth | 0;
    let token = this.#token | 0;
    let colon = this.#colon | 0;
    let quote = this.#quote | 0;
    let flags = this.#flags | 0;
    let c = 0;

    scan: for (;;) {
      switch (state) {
        case IN_TEXT: {
          while (p < stop) {
            c = b[p]!;
            if (TEXT[c] !== 0) break;
            p++;
          }
          if (p >= stop) break scan;
          p++;
          if (c === 0x3c) {
            state = AFTER_LT;
          } else if (c === 0x26) {
            this.#reference.begin(IN_TEXT, p - 1 - base);
            state = IN_REFERENCE;
          } else if (c === 0x3e) {
            // Nothing but text can put "]]" right before this byte (XML 1.0 §2.4).
            if (b[p - 2] === 0x5d && b[p - 3] === 0x5d) throw this.#refusal("not-well-formed", '"]]>" in text', p - 1);
          } else if (c >= 0x80) {
            p = skipUtf8(b, p - 1, stop, TEXT) | 0;
            if (p < 0) throw this.#badCharacter(~p);
            if (p >= stop || b[p]! >= 0x80) break scan;
          } else throw this.#badCharacter(p - 1);
          continue;
        }

        case AFTER_LT: {
          if (p >= stop) break scan;
          c = b[p]!;
          if (c === 0x2f) {
            p++;
            token = p - base;
            state = depth === 0 ? this.#beginStreamEnd(p) | 0 : IN_END_NAME;
            continue;
          }
          if (NAME[c] === NAME_START) {
            token = p - base;
            p++;
          } else if (c >= 0x80) {
            const character = decodeUtf8(b, p, stop);
            if (character === INCOMPLETE) break scan;
            if (!isNameStart(character)) throw this.#badName(p);
            token = p - base;
            p += utf8Length(character) | 0;
          } else {
            state = this.#afterLt(c, p, depth) | 0;
            p++;
            token = p - base;
            continue;
          }
          if (depth >= limits.maxDepth) throw this.#refusal("policy-violation", "too many levels of elements", p);
          if (++this.#elements > limits.maxElements) throw this.#refusal("policy-violation", "too many elements", p);
          colon = 0;
          flags = baseFlags;
          if (attributes.count !== 0) attributes.clear();
          state = IN_NAME;
          continue;
        }

        case IN_NAME: {
          while (p < stop) {
            c = b[p]!;
            if (NAME[c] === 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (c === 0x3a) {
            if (colon !== 0) throw this.#badName(p);
            colon = p - base;
            p++;
            state = LOCAL_NAME;
            continue;
          }
          if (c >= 0x80) {
            const character = decodeUtf8(b, p, stop);
            if (character === INCOMPLETE) break scan;
            if (!isNameChar(character)) throw this.#badName(p);
            p += utf8Length(character) | 0;
            continue;
          }
          if (depth * 2 === names.length) names = this.#growNames();
          names[depth * 2] = token;
          names[depth * 2 + 1] = p - base;
          depth++;
          if (colon !== 0) {
            flags |= ELEMENT_PREFIX;
            this.#elementColon = colon;
          }
          p++;
          if (c === 0x3e) {
            if (flags !== 0 || depth === 1) {
              if (this.#settle(b, depth, flags, p)) return this.#complete(p, HEADER);
            }
            state = IN_TEXT;
          } else if (SPACE[c] !== 0) state = IN_TAG;
          else if (c === 0x2f) state = AFTER_SLASH;
          else throw this.#badName(p - 1);
          continue;
        }

        case IN_TAG: {
          while (p < stop) {
            c = b[p]!;
            if (SPACE[c] === 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (NAME[c] === NAME_START) {
            token = p - base;
            p++;
          } else if (c === 0x3e) {
            p++;
            if (flags !== 0 || depth === 1) {
              if (this.#settle(b, depth, flags, p)) return this.#complete(p, HEADER);
            }
            state = IN_TEXT;
            continue;
          } else if (c === 0x2f) {
            p++;
            state = AFTER_SLASH;
            continue;
          } else if (c >= 0x80) {
            const character = decodeUtf8(b, p, stop);
            if (character === INCOMPLETE) break scan;
            if (!isNameStart(character)) throw this.#badName(p);
            token = p - base;
            p += utf8Length(character) | 0;
          } else throw this.#badName(p);
          if (attributes.count >= limits.maxAttributes) {
            throw this.#refusal("policy-violation", "too many attributes in one element", p);
          }
          colon = 0;
          state = IN_ATTRIBUTE;
          continue;
        }

        case IN_ATTRIBUTE: {
          while (p < stop) {
            c = b[p]!;
            if (NAME[c] === 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (c === 0x3a) {
            if (colon !== 0) throw this.#badName(p);
            colon = p - base;
            p++;
            state = LOCAL_ATTRIBUTE;
            continue;
          }
          if (c >= 0x80) {
            const character = decodeUtf8(b, p, stop);
            if (character === INCOMPLETE) break scan;
            if (!isNameChar(character)) throw this.#badName(p);
            p += utf8Length(character) | 0;
            continue;
          }
          if (!attributes.add(b, base, token, p - base, colon)) {
            throw this.#refusal("not-well-formed", `attribute ${this.#quoted(b, token, p - base)} comes twice`, p);
          }
          this.#declares = DECLARES_NOTHING;
          if (colon !== 0) {
            if (!isXmlPrefix(b, base + token, colon - token)) flags |= ATTRIBUTE_PREFIX;
            else if (colon - token === 5) this.#declares = DECLARES_PREFIX;
          } else if (p - base - token === 5 && isXmlPrefix(b, base + token, 5)) {
            this.#declares = DECLARES_DEFAULT;
          }
          state = BEFORE_EQUALS;
          continue;
        }

        case BEFORE_EQUALS: {
          while (p < stop) {
            c = b[p]!;
            if (SPACE[c] === 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (c !== 0x3d) throw this.#refusal("not-well-formed", "attribute without a value", p);
          p++;
          state = BEFORE_VALUE;
          continue;
        }

        case BEFORE_VALUE: {
          while (p < stop) {
            c = b[p]!;
            if (SPACE[c] === 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (c !== 0x22 && c !== 0x27) throw this.#refusal("not-well-formed", "attribute value without quotes", p);
          quote = c;
          p++;
          this.#valueAt = p - base;
          this.#dirty = false;
          state = IN_VALUE;
          continue;
        }

        case IN_VALUE: {
          while (p < stop) {
            c = b[p]!;
            if (VALUE[c] !== 0) break;
            p++;
          }
          if (p >= stop) break scan;
          if (c === quote) {
            if (this.#declares !== DECLARES_NOTHING) this.#declare(b, depth, colon, p);
            p++;
            state = AFTER_VALUE;
            continue;
          }
          p++;
          if (c >= 0x80) {
            p = skipUtf8(b, p - 1, stop, VALUE) | 0;
            if (p < 0) throw this.#badCharacter(~p);
            if (p >= stop || b[p]! >= 0x80) break scan;
          } else if (c === 0x26) {
            this.#dirty = true;
            this.#reference.begin(IN_VALUE, p - 1 - base);
            state = IN_REFERENCE;
          } else if (c === 0x3c) {
            throw this.#refusal("not-well-formed", '"<" in an attribute value', p - 1);
          } else if (SPACE[c] !== 0) {
            this.#dirty = true;
          } else if (c !== 0x22 && c !== 0x27) throw this.#badCharacter(p - 1);
          continue;
        }

        case AFTER_VALUE: {
          if (p >= stop) break scan;
          c = b[p]!;
          p++;
          if (c === 0x3e) {
            if (flags !== 0 || depth === 1) {
              if (this.#settle(b, depth, flags, p)) return this.#complete(p, HEADER);
            }
            state = IN_TEXT;
          } else if (SPACE[c] !== 0) state = IN_TAG;
          else if (c === 0x2f) state = AFTER_SLASH;
          else throw this.#refusal("not-well-formed", "no white space after an attribute value", p - 1);
          continue;
        }

        case AFTER_SLASH: {
          if (p >= stop) break scan;
          if (b[p] !== 0x3e) throw this.#refusal("not-well-formed", '"/" in a start tag', p);
          p++;
          if (flags !== 0 || depth === 1) {
            if (this.#settle(b, depth, flags, p)) return this.#complete(p, EMPTY_HEADER);
          }
          if (depth === 1) return this.#complete(p, ELEMENT);
          if (this.#namespaces.count !== 0 || baseFlags !== 0) this.#leave(b, depth);
          depth--;
          state = IN_TEXT;
          continue;
        }

        case IN_END_NAME: {
          const from = base + names[depth * 2 - 2]!;
          const shift = base + token - from;
          const nameStop = base + token + (names[depth * 2 - 1]! - names[depth * 2 - 2]!);
          const compareStop = nameStop < stop ? nameStop : stop;
          while (p < compareStop && b[p] === b[p - shift]) p++;
          if (p < nameStop) {
            if (p >= stop) break scan;
            throw this.#wrongEnd(b, depth, p);
          }
          state = AFTER_END_NAME;
          continue;
        }

        case AFTER_END_NAME: {
          if (p >= stop) break scan;
          c = b[p]!;
          if (c === 0x3e) {
            p++;
            if (this.#namespaces.count !== 0 || baseFlags !== 0) this.#leave(b, depth);
            depth--;
            if (depth === 0) return this.#complete(p, ELEMENT);
            state = IN_TEXT;
            continue;
          }
          // White space may follow the name, but the name may not go on.
          if (SPACE[c] === 0) throw this.#wrongEnd(b, depth, p);
          p++;
          continue;
        }

        case IN_REFERENCE: {
          p = this.#reference.read(b, p, stop, base) | 0;
          if (p < 0) {
            p = ~p;
            break scan;
          }
          state = this.#reference.from | 0;
          continue;
        }

        case LOCAL_NAME:
        case LOCAL_ATTRIBUTE: {
          if (p >= stop) break scan;
          c = b[p]!;
          if (NAME[c] === NAME_START) p++;
          else {
            const character = c >= 0x80 ? decodeUtf8(b, p, stop) : c;
            if (character === INCOMPLETE) break scan;
            if (!isNameStart(character)) throw this.#badName(p);
            p += utf8Length(character) | 0;
          }
          state = state === LOCAL_NAME ? IN_NAME : IN_ATTRIBUTE;
          continue;
        }

        case AFTER_BANG: {
          const shift = base + token;
          while (p < stop && p - shift < CDATA_OPEN.length && b[p] === CDATA_OPEN[p - shift]) p++;
          if (p - shift === CDATA_OPEN.length) {
            if (depth === 0) {
              const condition = this.#scope === null ? "not-well-formed" : "bad-format";
              throw this.#refusal(condition, "character data outside of a stanza", p);
            }
            state = IN_CDATA;
            continue;
          }
          if (p < stop) this.#refuseBang(b, shift, stop);
          break scan;
        }

        case IN_CDATA: {
          while (p < stop) {
            c = b[p]!;
            if (CDATA[c] !== 0) break;
            p++;
          }
          if (p >= stop) break scan;
          p++;
          if (c === 0x3e) {
            // "[" comes before the content, so that "]]" is inside it.
            if (b[p - 2] === 0x5d && b[p - 3] === 0x5d) state = IN_TEXT;
          } else if (c >= 0x80) {
            p = skipUtf8(b, p - 1, stop, CDATA) | 0;
            if (p < 0) throw this.#badCharacter(~p);
            if (p >= stop || b[p]! >= 0x80) break scan;
          } else throw this.#badCharacter(p - 1);
          continue;
        }

        case IN_DECLARATION: {
          this.#declaration ??= new XmlDeclaration();
          const past = this.#declaration.read(b, p, stop);
          if (past >= 0) {
            this.#declaration = null;
            return this.#complete(past, DECLARATION);
          }
          p = stop;
          break scan;
        }

        default: {
          // IN_STREAM_END
          const root = this.#rootName!;
          const nameStop = base + token + root.length;
          while (p < stop && p < nameStop) {
            if (b[p] !== root[p - base - token]) throw this.#refusal("not-well-formed", "end tag of no element", p);
            p++;
          }
          while (p < stop && SPACE[b[p]!] !== 0) p++;
          if (p >= stop) break scan;
          if (b[p] !== 0x3e) throw this.#refusal("not-well-formed", "end tag of no element", p);
          return this.#complete(p + 1, STREAM_END);
        }
      }
    }

    this.pos = p;
    this.#state = state;
    this.#depth = depth;
    this.#token = token;
    this.#colon = colon;
    this.#quote = quote;
    this.#flags = flags;
    if (stop < end) throw this.#refusal("policy-violation", `longer than ${limits.maxBytes} bytes`, stop);
    return MORE;
  }

  #complete(p: number, what: number): number {
    this.pos = p;
    return what;
  }

  #growNames(): Int32Array {
    const larger = new Int32Array(this.#names.length * 2);
    larger.set(this.#names);
    this.#names = larger;
    return larger;
  }

  /** `<` and then something that begins no name. */
  #afterLt(c: number, p: number, depth: number): number {
    if (c === 0x21) return AFTER_BANG;
    if (c !== 0x3f) throw this.#refusal("not-well-formed", '"<" that begins no tag', p);
    if (depth === 0 && this.#mayDeclare) return IN_DECLARATION;
    throw this.#refusal("restricted-xml", "processing instruction", p);
  }

  #beginStreamEnd(p: number): number {
    if (this.#rootName === null) throw this.#refusal("not-well-formed", "end tag before the stream header", p);
    return IN_STREAM_END;
  }

  /** `<!` and no CDATA section: refuses it as soon as it is clear why. */
  #refuseBang(b: Buffer, from: number, stop: number): void {
    if (b[from] === 0x2d) {
      if (from + 1 >= stop) return;
      if (b[from + 1] === 0x2d) throw this.#refusal("restricted-xml", "comment", from);
    }
    let at = 0;
    while (at < DOCTYPE.length && b[from + at] === DOCTYPE[at]) {
      at++;
      if (from + at >= stop && at < DOCTYPE.length) return;
    }
    if (at === DOCTYPE.length) throw this.#refusal("restricted-xml", "document type declaration", from);
    throw this.#refusal("not-well-formed", '"<!" that begins nothing', from);
  }

  /** A namespace declaration is complete: its value ends at `p` (Namespaces in XML 1.0 §3). */
  #declare(b: Buffer, depth: number, colon: number, p: number): void {
    const base = this.base;
    const start = this.#valueAt;
    const length = p - base - start;
    // A value that must be compared: it needs normalising, or is as long as one of the two reserved names.
    const compare = this.#dirty || length === NS.xml.length || length === NS.xmlns.length;
    const uri = compare ? attributeValue(b, base + start, p) : "";
    if (this.#declares === DECLARES_DEFAULT) {
      if (uri === NS.xml || uri === NS.xmlns) {
        throw this.#refusal("not-well-formed", "reserved namespace as the default namespace", p);
      }
      if (depth === 1) {
        this.#defaultAt = start;
        this.#defaultEnd = p - base;
        this.#defaultDirty = this.#dirty;
      }
      if (this.#defaultDepth === 0) this.#defaultDepth = depth;
      return;
    }
    const attributes = this.#attributes;
    const nameEnd = attributes.spans[attributes.count * 3 - 2]!;
    const prefix = b.toString("utf8", base + colon + 1, base + nameEnd);
    if (prefix === "xmlns" || uri === NS.xmlns || (prefix === "xml") !== (uri === NS.xml)) {
      throw this.#refusal("not-well-formed", "reserved prefix or namespace in a declaration", p);
    }
    if (length === 0) throw this.#refusal("not-well-formed", "prefix declared to be no namespace", p);
    this.#namespaces.declare(b, base, colon + 1, nameEnd, start, p - base, depth);
  }

  /** A start tag is complete and ends at `p`: namespaces, and for the top element its kind. True: it is the header. */
  #settle(b: Buffer, depth: number, flags: number, p: number): boolean {
    const base = this.base;
    const start = this.#names[depth * 2 - 2]!;
    const end = this.#names[depth * 2 - 1]!;
    let found = OF_XML;
    if ((flags & ELEMENT_PREFIX) !== 0) found = this.#resolve(b, start, this.#elementColon, p);
    else if ((flags & FOREIGN_DEFAULT) !== 0 && this.#defaultDepth === 0) this.usesStreamPrefix = true;
    if ((flags & ATTRIBUTE_PREFIX) !== 0) this.#settleAttributes(b, p);
    if (depth !== 1) return false;

    this.tagEnd = p - base;
    this.nameEnd = end;
    if (this.#scope === null) {
      const at = this.#defaultAt;
      this.kind = KIND.streamHeader;
      this.declared = this.#namespaces.scope(
        b,
        base,
        at < 0 ? "" : attributeValue(b, base + at, base + this.#defaultEnd),
      );
      return true;
    }
    const colon = (flags & ELEMENT_PREFIX) !== 0 ? this.#elementColon : -1;
    this.kind = kindOf(this.#topNamespace(b, colon, found), b, base + (colon < 0 ? start : colon + 1), base + end);
    return false;
  }

  /** The number of the top element's namespace. */
  #topNamespace(b: Buffer, colon: number, found: number): number {
    const base = this.base;
    if (colon >= 0) return namespaceOf(this.#namespaces.uri(b, base, 1, colon, found, this.#scope));
    const at = this.#defaultAt;
    if (at < 0) return namespaceOf(this.#scope!.defaultNamespace);
    if (this.#defaultDirty) return namespaceOf(attributeValue(b, base + at, base + this.#defaultEnd));
    return namespaceOfSpan(b, base + at, base + this.#defaultEnd);
  }

  /** Every prefix is declared, and no two attributes have one expanded name (Namespaces in XML 1.0 §5 and §6.3). */
  #settleAttributes(b: Buffer, p: number): void {
    const { count, spans } = this.#attributes;
    const base = this.base;
    let names: Set<string> | null = null;
    let first = -1;
    for (let at = 0; at < count * 3; at += 3) {
      const start = spans[at]!;
      const colon = spans[at + 2]!;
      if (colon === 0 || isXmlPrefix(b, base + start, colon - start)) continue;
      const found = this.#resolve(b, start, colon, p);
      if (first < 0) {
        first = at;
        continue;
      }
      names ??= new Set([this.#expandedName(b, spans, first, p)]);
      const before = names.size;
      if (names.add(this.#expandedName(b, spans, at, p, found)).size === before) {
        throw this.#refusal("not-well-formed", "two attributes with one expanded name", p);
      }
    }
  }

  #expandedName(b: Buffer, spans: Int32Array, at: number, p: number, found?: number): string {
    const start = spans[at]!;
    const colon = spans[at + 2]!;
    const row = found ?? this.#resolve(b, start, colon, p);
    const uri = this.#namespaces.uri(b, this.base, start, colon, row, this.#scope);
    return `${b.toString("utf8", this.base + colon + 1, this.base + spans[at + 1]!)} ${uri}`;
  }

  #resolve(b: Buffer, start: number, colon: number, p: number): number {
    const found = this.#namespaces.resolve(b, this.base, start, colon, this.#scope);
    if (found === UNDECLARED) {
      throw this.#refusal("not-well-formed", `prefix ${this.#quoted(b, start, colon)} is not declared`, p);
    }
    if (found === OF_HEADER) this.usesStreamPrefix = true;
    return found;
  }

  /** The element at `depth` is closed. */
  #leave(b: Buffer, depth: number): void {
    this.#namespaces.leave(b, this.base, depth);
    if (this.#defaultDepth === depth) this.#defaultDepth = 0;
  }

  /** A name for a message: never more than a short one, the rest could be anything. */
  #quoted(b: Buffer, start: number, end: number): string {
    return end - start > 40 ? "(a long name)" : `"${b.toString("utf8", this.base + start, this.base + end)}"`;
  }

  #wrongEnd(b: Buffer, depth: number, p: number): FramingError {
    const name = this.#quoted(b, this.#names[depth * 2 - 2]!, this.#names[depth * 2 - 1]!);
    return this.#refusal("not-well-formed", `end tag that does not close ${name}`, p);
  }

  #badName(p: number): FramingError {
    return this.#refusal("not-well-formed", "character that no tag may have there", p);
  }

  #badCharacter(p: number): FramingError {
    return this.#refusal("not-well-formed", "bytes that are no character of XML or not UTF-8", p);
  }

  #refusal(condition: FramingCondition, what: string, p: number): FramingError {
    return new FramingError(condition, `${what} at byte ${p - this.base}`);
  }
}

/** Whether `b[at, at + length)` is `xml` or `xmlns`. */
function isXmlPrefix(b: Buffer, at: number, length: number): boolean {
  if ((length !== 3 && length !== 5) || b[at] !== 0x78) return false;
  for (let i = 1; i < length; i++) {
    if (b[at + i] !== XMLNS[i]) return false;
  }
  return true;
}

/** Scans that no framer needs at the moment. An idle framer holds none. */
const spares: FrameScan[] = [];
const MAX_SPARES = 16;

export function borrowScan(): FrameScan {
  return spares.pop() ?? new FrameScan();
}

export function giveBackScan(scan: FrameScan): void {
  if (spares.length < MAX_SPARES) spares.push(scan);
}
