import type { Frame } from "./frame.ts";

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

/** Placeholder until the real framer lands. */
export class StanzaFramer {
  constructor(readonly_limits: FramerLimits) {
    void readonly_limits;
  }
  feed(_chunk: Buffer, _stable: boolean): void {}
  next(): Frame | "end" | null {
    return null;
  }
}
