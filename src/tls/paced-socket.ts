import { TLSSocket } from "node:tls";

/**
 * A record of this much text, with its header and tag (up to 29 bytes), fits the 1 KiB that Node's TLS keeps for output
 * anyway, and fits one segment, so that a client on a lossy path can read each as it comes.
 */
const SMALL_BYTES = 990;
/** Half of the 16 KiB that the next larger output buffer of Node has: never more than one of them is needed. */
const LARGE_BYTES = 8000;
/** How much long writes may carry in small pieces before a connection counts as busy. A short write gives some back. */
const SMALL_BUDGET = 256 * 1024;
const REFILL = 4 * 1024;

type Done = (error?: Error | null) => void;

/**
 * A server-side TLS socket that stays small after a burst. Node encrypts each write whole, into buffers of 16 KiB of
 * which a connection keeps as many as its largest write ever needed: 35 KB of an idle connection become 65 KB after one
 * write of 20 KB and 150 KB after one of 120 KB. So a long write goes out piece by piece, each when the one before has
 * left. Small pieces need no further buffer: the 35 KB stay 35 KB. They cost twice the time per byte, so a connection
 * that sends much goes over to large ones, and to one buffer, for good.
 *
 * Whoever writes notices nothing: `write`, its callback, `drain` and `writableLength` mean what they always do. Only the
 * first piece is encrypted before `write` returns; the rest is copied, so the caller's bytes are free again either way.
 */
export class PacedTlsSocket extends TLSSocket {
  #budget = SMALL_BUDGET;
  // Of the write that is under way in pieces, what has left.
  #paced = 0;
  // When it was destroyed: after that its stream counts what it drops as if it had left.
  #dropped = -1;

  /** Like `writableLength`, less what has left of the write that is under way. Of a destroyed socket: what never left. */
  get untakenBytes(): number {
    return this.#dropped >= 0 ? this.#dropped : this.writableLength - this.#paced;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#dropped = this.untakenBytes;
    super._destroy(error, done);
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    if (Buffer.isBuffer(chunk) && chunk.length > SMALL_BYTES) return this.#pace(chunk, true, done);
    if (this.#budget > 0) this.#budget = Math.min(SMALL_BUDGET, this.#budget + REFILL);
    super._write(chunk, encoding, done);
  }

  /** What has queued up behind a slow client: joined, so that it takes as few records as a single write. */
  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    const buffers = chunks.map(({ chunk, encoding }) =>
      Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk), encoding),
    );
    this.#pace(Buffer.concat(buffers), false, done);
  }

  #pace(bytes: Buffer, borrowed: boolean, done: Done): void {
    const size = this.#budget > 0 ? SMALL_BYTES : LARGE_BYTES;
    if (bytes.length <= size) {
      return super._write(bytes, "buffer" as BufferEncoding, (error) => {
        this.#paced = 0;
        done(error);
      });
    }
    this.#budget -= size;
    const rest = borrowed ? Buffer.from(bytes.subarray(size)) : bytes.subarray(size);
    super._write(bytes.subarray(0, size), "buffer" as BufferEncoding, (error) => {
      if (error) return done(error);
      this.#paced += size;
      this.#pace(rest, false, done);
    });
  }
}
