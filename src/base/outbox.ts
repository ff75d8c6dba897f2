import type { Socket } from "node:net";

/**
 * Joins what is written in one turn into one write to a socket: neighbouring slices of a buffer become one slice, the
 * rest leaves together. Borrows what it is given until `flush`.
 */
export class Outbox {
  // The slice that may still grow; most turns have no other.
  #bytes: Buffer | null = null;
  #start = 0;
  #end = 0;
  #before: Buffer[] | null = null;

  get empty(): boolean {
    return this.#bytes === null;
  }

  add(bytes: Buffer, start: number, end: number): void {
    if (this.#bytes === bytes && this.#end === start) {
      this.#end = end;
      return;
    }
    if (this.#bytes !== null) {
      this.#before ??= [];
      this.#before.push(slice(this.#bytes, this.#start, this.#end));
    }
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  /**
   * Writes everything at once and returns how many bytes that were. `copy`: the socket may hold on to the bytes after
   * this returns and their owner may change them, so it gets a copy.
   */
  flush(socket: Socket, copy: boolean): number {
    if (this.#bytes === null) return 0;
    const last = slice(this.#bytes, this.#start, this.#end);
    const before = this.#before;
    this.#bytes = null;
    this.#before = null;
    if (before === null) {
      socket.write(copy ? Buffer.from(last) : last);
      return last.length;
    }
    before.push(last);
    let total = 0;
    for (const piece of before) total += piece.length;
    // One buffer, one write, one TLS record: cheaper than a cork around several small writes.
    socket.write(Buffer.concat(before, total));
    return total;
  }

  clear(): void {
    this.#bytes = null;
    this.#before = null;
  }
}

// Most chunks are one frame and leave whole: a new view of them would cost as much as the rest of a flush.
function slice(bytes: Buffer, start: number, end: number): Buffer {
  return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
}
