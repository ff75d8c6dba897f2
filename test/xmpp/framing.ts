import { type Frame, textOf } from "../../src/xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../src/xmpp/framer.ts";
import { FramingError } from "../../src/xmpp/framing-error.ts";

export const LIMITS: FramerLimits = { maxBytes: 262_144, maxDepth: 64, maxElements: 10_000, maxAttributes: 64 };
export const HEADER =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
/** Chunk sizes that cut everywhere, and one that cuts nowhere. */
export const CHUNK_SIZES = [1, 2, 3, 7, 64, 1 << 20];

export type Seen = { text: string; kind: number; usesStreamPrefix: boolean } | "end";

export interface Framed {
  readonly seen: readonly Seen[];
  /** The condition that the stream was refused with, or null. */
  readonly refused: string | null;
  readonly message: string;
  /** Bytes that the framer had been given when it refused. */
  readonly given: number;
}

/** Feeds `input` in chunks of `size` bytes. Each chunk is overwritten once the framer may not look at it any more. */
export function frame(input: string | Buffer, size = 1 << 20, limits = LIMITS): Framed {
  const framer = new StanzaFramer(limits);
  const bytes = Buffer.from(input as string);
  const seen: Seen[] = [];
  let given = 0;
  try {
    for (let at = 0; at < bytes.length; at += size) {
      const chunk = Buffer.from(bytes.subarray(at, at + size));
      given = Math.min(bytes.length, at + size);
      framer.feed(chunk, false);
      for (let next = framer.next(); next !== null; next = framer.next()) seen.push(next === "end" ? next : see(next));
      chunk.fill(0);
    }
    return { seen, refused: null, message: "", given };
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    return { seen, refused: error.condition, message: error.message, given };
  }
}

export function see(next: Frame): Seen {
  return { text: textOf(next), kind: next.kind, usesStreamPrefix: next.usesStreamPrefix };
}

/** The texts of the frames behind the usual header, with "end" for the end; throws what the framer throws. */
export function textsOf({ seen }: Framed): string[] {
  return seen.map((item) => (item === "end" ? item : item.text));
}
