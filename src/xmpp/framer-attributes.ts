import { attributeNameEnd, skipSpace, valueEnd, valueStart } from "./tag-walk.ts";

/** Answers of `check`: the name is new; it comes twice; it is new, and from now on every name must be checked. */
const NEW = 0;
export const REPEATED = 1;
const CHECK_ALL = -1;

/** Comparisons by walking the tag before a Set takes over: a walk for each name would be quadratic. */
const MAX_WALKS = 4;

/**
 * One bit of 32 for an attribute name, by its first byte and its length. A tag's names are new for sure as long as their
 * bits differ, so that nothing about them needs to be kept: in doubt they are still there, in the tag.
 */
export function attributeBit(first: number, length: number): number {
  return 1 << ((first * 5 + length) & 31);
}

/** Finds out whether an attribute whose bit is taken comes twice in its tag (XML 1.0 §3.1, Unique Att Spec). */
export class TagAttributes {
  /** Not 0 when there is something to clear for the next tag. */
  hits = 0;
  #names: Set<string> | null = null;

  clear(): void {
    this.hits = 0;
    this.#names = null;
  }

  /** `tagNameEnd` is where the name of the tag ends; `b[start, end)` is the attribute's name. */
  check(b: Buffer, tagNameEnd: number, start: number, end: number): number {
    if (++this.hits <= MAX_WALKS) return isBefore(b, tagNameEnd, start, end) ? REPEATED : NEW;
    this.#names ??= namesBefore(b, tagNameEnd, start);
    const { size } = this.#names;
    return this.#names.add(b.toString("latin1", start, end)).size === size ? REPEATED : CHECK_ALL;
  }
}

export function isBefore(b: Buffer, tagNameEnd: number, start: number, end: number): boolean {
  for (let p = skipSpace(b, tagNameEnd); p < start; ) {
    const nameEnd = attributeNameEnd(b, p);
    if (nameEnd - p === end - start && b.compare(b, p, nameEnd, start, end) === 0) return true;
    p = skipSpace(b, valueEnd(b, valueStart(b, nameEnd)) + 1);
  }
  return false;
}

function namesBefore(b: Buffer, tagNameEnd: number, start: number): Set<string> {
  const names = new Set<string>();
  for (let p = skipSpace(b, tagNameEnd); p < start; ) {
    const nameEnd = attributeNameEnd(b, p);
    names.add(b.toString("latin1", p, nameEnd));
    p = skipSpace(b, valueEnd(b, valueStart(b, nameEnd)) + 1);
  }
  return names;
}
