import type { Link } from "../../session/ports.ts";
import { NS } from "../../xmpp/ns.ts";
import type { UnackedQueue } from "../../xmpp/unacked-queue.ts";

const FIRST_SLICE_BYTES = 2048;
const MAX_SLICE_BYTES = 256 * 1024;
const SLICE_SECONDS = 2;
// A resumed message younger than this needs no note about when it was sent.
const DELAY_FROM_SECONDS = 10;
const DELAY_MARK = Buffer.from(NS.delay);

/**
 * Sends what a resumed client missed, in slices that it must acknowledge one after the other, so that acknowledgements
 * and fresh answers never wait behind more than one slice and each resume on a slow link gets further than the last.
 * The slice doubles with each acknowledgement, up to what the link carries in two seconds.
 */
export class Replay {
  readonly #queue: UnackedQueue;
  readonly #link: Link;
  readonly #domain: string;
  #sliceBytes: number;
  #sentAt = 0;
  #inFlight = 0;
  // The client's h when the slice under way has arrived: fresh answers that went behind it are not part of it.
  #until = 0;

  /** `cautious`: several resumes have made no progress, so one stanza at a time. `domain` signs the delay notes. */
  constructor(queue: UnackedQueue, link: Link, domain: string, cautious: boolean) {
    this.#queue = queue;
    this.#link = link;
    this.#domain = domain;
    this.#sliceBytes = cautious ? 1 : FIRST_SLICE_BYTES;
  }

  /** Whether a slice waits for its acknowledgement. */
  get waiting(): boolean {
    return this.#inFlight > 0;
  }

  /** Writes the next slice, unless one is under way or the socket is not empty. True when something was written. */
  pump(now: number, wall: number): boolean {
    if (this.waiting || this.#link.pendingBytes > 0 || this.#queue.unsent === 0) return false;
    this.#sentAt = now;
    const nowSeconds = Math.floor(wall / 1000);
    this.#inFlight = this.#queue.sendSlice(this.#sliceBytes, (bytes, start, end, queuedAt) => {
      if (nowSeconds - queuedAt < DELAY_FROM_SECONDS) this.#link.write(bytes, start, end);
      else writeDelayed(this.#link, bytes, start, end, queuedAt, this.#domain);
    });
    this.#until = this.#queue.sent;
    return true;
  }

  /** The client has acknowledged something: perhaps the whole slice. */
  acknowledged(now: number): void {
    if (!this.waiting || (this.#queue.handled - this.#until) >>> 0 >= 0x8000_0000) return;
    const seconds = Math.max((now - this.#sentAt) / 1000, 0.001);
    const carried = Math.max((this.#inFlight / seconds) * SLICE_SECONDS, FIRST_SLICE_BYTES);
    this.#sliceBytes = Math.min(Math.max(this.#sliceBytes, this.#inFlight) * 2, carried, MAX_SLICE_BYTES);
    this.#inFlight = 0;
  }
}

/**
 * Adds the time at which a message or presence was first due (XEP-0198 §5, XEP-0203), just before its end tag. One that
 * says already when it was sent, an empty one and an IQ go unchanged.
 */
export function writeDelayed(
  link: Link,
  bytes: Buffer,
  start: number,
  end: number,
  queuedAt: number,
  domain: string,
): void {
  const insertAt = bytes.lastIndexOf("</", end - 1, "latin1");
  const isIq = bytes[start + 1] === 0x69; // "i"; a prefixed name goes unchanged, too
  const marked = bytes.subarray(start, end).includes(DELAY_MARK);
  if (isIq || marked || insertAt <= start || bytes[end - 2] === 0x2f) return link.write(bytes, start, end);
  const stamp = new Date(queuedAt * 1000).toISOString().replace(".000", "");
  const delay = Buffer.from(`<delay xmlns='${NS.delay}' from='${domain}' stamp='${stamp}'/>`);
  const whole = Buffer.concat([bytes.subarray(start, insertAt), delay, bytes.subarray(insertAt, end)]);
  link.write(whole, 0, whole.length);
}
