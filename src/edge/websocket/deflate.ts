import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { meter } from "../../base/meter.ts";

// RFC 7692 §7.2, one message at a time: a zlib object lives as long as the call, so no connection keeps one, nothing of a
// message shows in the length of the next (CRIME), and the thread pool, which would reorder messages, has no part in it.

const bytes = meter.counter(
  "breakwater_websocket_deflate_bytes_total",
  "Bytes of WebSocket messages that were compressed, by direction, plain and as they were on the wire",
  ["direction", "form"],
);
export const plainFromClient = bytes.cell("from_client", "plain");
export const deflatedFromClient = bytes.cell("from_client", "deflated");
const plainToClient = bytes.cell("to_client", "plain");
const deflatedToClient = bytes.cell("to_client", "deflated");

/** Smaller messages fit one packet as they are, and compressing them costs more than relaying them (docs/web.md). */
export const DEFLATE_FROM_BYTES = 1024;

// Higher levels take twice the time for three parts in a hundred.
const LEVEL = 1;
/** What a sync flush ends with, and no message carries (§7.2.1). */
const FLUSHED = 4;

/** A text message as DEFLATE, null when it does not get smaller. */
export function deflate(text: Buffer, windowBits: number): Buffer | null {
  const deflated = deflateRawSync(text, {
    level: LEVEL,
    windowBits,
    chunkSize: text.length,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  const length = deflated.length - FLUSHED;
  if (length >= text.length) return null;
  plainToClient.value += text.length;
  deflatedToClient.value += length;
  return deflated.subarray(0, length);
}

// What the client has left out, then an empty last block: by it zlib knows a whole message from one that breaks off.
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff]);
// COMPAT (RFC 7692 §7.2.3.4): who cannot flush ends with a last block of his own, and with the header of an empty one.
const EMPTY_BLOCK = Buffer.concat([Buffer.from([0x00]), TAIL]);
const NOTHING: Buffer = Buffer.alloc(0);

/** The text of a compressed message that came in `parts`; "too-long" as soon as it is longer than `most`. */
export function inflate(parts: readonly Buffer[], most: number): Buffer | "too-long" | "broken" {
  const input = Buffer.concat([...parts, TAIL]);
  // COMPAT: zlib has nothing to flush after nothing, and so has a client that sends it.
  if (input.length === TAIL.length) return NOTHING;
  try {
    const { buffer, engine } = inflateRawSync(input, { maxOutputLength: most, info: true }) as unknown as Inflated;
    const rest = input.subarray(engine.bytesWritten);
    return rest.length === 0 || rest.equals(EMPTY_BLOCK) ? buffer : "broken";
  } catch (thrown) {
    return (thrown as { code?: string }).code === "ERR_BUFFER_TOO_LARGE" ? "too-long" : "broken";
  }
}

/** What zlib answers with `info`; its types do not know. `bytesWritten`: how much of the input it has read. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}
