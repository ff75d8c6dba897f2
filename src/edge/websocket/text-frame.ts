import { elementNameEnd, missingDeclarations } from "../../xmpp/standalone.ts";

const FIN_TEXT = 0x81;
const COMPRESSED = 0x40;

/** A text message as the bytes of one unmasked frame (RFC 6455 §5.2); `compressed`: it is DEFLATE (RFC 7692 §6). */
export function textFrame(text: Buffer, compressed = false): Buffer {
  const frame = frameOf(text, 0, text.length, 0, text.subarray(0, 0));
  if (compressed) frame[0] = FIN_TEXT | COMPRESSED;
  return frame;
}

/** The message in such a frame. */
export function payloadOf(frame: Buffer): Buffer {
  const length = frame[1]!;
  return frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10);
}

/** One element of a stream as a text message: made standalone and copied, so that the caller's bytes are free again. */
export function elementFrame(bytes: Buffer, start: number, end: number): Buffer {
  const nameEnd = elementNameEnd(bytes, start);
  return frameOf(bytes, start, end, nameEnd, missingDeclarations(bytes, start, nameEnd));
}

function frameOf(bytes: Buffer, start: number, end: number, insertAt: number, inserted: Buffer): Buffer {
  const length = end - start + inserted.length;
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = FIN_TEXT;
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeUInt32BE(Math.floor(length / 2 ** 32), 2);
    frame.writeUInt32BE(length >>> 0, 6);
  }
  if (inserted.length === 0) {
    bytes.copy(frame, head, start, end);
    return frame;
  }
  bytes.copy(frame, head, start, insertAt);
  inserted.copy(frame, head + insertAt - start);
  bytes.copy(frame, head + insertAt - start + inserted.length, insertAt, end);
  return frame;
}
