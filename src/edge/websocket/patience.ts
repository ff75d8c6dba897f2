/** What a client can surely take on the worst of networks: 2 KB/s. */
const MS_PER_BYTE = 0.5;
/** What may be on its way without it, and what the kernel and the network may hold at most, as far as patience goes. */
const FREE_BYTES = 4 * 1024;
const MOST_BYTES = 128 * 1024;

/**
 * How long a Pong may take on a link that is busy. The Ping stands behind all that was written before it: first here, where
 * it can be seen to move, then in the kernel and the network, where it cannot.
 */
export class Patience {
  #writtenWhenHeard = 0;
  #taken = 0;
  #waited = false;
  #movedAt = 0;

  /** Something came from the client. */
  heard(writtenBytes: number): void {
    this.#writtenWhenHeard = writtenBytes;
  }

  /** Once a second. `taken` of `written` bytes have left. */
  look(now: number, written: number, taken: number): void {
    // The kernel takes from a queue when the client has taken from the kernel. Without a queue it takes for the dead, too.
    if (this.#waited && taken > this.#taken) this.#movedAt = now;
    this.#waited = taken < written;
    this.#taken = taken;
  }

  /** Whether an answer that was asked for at `askedAt` is late, when it may take `ms` on a link that is free. */
  isOver(now: number, askedAt: number, ms: number, written: number): boolean {
    const before = Math.min(MOST_BYTES, Math.max(0, written - this.#writtenWhenHeard - FREE_BYTES));
    return now - Math.max(askedAt, this.#movedAt) >= ms + before * MS_PER_BYTE;
  }
}
