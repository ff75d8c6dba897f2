import { type Frame, KIND } from "./frame.ts";
import { Carry } from "./framer-carry.ts";
import { openingTagOf, type StreamRoot, type StreamScope } from "./framer-namespaces.ts";
import { borrowScan, type FrameScan, giveBackScan } from "./framer-scan.ts";
import * as stages from "./framer-stages.ts";
import * as tables from "./framer-tables.ts";
import { FramingError } from "./framing-error.ts";

export type { StreamScope } from "./framer-namespaces.ts";

/** What one stream may cost. Exact, whatever the chunking: the byte that exceeds a limit ends the stream. */
export interface FramerLimits {
  /** Bytes of one first-level element, or of one opening stream tag. */
  readonly maxBytes: number;
  /** Nesting inside a first-level element; the element itself is 1. */
  readonly maxDepth: number;
  /** Elements in one first-level element, itself included. */
  readonly maxElements: number;
  /** Attributes of one element, namespace declarations included. */
  readonly maxAttributes: number;
}

// Constants of this module: the compiler knows them, and looks up imported ones each time.
const { SCAN } = stages;
const { SPACE } = tables;

const NOTHING: Buffer = Buffer.alloc(0);
/** Shorter chunks are not worth a view of words: they go through the carry. */
const MIN_WORDS = 64;
const NO_WORDS: Int32Array = new Int32Array(0);

type Phase = "start" | "prolog" | "open" | "closing" | "closed";

/**
 * Cuts a stream into frames and proves each one well-formed: XML 1.0 and Namespaces 1.0, less what RFC 6120 §11.1
 * forbids. Pull, not push, because after any frame the owner may restart the stream, stop, or pass it on:
 *
 *     framer.feed(chunk, true);
 *     for (let frame = framer.next(); frame !== null; frame = framer.next()) …
 *
 * A frame that lies within one chunk is that chunk's bytes. One that straddles chunks, or comes in a chunk of a few
 * bytes, is collected in a carry, whose bytes are never used again: such frames are always stable.
 */
export class StanzaFramer {
  /** May be replaced at any time; the next frame obeys. */
  limits: FramerLimits;

