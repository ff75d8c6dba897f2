import { TEXT as TEXT_TABLE, VALUE as VALUE_TABLE } from "./framer-tables.ts";

// Tables of this module: the compiler knows where their bytes are, and looks up imported ones each time.
const TEXT: Uint8Array = TEXT_TABLE;
const VALUE: Uint8Array = VALUE_TABLE;

/** Four bytes are looked at together, the first in the lowest bits; elsewhere byte by byte. */
const FOUR_AT_ONCE = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;

/*
 * How four bytes are looked at: for a byte x below 0x80, x + 0x7f has its high bit exactly if x is not 0, and x + 0x60
 * exactly if x is not below 0x20. Bytes from 0x80 on are hits by themselves; what their carry spoils lies above them, and
 * only the lowest hit counts. Bytes of the first word that lie before `p` are replaced by spaces, which never are hits.
 */

/**
 * The first position in [p, stop) whose byte may not simply be passed over in text: `<`, `>`, `&`, below 0x20, above
 * 0x7F. `words` are the same bytes, from `shift` bytes before them.
 */
export function skipText(b: Buffer, words: Int32Array, shift: number, p: number, stop: number): number {
  let i = ((p + shift) | 0) >> 2;
  const end = FOUR_AT_ONCE ? ((stop + shift) | 0) >> 2 : 0;
  if (i < end) {
    const mask = -1 << (((p + shift) & 3) << 3);
    let w = (words[i]! & mask) | (0x20202020 & ~mask);
    // "<" and ">" differ in one bit.
    let clear = (((w | 0x02020202) ^ 0x3e3e3e3e) + 0x7f7f7f7f) & ((w ^ 0x26262626) + 0x7f7f7f7f) & (w + 0x60606060);
    let hits = (~clear | w) & 0x80808080;
    while (hits === 0) {
      i = (i + 1) | 0;
      if (i >= end) break;
      w = words[i]!;
      clear = (((w | 0x02020202) ^ 0x3e3e3e3e) + 0x7f7f7f7f) & ((w ^ 0x26262626) + 0x7f7f7f7f) & (w + 0x60606060);
      hits = (~clear | w) & 0x80808080;
    }
    const at = ((i << 2) - shift) | 0;
    if (hits !== 0) return (at + ((31 - Math.clz32(hits & -hits)) >> 3)) | 0;
    p = at;
  }
  while (p < stop) {
    if (TEXT[b[p]!] !== 0) break;
    p = (p + 1) | 0;
  }
  return p;
}

/** The same for an attribute value: stops at `quote`, `&`, `<`, below 0x20, above 0x7F. The other quote may stop it too. */
export function skipValue(b: Buffer, words: Int32Array, shift: number, p: number, stop: number, quote: number): number {
  let i = ((p + shift) | 0) >> 2;
  const end = FOUR_AT_ONCE ? ((stop + shift) | 0) >> 2 : 0;
  if (i < end) {
    // "&" differs in one bit from either quote.
    const bit = quote === 0x27 ? 0x01010101 : 0x04040404;
    const both = quote === 0x27 ? 0x27272727 : 0x26262626;
    const mask = -1 << (((p + shift) & 3) << 3);
    let w = (words[i]! & mask) | (0x20202020 & ~mask);
    let clear = (((w | bit) ^ both) + 0x7f7f7f7f) & ((w ^ 0x3c3c3c3c) + 0x7f7f7f7f) & (w + 0x60606060);
    let hits = (~clear | w) & 0x80808080;
    while (hits === 0) {
      i = (i + 1) | 0;
      if (i >= end) break;
      w = words[i]!;
      clear = (((w | bit) ^ both) + 0x7f7f7f7f) & ((w ^ 0x3c3c3c3c) + 0x7f7f7f7f) & (w + 0x60606060);
      hits = (~clear | w) & 0x80808080;
    }
    const at = ((i << 2) - shift) | 0;
    if (hits !== 0) return (at + ((31 - Math.clz32(hits & -hits)) >> 3)) | 0;
    p = at;
  }
  while (p < stop) {
    if (VALUE[b[p]!] !== 0) break;
    p = (p + 1) | 0;
  }
  return p;
}
