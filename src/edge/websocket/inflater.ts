import type { WebSocket } from "ws";
import { deflatedFromClient, inflate, plainFromClient } from "./deflate.ts";
import { CLOSE, MessageError } from "./message-error.ts";

/** XML that means something does not get this small, white space does. */
const MAX_RATIO = 100;
/** Messages of the greatest size that a connection may inflate whatever their ratio. */
const FREE_MESSAGES = 4;
const NOTHING: Buffer = Buffer.alloc(0);

type HandBack = (error: null, data: Buffer) => void;

/**
 * The compressed frames of one client, in the place of ws's own extension object: ws brings each frame and stops reading
 * until it has got something back. The link reads a frame when it may (`waiting`, `read`, `release`), so a link that is
 * paused inflates nothing, and a chunk's messages are all handed over before the next chunk.
 */
export class Inflater {
  readonly #beforeLogin: boolean;
  #loggedIn = false;
  // The frame that waits.
  #frame = NOTHING;
  #last = false;
  #handBack: HandBack | null = null;
  // The message of which it is a part.
  #parts: Buffer[] = [];
  #bytes = 0;
  // Of all messages.
  #deflated = 0;
  #inflated = 0;

  /** `beforeLogin`: whether strangers may compress. */
  constructor(ws: WebSocket, beforeLogin: boolean) {
    this.#beforeLogin = beforeLogin;
    // ws has no door for an extension from outside. Receiver and WebSocket share this object, and look into it when a
    // compressed frame comes; test/edge/websocket/deflate.test.ts tells when that changes.
    (ws as unknown as { _extensions: Record<string, Inflater> })._extensions["permessage-deflate"] = this;
  }

  get waiting(): boolean {
    return this.#handBack !== null;
  }

  loggedIn(): void {
    this.#loggedIn = true;
  }

  /** The message whose last frame waits; nothing when more of it is to come. Throws MessageError. */
  read(maxBytes: number): Buffer {
    if (!this.#loggedIn && !this.#beforeLogin) {
      const text = "a compressed message before login is not inflated here (http.websocket.compression: after_login)";
      throw new MessageError(CLOSE.policy, "policy-violation", text);
    }
    this.#bytes += this.#frame.length;
    if (this.#bytes > maxBytes) {
      this.#parts = [];
      throw tooBig(`a message longer than ${maxBytes} bytes`);
    }
    this.#parts.push(this.#frame);
    return this.#last ? this.#message(maxBytes) : NOTHING;
  }

  /** Lets ws go on with `data` in the place of the frame. The message is emitted, or the next frame waits, on return. */
  release(data: Buffer): void {
    const handBack = this.#handBack!;
    this.#handBack = null;
    this.#frame = NOTHING;
    handBack(null, data);
  }

  /** Called by ws. Answering from inside would have it call its own callback twice. */
  decompress(data: Buffer, last: boolean, handBack: HandBack): void {
    this.#frame = data;
    this.#last = last;
    this.#handBack = handBack;
  }

  /** Called by ws at the end: there is nothing to free. */
  cleanup(): void {}

  #message(maxBytes: number): Buffer {
    const deflated = this.#bytes;
    this.#deflated += deflated;
    // One bomb is cut at the limit of a stanza, but a chunk has room for hundreds.
    const left = FREE_MESSAGES * maxBytes + MAX_RATIO * this.#deflated - this.#inflated;
    const message = inflate(this.#parts, Math.max(1, Math.min(maxBytes, left)));
    this.#parts = [];
    this.#bytes = 0;
    if (message === "broken") {
      throw new MessageError(CLOSE.badData, "bad-format", "a compressed message that is not DEFLATE (RFC 7692 §7.2.2)");
    }
    if (message === "too-long") {
      throw tooBig(
        left < maxBytes
          ? `messages that inflate to more than ${MAX_RATIO} times their size`
          : `a message that inflates to more than ${maxBytes} bytes`,
      );
    }
    this.#inflated += message.length;
    deflatedFromClient.value += deflated;
    plainFromClient.value += message.length;
    return message;
  }
}

function tooBig(text: string): MessageError {
  return new MessageError(CLOSE.tooBig, "policy-violation", text);
}
