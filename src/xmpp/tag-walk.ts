import { SPACE } from "./framer-tables.ts";

// Steps through a start tag that is proven well-formed: nothing here looks for the end of the buffer.

export function skipSpace(b: Buffer, p: number): number {
  while (SPACE[b[p]!] !== 0) p++;
  return p;
}

/** The end of the attribute name that begins at `p`. */
export function attributeNameEnd(b: Buffer, p: number): number {
  while (SPACE[b[p]!] === 0 && b[p] !== 0x3d) p++;
  return p;
}

/** The position past the opening quote, from the end of the attribute's name. */
export function valueStart(b: Buffer, nameEnd: number): number {
  return skipSpace(b, skipSpace(b, nameEnd) + 1) + 1;
}

/** The position of the closing quote of the value that begins at `start`. */
export function valueEnd(b: Buffer, start: number): number {
  const quote = b[start - 1];
  let p = start;
  while (b[p] !== quote) p++;
  return p;
}

/** The position of the colon in `b[start, end)`, or `end`. */
export function colonIn(b: Buffer, start: number, end: number): number {
  let p = start;
  while (p < end && b[p] !== 0x3a) p++;
  return p;
}
