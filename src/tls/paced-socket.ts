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

/** Node's TLS handle, and that of the connection below it; not in its documentation. */
interface WrappedHandle {
  readonly _parent?: { readonly writeQueueSize?: number };
}

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
  // The piece that is under way.
  #piece = 0;
  // When it was destroyed: after that its stream counts what it drops as if it had left.
  #dropped: number | null = -1;

  /**
   * Like `writableLength`, less what the kernel has. Of a destroyed socket: what never left; null when nothing tells, as of
   * one whose write failed.
   */
  get untakenBytes(): number | null {
    return this.#dropped === -1 ? this.#untaken() : this.#dropped;
  }

  #untaken(): number {
    const waiting = this.writableLength;
    if (waiting === 0) return 0;
    const left = waiting - this.#paced;
    // Node tells in the next turn that a piece has left, the handle below at once.
    const { _parent: below } = (this as unknown as { _handle?: WrappedHandle | null })._handle ?? {};
    return below?.writeQueueSize === 0 ? left - this.#piece : left;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // A write that has failed is counted nowhere any more: neither by the stream nor below.
    const knows = error === null || (error as NodeJS.ErrnoException).syscall === "read";
    this.#dropped = knows ? this.#untaken() : null;
    super._destroy(error, done);
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    if (Buffer.isBuffer(chunk) && chunk.length > SMALL_BYTES) return this.#pace(chunk, true, done);
    if (this.#budget > 0) this.#budget = Math.min(SMALL_BUDGET, this.#budget + REFILL);
    this.#piece = Buffer.isBuffer(chunk) ? chunk.length : 0;
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
    this.#piece = Math.min(bytes.length, size);
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
