/** Bytes that all queues of a process hold together; `max` is never passed. */
export interface QueueBudget {
  used: number;
  max: number;
}

/** What bounds one queue. */
export interface QueueLimits {
  readonly maxBytes: number;
  readonly maxStanzas: number;
}

/** A queue as plain data, for a process that goes on with it: what `save` says and `restore` takes. */
export interface SavedQueue {
  readonly bytes: Buffer;
  /** For each stanza its length, its sequence number at the core and the second in which it was queued. */
  readonly entries: Int32Array;
  /** How many of them were sent on the last link. */
  readonly sent: number;
  readonly handled: number;
  readonly everHandled: number;
}

/** One stanza of the queue, for whoever walks over it. The bytes are borrowed until the visitor returns. */
export type VisitStanza = (bytes: Buffer, start: number, end: number, queuedAt: number) => void;

// Per entry: length in bytes, sequence number at the core, second in which it was queued.
const STRIDE = 3;
const SMALL_BYTES = 4096;
const SMALL_ENTRIES = 16;
// Busy sessions empty their queue a few times a second: what a queue gives back is kept for the next one.
const spareBuffers: Buffer[] = [];
const spareEntries: Int32Array[] = [];
const MAX_SPARE = 256;

/**
 * Stanzas owed to the client: sent and not yet acknowledged, and behind the cursor those not yet sent (XEP-0198 §4).
 *
 * Copies what it is given, into one buffer for the whole session; an empty queue holds no memory. Knows for each
 * stanza its sequence number at the core, so that an acknowledgement by the client can be translated into one for the
 * core even where the edge answered, added or reordered a stanza (`coreHandled`).
 * Past `limits` or the budget `append` answers false and changes nothing.
 */
export class UnackedQueue {
  /** May change during the queue's life; what is in it stays. */
  limits: QueueLimits;
  readonly #budget: QueueBudget;
  #bytes: Buffer | null = null;
  #entries: Int32Array | null = null;
  #headByte = 0;
  #tailByte = 0;
  #headEntry = 0;
  #tailEntry = 0;
  // The cursor: entries and bytes, from the head, that were sent on the current link.
  #sentEntries = 0;
  #sentBytes = 0;
  // Stanzas that the client has handled, an unsigned 32-bit counter that wraps (XEP-0198 §4), and the same without wrapping.
  #handled: number;
  #everHandled = 0;

  constructor(limits: QueueLimits, budget: QueueBudget, handled = 0) {
    this.limits = limits;
    this.#budget = budget;
    this.#handled = handled >>> 0;
  }

