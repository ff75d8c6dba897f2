/**
 * Byte classes for the framer's inner loops. In every table 0 means "nothing special, go on", so that a loop is one load
 * and one comparison per byte.
 */

function table(fill: (byte: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => fill(byte));
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
/** Char of XML 1.0 §2.2 has no C0 controls but tab, LF and CR; bytes above 0x7F are read by `skipUtf8`. */
const isOdd = (byte: number): boolean => byte >= 0x80 || (byte < 0x20 && !isSpace(byte));

/** Character data: `<`, `&`, `>` (which may end a forbidden `]]>`), controls and non-ASCII stop the loop. */
export const TEXT: Uint8Array = table((byte) => Number(isOdd(byte) || byte === 0x3c || byte === 0x26 || byte === 0x3e));

/** Inside CDATA only `>` may end it. */
export const CDATA: Uint8Array = table((byte) => Number(isOdd(byte) || byte === 0x3e));

/** Attribute values: both quotes stop the loop, and white space that normalisation turns into a space (XML 1.0 §3.3.3). */
export const VALUE: Uint8Array = table((byte) =>
  Number(isOdd(byte) || (isSpace(byte) && byte !== 0x20) || [0x22, 0x27, 0x26, 0x3c].includes(byte)),
);

export const NAME_START = 1;
/** 0 for bytes that are in no ASCII name; NAME_START for those that may begin an NCName; 2 for the others. */
export const NAME: Uint8Array = table((byte) => {
  const letter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a && byte < 0x80;
  if (letter || byte === 0x5f) return NAME_START;
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e ? 2 : 0;
});

/** 1 for the four characters of S (XML 1.0 §2.3). */
export const SPACE: Uint8Array = table((byte) => Number(isSpace(byte)));
