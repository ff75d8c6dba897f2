/** Bytes, and the same bytes as 32-bit words. */
class Slab {
  readonly bytes: Buffer;
  readonly words: Int32Array;
  /** What lies before is taken. */
  used = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.words = new Int32Array(this.bytes.buffer, 0, size >> 2);
  }
}

/**
 * Large enough that most carries cost no allocation, small enough that a frame kept for long pins little. Not Node's
 * pool: that has 64 KiB, and no words.
 */
const SLAB_BYTES = 16_384;
/** A carry that wants more gets a slab of its own. */
const MAX_SHARED = SLAB_BYTES / 8;
/** A mean stanza takes 360 bytes. */
const MIN_ROOM = 1024;

let shared = new Slab(SLAB_BYTES);

/**
 * The bytes of one frame that straddles chunks, in a slab that it may share with others. Room that was handed out as part
 * of a frame is never used again, so that such frames never change.
 */
export class Carry {
  slab: Slab;
  /** Where the frame's bytes begin and end in the slab. */
  start: number;
  end: number;
  /** Where the room ends. */
  #stop: number;

  /** With room for `length` bytes, and as many again. */
  constructor(length: number) {
    const room = Math.max(MIN_ROOM, length * 2);
    this.slab = slabFor(room);
    this.start = this.slab.used;
    this.end = this.start;
    this.#stop = this.start + room;
    this.slab.used = this.#stop;
  }

  /** Takes bytes from `chunk[at, end)`, as many as there is room for; at least one. Returns how many. */
  take(chunk: Buffer, at: number, end: number): number {
    if (this.end === this.#stop) this.#grow();
    const wanted = end - at;
    const room = this.#stop - this.end;
    // biome-ignore lint/complexity/useMathMinMax: Math.min makes a floating-point number of it.
    const count = wanted < room ? wanted : room;
    copy(chunk, at, this.slab.bytes, this.end, count);
    this.end += count;
    return count;
  }

  /** The room behind `end` is not needed any more. */
  release(end: number): void {
    if (this.slab.used === this.#stop) this.slab.used = end;
    this.#stop = end;
  }

  #grow(): void {
    const larger = new Carry(this.end - this.start);
    copy(this.slab.bytes, this.start, larger.slab.bytes, larger.start, this.end - this.start);
    this.release(this.start);
    this.end = larger.start + this.end - this.start;
    this.slab = larger.slab;
    this.start = larger.start;
    this.#stop = larger.#stop;
  }
}

function slabFor(room: number): Slab {
  if (room > MAX_SHARED) return new Slab(room);
  if (SLAB_BYTES - shared.used < room) shared = new Slab(SLAB_BYTES);
  return shared;
}

function copy(from: Buffer, at: number, to: Buffer, start: number, count: number): void {
  // A call into native code costs more than a few bytes.
  if (count > 48) from.copy(to, start, at, at + count);
  else for (let i = 0; i < count; i++) to[start + i] = from[at + i]!;
}