  /** What `save` said, with all that is in it, whatever the limits are now. */
  static restore(saved: SavedQueue, limits: QueueLimits, budget: QueueBudget): UnackedQueue {
    const queue = new UnackedQueue(limits, budget, saved.handled);
    queue.#everHandled = saved.everHandled;
    const count = saved.entries.length / STRIDE;
    if (count === 0) return queue;
    queue.#bytes = Buffer.allocUnsafeSlow(Math.max(SMALL_BYTES, saved.bytes.length));
    saved.bytes.copy(queue.#bytes);
    queue.#entries = new Int32Array(Math.max(SMALL_ENTRIES, count) * STRIDE);
    queue.#entries.set(saved.entries);
    queue.#tailByte = saved.bytes.length;
    queue.#tailEntry = count;
    queue.#sentEntries = saved.sent;
    for (let i = 0; i < saved.sent; i++) queue.#sentBytes += saved.entries[i * STRIDE]!;
    budget.used += saved.bytes.length;
    return queue;
  }

  /** Everything that it knows, copied. */
  save(): SavedQueue {
    const bytes = Buffer.from(this.#bytes?.subarray(this.#headByte, this.#tailByte) ?? []);
    const entries = this.#entries?.slice(this.#headEntry * STRIDE, this.#tailEntry * STRIDE) ?? new Int32Array(0);
    return { bytes, entries, sent: this.#sentEntries, handled: this.#handled, everHandled: this.#everHandled };
  }

  /** Stanzas in the queue, sent or not. */
  get length(): number {
    return this.#tailEntry - this.#headEntry;
  }

  get byteLength(): number {
    return this.#tailByte - this.#headByte;
  }

  /** Stanzas sent on the current link and not yet acknowledged. */
  get unacked(): number {
    return this.#sentEntries;
  }

  /** Stanzas not yet sent on the current link. */
  get unsent(): number {
    return this.length - this.#sentEntries;
  }

  get unsentBytes(): number {
    return this.byteLength - this.#sentBytes;
  }

  /** The second in which the oldest stanza was queued; only for a queue that is not empty. */
  get oldestQueuedAt(): number {
    return this.#entries![this.#headEntry * STRIDE + 2]!;
  }

  /** The client's `h` as last told. */
  get handled(): number {
    return this.#handled;
  }

  /** `h` if the client had handled all that was sent. */
  get sent(): number {
    return (this.#handled + this.#sentEntries) >>> 0;
  }

  /** Copies a stanza to the end. False when it does not fit: then the session cannot go on with this queue. */
  append(bytes: Buffer, start: number, end: number, coreSequence: number, nowSeconds: number): boolean {
    if (!this.#reserve(end - start)) return false;
    bytes.copy(this.#bytes!, this.#tailByte, start, end);
    this.#setEntry(this.#tailEntry, end - start, coreSequence, nowSeconds);
    this.#tailByte += end - start;
    this.#tailEntry++;
    return true;
  }

  /**
   * Copies a stanza to the cursor, in front of all that is unsent, and counts it as sent: a fresh answer that goes ahead
   * of a replay. It takes the core sequence number of the stanza it overtakes, so that `coreHandled` does not pass that
   * one. False when it does not fit.
   */
  insertSent(bytes: Buffer, start: number, end: number, coreSequence: number, nowSeconds: number): boolean {
    if (!this.#reserve(end - start)) return false;
    const length = end - start;
    const at = this.#headByte + this.#sentBytes;
    const entry = this.#headEntry + this.#sentEntries;
    const overtaken = entry < this.#tailEntry ? this.#entries![entry * STRIDE + 1]! : coreSequence;
    this.#bytes!.copyWithin(at + length, at, this.#tailByte);
    bytes.copy(this.#bytes!, at, start, end);
    this.#entries!.copyWithin((entry + 1) * STRIDE, entry * STRIDE, this.#tailEntry * STRIDE);
    this.#setEntry(entry, length, overtaken, nowSeconds);
    this.#tailByte += length;
    this.#tailEntry++;
    this.#sentEntries++;
    this.#sentBytes += length;
    return true;
  }

  /** Moves the cursor over the stanza that was just appended: it was written directly. */
  markAllSent(): void {
    this.#sentEntries = this.length;
    this.#sentBytes = this.byteLength;
  }

  /** All is unsent again: a new link begins (XEP-0198 §5). */
  rewind(): void {
    this.#sentEntries = 0;
    this.#sentBytes = 0;
  }

  /**
   * Visits unsent stanzas in order, at least one and then as many as `maxBytes` allow, and moves the cursor over them.
   * Returns the bytes visited.
   */
  sendSlice(maxBytes: number, visit: VisitStanza): number {
    let total = 0;
    while (this.#sentEntries < this.length) {
      const entry = (this.#headEntry + this.#sentEntries) * STRIDE;
      const length = this.#entries![entry]!;
      if (total > 0 && total + length > maxBytes) break;
      const start = this.#headByte + this.#sentBytes;
      this.#sentEntries++;
      this.#sentBytes += length;
      total += length;
      visit(this.#bytes!, start, start + length, this.#entries![entry + 2]!);
    }
    return total;
  }

  /** Visits every stanza in order, from a position counted from the head. */
  forEach(visit: VisitStanza, from = 0): void {
    let start = this.#headByte;
    for (let i = 0; i < this.length; i++) {
      const entry = (this.#headEntry + i) * STRIDE;
      const end = start + this.#entries![entry]!;
      if (i >= from) visit(this.#bytes!, start, end, this.#entries![entry + 2]!);
      start = end;
    }
  }

  /**
   * Drops what the client has handled. Returns how many, "ack-too-high" when `h` counts stanzas that were never sent
   * (XEP-0198 §4), or "ack-behind" when the client has told a higher `h` before; then nothing changes. `h` is an unsigned
   * 32-bit counter and wraps.
   */
  ack(h: number): number | "ack-too-high" | "ack-behind" {
    const count = (h - this.#handled) >>> 0;
    if (count > this.#sentEntries) return this.isBehind(h) ? "ack-behind" : "ack-too-high";
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += this.#entries![(this.#headEntry + i) * STRIDE]!;
    this.#handled = h >>> 0;
    this.#everHandled += count;
    this.#headEntry += count;
    this.#sentEntries -= count;
    this.#headByte += bytes;
    this.#sentBytes -= bytes;
    this.#budget.used -= bytes;
    if (this.length === 0) this.#release();
    return count;
  }

  /** Whether the client has told a higher `h` before: what follows this one is gone. */
  isBehind(h: number): boolean {
    const behind = (this.#handled - h) >>> 0;
    return behind > 0 && behind <= this.#everHandled;
  }

  /**
   * What may be acknowledged to the core: everything before the oldest stanza that the client still owes an answer for.
   * `received` is the number of stanzas that came from the core.
   */
  coreHandled(received: number): number {
    return (this.length === 0 ? received : this.#entries![this.#headEntry * STRIDE + 1]! - 1) >>> 0;
  }

  /** Forgets everything and gives the memory back. May be called twice. */
  clear(): void {
    this.#budget.used -= this.byteLength;
    this.#release();
  }

  #setEntry(index: number, length: number, coreSequence: number, nowSeconds: number): void {
    const entries = this.#entries!;
    entries[index * STRIDE] = length;
    entries[index * STRIDE + 1] = coreSequence;
    entries[index * STRIDE + 2] = nowSeconds;
  }

  #reserve(length: number): boolean {
    if (this.byteLength + length > this.limits.maxBytes || this.length >= this.limits.maxStanzas) return false;
    if (this.#budget.used + length > this.#budget.max) return false;
    this.#budget.used += length;
    this.#makeRoom(length);
    return true;
  }

  #makeRoom(length: number): void {
    if (this.#bytes === null) {
      this.#bytes =
        length <= SMALL_BYTES
          ? (spareBuffers.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES))
          : Buffer.allocUnsafeSlow(length * 2);
      this.#entries = spareEntries.pop() ?? new Int32Array(SMALL_ENTRIES * STRIDE);
    }
    if (this.#tailByte + length > this.#bytes.length) this.#moveBytes(length);
    if ((this.#tailEntry + 1) * STRIDE > this.#entries!.length) this.#moveEntries();
  }

  // Moving to the front is amortised: it happens only when at least half of the buffer is free, else the buffer doubles.
  #moveBytes(length: number): void {
    const old = this.#bytes!;
    const used = this.byteLength;
    const room =
      (used + length) * 2 <= old.length ? old : Buffer.allocUnsafeSlow(Math.max(old.length * 2, (used + length) * 2));
    old.copy(room, 0, this.#headByte, this.#tailByte);
    this.#bytes = room;
    this.#headByte = 0;
    this.#tailByte = used;
  }

  #moveEntries(): void {
    const old = this.#entries!;
    const used = this.length;
    const live = old.subarray(this.#headEntry * STRIDE, this.#tailEntry * STRIDE);
    const room = (used + 1) * 2 * STRIDE <= old.length ? old : new Int32Array(old.length * 2);
    room.set(live);
    this.#entries = room;
    this.#headEntry = 0;
    this.#tailEntry = used;
  }

  #release(): void {
    if (this.#bytes?.length === SMALL_BYTES && spareBuffers.length < MAX_SPARE) spareBuffers.push(this.#bytes);
    if (this.#entries?.length === SMALL_ENTRIES * STRIDE && spareEntries.length < MAX_SPARE)
      spareEntries.push(this.#entries);
    this.#bytes = null;
    this.#entries = null;
    this.#headByte = this.#tailByte = this.#headEntry = this.#tailEntry = this.#sentEntries = this.#sentBytes = 0;
  }
}