  readonly #frame: Frame = {
    kind: KIND.other,
    bytes: NOTHING,
    start: 0,
    end: 0,
    tagEnd: 0,
    nameStart: 0,
    nameEnd: 0,
    stable: false,
    usesStreamPrefix: false,
  };
  #chunk: Buffer = NOTHING;
  /** The length of the chunk: to ask a Buffer for it costs a dozen instructions. */
  #end = 0;
  /** The chunk as words, from a few bytes before it; made when the first frame begins in it. */
  #words: Int32Array = NO_WORDS;
  /** The next unread byte of the chunk. */
  #at = 0;
  #stable = true;
  /** The frame that has begun and is not complete, and its bytes. */
  #scan: FrameScan | null = null;
  #carry: Carry | null = null;

  #phase: Phase = "start";
  /** Bytes of XML declaration and white space before the header: they count towards its limit. */
  #prolog = 0;
  #root: StreamRoot | null = null;
  #error: FramingError | null = null;

  constructor(limits: FramerLimits) {
    this.limits = limits;
  }

  /** What the stream header declares, once it was handed out. */
  get header(): StreamScope | null {
    return this.#root;
  }

  /** A frame has begun and is not complete. */
  get midFrame(): boolean {
    return this.#scan !== null;
  }

  /** Bytes fed that are in no frame yet. */
  unread(): number {
    const carried = this.#carry === null ? 0 : this.#carry.end - this.#carry.start;
    return carried + this.#end - this.#at;
  }

  /** A copy of them: with `openingTag` before it, another framer goes on where this one stands between two chunks. */
  unreadBytes(): Buffer {
    const carry = this.#carry;
    const carried = carry === null ? NOTHING : carry.slab.bytes.subarray(carry.start, carry.end);
    return Buffer.concat([carried, this.#chunk.subarray(this.#at, this.#end)]);
  }

  /** A tag that declares what the header of this stream did; null before it was handed out. */
  openingTag(): Buffer | null {
    return this.#root === null ? null : openingTagOf(this.#root);
  }

  /** Hands over the next chunk. `stable`: its bytes never change; else they may once `next` has answered null. */
  feed(chunk: Buffer, stable: boolean): void {
    if (this.#error !== null) return;
    if (this.#at < this.#end) this.#read(Buffer.concat([this.#chunk.subarray(this.#at), chunk]), true);
    else this.#read(chunk, stable);
  }

  #read(chunk: Buffer, stable: boolean): void {
    this.#chunk = chunk;
    this.#end = chunk.length;
    this.#at = 0;
    this.#stable = stable;
    this.#words = NO_WORDS;
  }

  /**
   * The next frame; "end" for the closing tag of the stream; null when more bytes are needed. The frame is valid until
   * the next call. Throws FramingError, and then for ever.
   */
  next(): Frame | "end" | null {
    if (this.#error !== null) throw this.#error;
    try {
      if (this.#scan !== null && this.#carry !== null) return this.#resume(this.#scan, this.#carry);
      return this.#phase === "open" ? this.#begin() : this.#edge();
    } catch (error) {
      if (error instanceof FramingError) this.#error = error;
      this.#dropScan();
      this.#dropChunk();
      throw error;
    }
  }

  /** The last frame is no longer needed: lets go of its bytes, if they were the last of the chunk. */
  release(): void {
    if (this.#at >= this.#end) this.#dropChunk();
  }

  /** A new stream begins at the next unread byte (RFC 6120 §4.3.3). */
  restart(): void {
    const carry = this.#carry;
    if (carry !== null) {
      // What came of a frame was sent for the new stream then.
      const { bytes } = carry.slab;
      this.#read(Buffer.concat([bytes.subarray(carry.start, carry.end), this.#chunk.subarray(this.#at)]), true);
      this.#dropScan();
    }
    this.#phase = "start";
    this.#prolog = 0;
    this.#root = null;
  }

  /** Between frames of an open stream. */
  #begin(): Frame | "end" | null {
    const chunk = this.#chunk;
    const end = this.#end;
    let p = this.#at;
    while (p < end && SPACE[chunk[p]!] !== 0) p++;
    if (p >= end) return this.#dropChunk();
    if (chunk[p] !== 0x3c) throw new FramingError("bad-format", "text between stanzas");
    const scan = borrowScan();
    scan.begin(p, this.limits, this.#root!);
    return this.#open(scan, p);
  }

  /** Before the header and after the end. */
  #edge(): Frame | "end" | null {
    if (this.#phase === "closing") {
      this.#phase = "closed";
      return "end";
    }
    const chunk = this.#chunk;
    const end = this.#end;
    const first = this.#at;
    if (this.#phase === "closed") {
      for (let p = first; p < end; p++) {
        if (SPACE[chunk[p]!] === 0) throw new FramingError("not-well-formed", "something after the end of the stream");
      }
      return this.#dropChunk();
    }
    const room = this.limits.maxBytes - this.#prolog;
    let p = first;
    while (p < end && SPACE[chunk[p]!] !== 0) {
      if (p - first >= room) break;
      p++;
    }
    if (p > first) this.#phase = "prolog";
    this.#prolog += p - first;
    this.#at = p;
    if (p >= end) return this.#dropChunk();
    if (p - first >= room) {
      throw new FramingError("policy-violation", `stream header longer than ${this.limits.maxBytes} bytes`);
    }
    if (chunk[p] !== 0x3c) throw new FramingError("not-well-formed", "something other than a stream header");
    const scan = borrowScan();
    scan.beginHeader(p, this.limits, this.#prolog, this.#phase === "start");
    return this.#open(scan, p);
  }

  /** Reads the frame that begins at `start` in the chunk. */
  #open(scan: FrameScan, start: number): Frame | "end" | null {
    const chunk = this.#chunk;
    const end = this.#end;
    if (end >= MIN_WORDS) {
      const shift = chunk.byteOffset & 3;
      if (this.#words === NO_WORDS) {
        this.#words = new Int32Array(chunk.buffer, chunk.byteOffset - shift, (end + shift) >> 2);
      }
      const what = scan.run(chunk, this.#words, shift, end, end - start);
      if (what !== SCAN.more) {
        this.#at = scan.pos;
        return this.#deliver(scan, what, chunk, this.#stable);
      }
    }
    // The chunk may be overwritten, or be far larger than what is kept of it.
    const carry = new Carry(end - start);
    this.#scan = scan;
    this.#carry = carry;
    this.#at = start;
    if (end >= MIN_WORDS) this.#at += carry.take(chunk, start, end);
    scan.moveTo(carry.start);
    return this.#resume(scan, carry);
  }

  /** Goes on with a frame whose bytes are in the carry so far. */
  #resume(scan: FrameScan, carry: Carry): Frame | "end" | null {
    while (this.#at < this.#end) {
      // Only as much as there is room for: most frames end soon, and what comes behind is read from the chunk itself.
      const fresh = carry.take(this.#chunk, this.#at, this.#end);
      this.#at += fresh;
      if (scan.base !== carry.start) scan.moveTo(carry.start);
      const { bytes, words } = carry.slab;
      const what = scan.run(bytes, words, 0, carry.end, fresh);
      if (what !== SCAN.more) {
        this.#at -= carry.end - scan.pos;
        carry.release(scan.pos);
        return this.#deliver(scan, what, bytes, true);
      }
    }
    return this.#dropChunk();
  }

  /** The scan is through with what it read in `bytes`. */
  #deliver(scan: FrameScan, what: number, bytes: Buffer, stable: boolean): Frame | "end" | null {
    const base = scan.base;
    const pos = scan.pos;
    giveBackScan(scan);
    if (this.#scan !== null) this.#dropScan();
    if (what !== SCAN.element) {
      this.#turn(scan, what);
      if (what === SCAN.declaration) return this.#edge();
      if (what === SCAN.streamEnd) return "end";
    }
    const frame = this.#frame;
    frame.kind = scan.kind;
    frame.bytes = bytes;
    frame.start = base;
    frame.end = pos;
    frame.tagEnd = base + scan.tagEnd;
    frame.nameStart = base + 1;
    frame.nameEnd = base + scan.nameEnd;
    frame.stable = stable;
    frame.usesStreamPrefix = scan.usesStreamPrefix;
    return frame;
  }

  /** The stream enters another phase. */
  #turn(scan: FrameScan, what: number): void {
    if (what === SCAN.declaration) {
      this.#prolog += scan.pos - scan.base;
      this.#phase = "prolog";
    } else if (what === SCAN.streamEnd) this.#phase = "closed";
    else {
      this.#phase = what === SCAN.emptyHeader ? "closing" : "open";
      this.#root = scan.declared;
      scan.declared = null;
    }
  }

  #dropScan(): void {
    this.#scan = null;
    this.#carry = null;
  }

  /** An idle framer keeps nothing alive. */
  #dropChunk(): null {
    this.#chunk = NOTHING;
    this.#end = 0;
    this.#words = NO_WORDS;
    this.#at = 0;
    this.#frame.bytes = NOTHING;
    return null;
  }
}
