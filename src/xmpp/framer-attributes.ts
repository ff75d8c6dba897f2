/** Attributes of one tag from which on their names are kept in a Set: comparing each with each would be quadratic. */
const MANY = 16;

/** The names of the attributes of the tag that is being read: which are there, and whether one comes twice. */
export class TagAttributes {
  count = 0;
  /** Three per attribute, relative to the frame: where the name begins, where it ends, where its colon is (0: none). */
  spans: Int32Array = new Int32Array(3 * MANY);
  /** One bit per name hash; a clear bit proves that a name is new. */
  #mask = 0;
  #names: Set<string> | null = null;

  clear(): void {
    this.count = 0;
    this.#mask = 0;
    this.#names = null;
  }

  /** Adds the name in `b[base + start, base + end)`. False when the tag has it already (XML 1.0 §3.1, Unique Att Spec). */
  add(b: Buffer, base: number, start: number, end: number, colon: number): boolean {
    const bit = 1 << ((b[base + start]! ^ (b[base + end - 1]! << 2) ^ (end - start)) & 31);
    const count = this.count;
    if (count >= MANY) {
      if (!this.#addOfMany(b, base, start, end)) return false;
    } else if ((this.#mask & bit) !== 0 && this.#has(b, base, start, end)) return false;
    this.#mask |= bit;
    const at = count * 3;
    if (at === this.spans.length) this.#grow();
    const spans = this.spans;
    spans[at] = start;
    spans[at + 1] = end;
    spans[at + 2] = colon;
    this.count = count + 1;
    return true;
  }

  #has(b: Buffer, base: number, start: number, end: number): boolean {
    const spans = this.spans;
    const length = end - start;
    for (let at = this.count * 3 - 3; at >= 0; at -= 3) {
      const other = spans[at]!;
      if (spans[at + 1]! - other !== length) continue;
      let i = 0;
      while (i < length && b[base + other + i] === b[base + start + i]) i++;
      if (i === length) return true;
    }
    return false;
  }

  #addOfMany(b: Buffer, base: number, start: number, end: number): boolean {
    if (this.#names === null) {
      this.#names = new Set();
      for (let at = 0; at < this.count * 3; at += 3) {
        this.#names.add(b.toString("latin1", base + this.spans[at]!, base + this.spans[at + 1]!));
      }
    }
    const before = this.#names.size;
    return this.#names.add(b.toString("latin1", base + start, base + end)).size > before;
  }

  #grow(): void {
    const larger = new Int32Array(this.spans.length * 2);
    larger.set(this.spans);
    this.spans = larger;
  }
}
