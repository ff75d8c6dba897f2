import { DEFLATE_FROM_BYTES, deflate } from "./deflate.ts";
import { closeElement, openFor } from "./framing.ts";
import { elementFrame, payloadOf, textFrame } from "./text-frame.ts";

/** The pieces of a stream as messages to one client: `<open/>` for an opening tag, elements as they are (RFC 7395 §3.3). */
export class MessageWriter {
  readonly #seeOtherUri: () => string | null;
  // Whether our <open/> has gone, for the current stream.
  #answered = false;
  #frames: Buffer[] = [];
  /** Bytes of all frames so far. */
  bytes = 0;
  readonly #windowBits: number | null;
  #loggedIn = false;

  /**
   * `seeOtherUri`: where a client goes on that is told `<close/>`. `windowBits`: with what window it inflates (RFC 7692),
   * null when it does not.
   */
  constructor(seeOtherUri: () => string | null, windowBits: number | null) {
    this.#seeOtherUri = seeOtherUri;
    this.#windowBits = windowBits;
  }

  /** The next opening tag begins a new stream. */
  restart(): void {
    this.#answered = false;
  }

  /** From now on large elements are compressed. What comes before is small, and some of it secret. */
  loggedIn(): void {
    this.#loggedIn = true;
  }

  /** One piece, as `Link.write` has it. Copies. */
  write(bytes: Buffer, start: number, end: number): void {
    const second = bytes[start + 1];
    if (second === 0x3f) return; // <?xml …?>
    if (second === 0x2f) this.#add(textFrame(closeElement(this.#seeOtherUri())));
    else if (this.#answered) this.#add(this.#compressed(elementFrame(bytes, start, end)));
    else {
      this.#answered = true;
      this.#add(textFrame(openFor(bytes, start, end)));
    }
  }

  /** What was written since, for the socket. Null: nothing. */
  take(): Buffer | null {
    const frames = this.#frames;
    if (frames.length === 0) return null;
    this.#frames = [];
    return frames.length === 1 ? frames[0]! : Buffer.concat(frames);
  }

  /** Drops what was written and not taken. */
  clear(): void {
    this.#frames = [];
  }

  #add(frame: Buffer): void {
    this.#frames.push(frame);
    this.bytes += frame.length;
  }

  #compressed(frame: Buffer): Buffer {
    if (!this.#loggedIn || this.#windowBits === null || frame.length < DEFLATE_FROM_BYTES) return frame;
    const deflated = deflate(payloadOf(frame), this.#windowBits);
    return deflated === null ? frame : textFrame(deflated, true);
  }
}
