/**
 * A frame is the slice of bytes that arrived, proven well-formed by the framer: one first-level element, or the opening
 * tag of the stream.
 *
 * It is borrowed: the framer uses one Frame object again and again, and `bytes` may be a shared read buffer. Whoever
 * wants to keep it past their own return calls `retain(frame)`. When `stable` is true the bytes themselves never change,
 * so that a subarray of them may be handed to a socket without a copy.
 */
export interface Frame {
  kind: FrameKind;
  /** The buffer that holds the frame; the frame is `bytes[start, end)`. */
  bytes: Buffer;
  start: number;
  end: number;
  /** Index in `bytes` just past the start tag's `>`. For `<r/>` it equals `end`. */
  tagEnd: number;
  /** Index range of the element's name (with prefix) in `bytes`. */
  nameStart: number;
  nameEnd: number;
  /** True when the bytes in [start, end) never change after the frame was handed over. */
  stable: boolean;
  /**
   * True when the frame uses, anywhere inside, a prefix (other than `xml`) or relies on a default namespace other than
   * jabber:client that only the stream header declares: such a frame is not self-contained on another stream.
   */
  usesStreamPrefix: boolean;
}

/**
 * What a frame is, by its expanded name. `message`, `presence` and `iq` are jabber:client stanzas, the only kinds that
 * XEP-0198 counts; everything at or above `FIRST_NONZA` is stream-level.
 */
export const KIND = {
  /** The opening `<stream:stream …>` tag (RFC 6120 §4.2). */
  streamHeader: 0,
  message: 1,
  presence: 2,
  iq: 3,
  /** `<r/>` and `<a/>` of urn:xmpp:sm:2 or :3. */
  smRequest: 4,
  smAnswer: 5,
  /** Any other element of urn:xmpp:sm:2 or :3: enable, enabled, resume, resumed, failed. */
  sm: 6,
  /** urn:ietf:params:xml:ns:xmpp-sasl: auth, challenge, response, abort, success, failure. */
  sasl: 7,
  /** urn:ietf:params:xml:ns:xmpp-tls: starttls, proceed, failure. */
  tls: 8,
  /** urn:xmpp:csi:0: active, inactive. */
  csi: 9,
  /** `<stream:features/>` and `<stream:error/>`. */
  features: 10,
  streamError: 11,
  /** Any other element. */
  other: 12,
} as const;
export type FrameKind = (typeof KIND)[keyof typeof KIND];

/** Whether XEP-0198 counts this frame. */
export function isStanza(frame: Frame): boolean {
  return frame.kind >= KIND.message && frame.kind <= KIND.iq;
}

/** The frame's bytes as a buffer of their own, safe to keep. */
export function retain(frame: Frame): Buffer {
  return copyOf(frame.bytes, frame.start, frame.end);
}

/** The bytes [start, end) as a buffer of their own. Never from Node's pool: a slice of it would pin 64 KiB. */
export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

/** The frame as text: for parsing and tests, never on the hot path. */
export function textOf(frame: Frame): string {
  return frame.bytes.toString("utf8", frame.start, frame.end);
}

/** A frame over the bytes of one stanza that was a frame before, for `peek`: for what was queued. */
export function frameOver(bytes: Buffer, start: number, end: number, kind: FrameKind = KIND.other): Frame {
  let nameEnd = start + 1;
  while (!ENDS_NAME.has(bytes[nameEnd]!)) nameEnd++;
  let tagEnd = nameEnd;
  for (let quote = 0; bytes[tagEnd] !== 0x3e || quote !== 0; tagEnd++) {
    const byte = bytes[tagEnd]!;
    if (quote !== 0) quote = byte === quote ? 0 : quote;
    else if (byte === 0x22 || byte === 0x27) quote = byte;
  }
  const nameStart = start + 1;
  return { kind, bytes, start, end, tagEnd: tagEnd + 1, nameStart, nameEnd, stable: false, usesStreamPrefix: false };
}

const ENDS_NAME = new Set([0x20, 0x09, 0x0a, 0x0d, 0x2f, 0x3e]);
