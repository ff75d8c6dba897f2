/** The bytes end before the character does; so far it could become one. */
export const INCOMPLETE = -1;
/** Not UTF-8 (RFC 3629): overlong, surrogate, above U+10FFFF, or a stray byte. */
const INVALID = -2;

/** The code point of the character that begins with the non-ASCII byte at `p`, or INCOMPLETE, or INVALID. */
export function decodeUtf8(b: Uint8Array, p: number, end: number): number {
  const lead = b[p]!;
  if (lead < 0xc2 || lead > 0xf4) return INVALID;
  if (p + 1 >= end) return INCOMPLETE;
  const second = b[p + 1]!;
  if ((second & 0xc0) !== 0x80) return INVALID;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | (second & 0x3f);
  if (lead < 0xf0) {
    if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second > 0x9f)) return INVALID;
    if (p + 2 >= end) return INCOMPLETE;
    const third = b[p + 2]!;
    if ((third & 0xc0) !== 0x80) return INVALID;
    return ((lead & 0x0f) << 12) | ((second & 0x3f) << 6) | (third & 0x3f);
  }
  if ((lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second > 0x8f)) return INVALID;
  if (p + 2 >= end) return INCOMPLETE;
  const third = b[p + 2]!;
  if ((third & 0xc0) !== 0x80) return INVALID;
  if (p + 3 >= end) return INCOMPLETE;
  const fourth = b[p + 3]!;
  if ((fourth & 0xc0) !== 0x80) return INVALID;
  return ((lead & 0x07) << 18) | ((second & 0x3f) << 12) | ((third & 0x3f) << 6) | (fourth & 0x3f);
}

/** How many bytes UTF-8 takes for `codePoint`. */
export function utf8Length(codePoint: number): number {
  return codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
}

/**
 * Skips a run of text that holds non-ASCII characters, together with the ASCII between them for which `stops` is 0.
 * Returns where it stopped: at `end`, at an ASCII byte that `stops`, or at a character that `end` cuts short (its first
 * byte is then >= 0x80). Answers `~position` for bytes that are not a Char (XML 1.0 §2.2).
 */
export function skipUtf8(b: Uint8Array, p: number, end: number, stops: Uint8Array): number {
  while (p < end) {
    const lead = b[p]!;
    if (lead < 0x80) {
      if (stops[lead] !== 0) return p;
      p++;
    } else if (lead < 0xe0 && lead >= 0xc2 && p + 1 < end) {
      if ((b[p + 1]! & 0xc0) !== 0x80) return ~p;
      p += 2;
    } else if (lead >= 0xe1 && lead < 0xed && p + 2 < end) {
      // U+1000 to U+CFFF: no overlong form and no surrogate begins with these.
      if (((b[p + 1]! & 0xc0) | ((b[p + 2]! & 0xc0) << 8)) !== 0x8080) return ~p;
      p += 3;
    } else {
      const codePoint = decodeUtf8(b, p, end);
      if (codePoint === INCOMPLETE) return p;
      if (codePoint < 0 || codePoint === 0xfffe || codePoint === 0xffff) return ~p;
      p += utf8Length(codePoint);
    }
  }
  return p;
}

/** NameStartChar outside ASCII (XML 1.0 §2.3, 5th edition). */
export function isNameStart(c: number): boolean {
  return (
    (c >= 0xc0 && c <= 0x2ff && c !== 0xd7 && c !== 0xf7) ||
    (c >= 0x370 && c <= 0x1fff && c !== 0x37e) ||
    c === 0x200c ||
    c === 0x200d ||
    (c >= 0x2070 && c <= 0x218f) ||
    (c >= 0x2c00 && c <= 0x2fef) ||
    (c >= 0x3001 && c <= 0xd7ff) ||
    (c >= 0xf900 && c <= 0xfdcf) ||
    (c >= 0xfdf0 && c <= 0xfffd) ||
    (c >= 0x10000 && c <= 0xeffff)
  );
}

/** NameChar outside ASCII (XML 1.0 §2.3, 5th edition). */
export function isNameChar(c: number): boolean {
  return isNameStart(c) || c === 0xb7 || (c >= 0x300 && c <= 0x36f) || c === 0x203f || c === 0x2040;
}
