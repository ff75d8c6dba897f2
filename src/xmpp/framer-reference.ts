import { NAME, NAME_START } from "./framer-tables.ts";
import { FramingError } from "./framing-error.ts";
import { decodeUtf8, INCOMPLETE, isNameChar, isNameStart, utf8Length } from "./utf8.ts";

/** The only entities of a stream: XML 1.0 §4.6, and RFC 6120 §11.1 forbids to declare others. */
const ENTITIES = ["&amp;", "&lt;", "&gt;", "&apos;", "&quot;"].map((name) => Buffer.from(name));

const AFTER_AMPERSAND = 0;
const IN_NAME = 1;
const AFTER_HASH = 2;
const AFTER_X = 3;
const IN_DECIMAL = 4;
const IN_HEX = 5;

/** Reads a reference, `&amp;` or `&#x20AC;`, from behind its `&`. May stop after any byte. */
export class ReferenceReader {
  /** What the owner was reading when the reference came. */
  from = 0;
  #start = 0;
  #step = AFTER_AMPERSAND;
  #code = 0;

  /** A reference begins at `start`, relative to the frame. */
  begin(from: number, start: number): void {
    this.from = from;
    this.#start = start;
    this.#step = AFTER_AMPERSAND;
    this.#code = 0;
  }

  /** Returns the position past `;`, or `~position` when `stop` comes first. */
  read(b: Buffer, p: number, stop: number, base: number): number {
    while (p < stop) {
      const c = b[p]!;
      const step = this.#step;
      if (c === 0x3b && step !== AFTER_AMPERSAND && step !== AFTER_HASH && step !== AFTER_X) {
        this.#check(b, p, base);
        return p + 1;
      }
      let character: number = c;
      if (c >= 0x80) {
        character = decodeUtf8(b, p, stop);
        if (character === INCOMPLETE) return ~p;
      }
      this.#take(character, p - base);
      p += utf8Length(character);
    }
    return ~p;
  }

  #take(c: number, at: number): void {
    switch (this.#step) {
      case AFTER_AMPERSAND:
        if (c === 0x23) this.#step = AFTER_HASH;
        else if (c >= 0x80 ? isNameStart(c) : NAME[c] === NAME_START) this.#step = IN_NAME;
        else throw malformed(at);
        return;
      case IN_NAME:
        // Not below 0x80 either: bytes that are no UTF-8.
        if (c >= 0 && c < 0x80 ? NAME[c] === 0 : !isNameChar(c)) throw malformed(at);
        return;
      case AFTER_HASH:
        if (c === 0x78) {
          this.#step = AFTER_X;
          return;
        }
        this.#step = IN_DECIMAL;
        this.#digit(c, 10, at);
        return;
      case IN_DECIMAL:
        this.#digit(c, 10, at);
        return;
      default:
        this.#step = IN_HEX;
        this.#digit(c, 16, at);
    }
  }

  #digit(c: number, radix: number, at: number): void {
    const lower = c | 0x20;
    const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : radix;
    if (digit >= radix) throw malformed(at);
    // Zeros may come in any number (XML 1.0 §4.1); past the last code point the exact value does not matter.
    this.#code = Math.min(this.#code * radix + digit, 0x110000);
  }

  #check(b: Buffer, p: number, base: number): void {
    if (this.#step === IN_NAME) {
      if (usualReference(b, base + this.#start, p + 1) > 0) return;
      throw new FramingError("restricted-xml", `entity other than the five of XML at byte ${this.#start}`);
    }
    const c = this.#code;
    const legal =
      (c >= 0x20 && c <= 0xd7ff) || c === 0x9 || c === 0xa || c === 0xd || (c >= 0xe000 && c <= 0xfffd) || c >= 0x10000;
    if (!legal || c > 0x10ffff) {
      throw new FramingError("not-well-formed", `reference to a character that XML forbids at byte ${this.#start}`);
    }
  }
}

/** The position past `&amp;` or one of its four peers, if `b[p, stop)` begins with it, else 0. */
export function usualReference(b: Buffer, p: number, stop: number): number {
  for (let i = 0; i < ENTITIES.length; i++) {
    const entity = ENTITIES[i]!;
    const { length } = entity;
    if (stop - p < length || b[p + 1] !== entity[1] || b[p + length - 1] !== 0x3b) continue;
    let at = 2;
    while (at < length && b[p + at] === entity[at]) at++;
    if (at === length) return p + length;
  }
  return 0;
}

function malformed(at: number): FramingError {
  return new FramingError("not-well-formed", `malformed reference at byte ${at}`);
}
