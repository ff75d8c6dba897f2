import type { Frame } from "../../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { missingDeclarations } from "../../xmpp/standalone.ts";
import { framingElement, openingTagFor } from "./framing.ts";

/**
 * The messages of one client as the frames of a stream: the opening tag for an `<open/>`, one element for each message
 * behind it (RFC 7395 §3.3). Throws FramingError for what no message may hold.
 */
export class MessageReader {
  readonly #framer: StanzaFramer;
  #opened = false;

  constructor(limits: FramerLimits) {
    this.#framer = new StanzaFramer(limits);
  }

  get limits(): FramerLimits {
    return this.#framer.limits;
  }

  /** May be replaced at any time; the next message obeys. */
  set limits(limits: FramerLimits) {
    this.#framer.limits = limits;
  }

  /** The next message begins a new stream (RFC 7395 §3.7). */
  restart(): void {
    this.#framer.restart();
    this.#opened = false;
  }

  /** Lets go of the message that was read, which may be a slice of a large chunk. */
  release(): void {
    this.#framer.release();
  }

  /** The frame is valid until the next call, or `release`. "close": `<close/>`. Null: nothing but white space. */
  read(message: Buffer): Frame | "close" | null {
    const framer = this.#framer;
    const text = withoutSpaceBehind(message);
    if (!this.#opened) {
      const header = openingTagFor(text, framer.limits);
      if (header === "close") return header;
      this.#opened = true;
      framer.feed(header, true);
      return framer.next() as Frame;
    }
    framer.feed(text, true);
    const frame = framer.next();
    // COMPAT: white space alone, which RFC 7395 §3.3.3 forbids, is how some clients keep a connection.
    if (frame === null && !framer.midFrame) return null;
    if (frame === null || frame === "end" || framer.unread() > 0) {
      throw new FramingError("bad-format", "a message must hold one complete element and nothing else");
    }
    const what = framingElement(frame);
    if (what === "open") throw new FramingError("not-well-formed", "a second <open/>");
    return what ?? declared(frame);
  }
}

// RFC 7395 §3.3.3: each message declares its namespaces. What does not would mean something else on the core's stream.
function declared(frame: Frame): Frame {
  if (frame.usesStreamPrefix || missingDeclarations(frame.bytes, frame.start, frame.nameEnd).length > 0) {
    throw new FramingError("invalid-namespace", "each element declares its own namespace, with xmlns");
  }
  return frame;
}

// COMPAT: a line break behind an element is no second element.
function withoutSpaceBehind(message: Buffer): Buffer {
  let end = message.length;
  while (end > 0 && isSpace(message[end - 1]!)) end--;
  return end === message.length ? message : message.subarray(0, end);
}

// As XML has it: no other control character passes for one.
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
