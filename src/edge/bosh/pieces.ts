import { elementNameEnd, missingDeclarations } from "../../xmpp/standalone.ts";

const STREAM_PREFIX = Buffer.from("<stream:");

/** Elements for a client, each with the namespaces that a `<body/>` does not give it, until an answer takes them. */
export class Pieces {
  #pieces: Buffer[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get empty(): boolean {
    return this.#pieces.length === 0;
  }

  /** Copies one element: the caller's bytes are free again. How many bytes it has become. */
  add(bytes: Buffer, start: number, end: number): number {
    const nameEnd = elementNameEnd(bytes, start);
    const missing = missingDeclarations(bytes, start, nameEnd);
    const piece = Buffer.allocUnsafe(end - start + missing.length);
    bytes.copy(piece, 0, start, nameEnd);
    missing.copy(piece, nameEnd - start);
    bytes.copy(piece, nameEnd - start + missing.length, nameEnd, end);
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return piece.length;
  }

  /** The first ones, as many as fit into `maxBytes`, and one at least. */
  take(maxBytes: number): Buffer[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#pieces.length && (count === 0 || bytes + this.#pieces[count]!.length <= maxBytes)) {
      bytes += this.#pieces[count++]!.length;
    }
    this.#bytes -= bytes;
    return this.#pieces.splice(0, count);
  }

  clear(): void {
    this.#pieces = [];
    this.#bytes = 0;
  }
}

/** Whether an element's name has the prefix `stream`, which older clients want to see declared on the `<body/>`. */
export function usesStreamPrefix(element: Buffer): boolean {
  return element.subarray(0, STREAM_PREFIX.length).equals(STREAM_PREFIX);
}
