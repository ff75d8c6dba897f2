import { attributeBit } from "./framer-attributes.ts";
import { usualReference } from "./framer-reference.ts";
import { tooManyAttributes, tooMuch } from "./framer-refusals.ts";
import type { FrameScan } from "./framer-scan.ts";
import { checkAttribute, classify, declare, leave, settle } from "./framer-settle.ts";
import { skipText, skipValue } from "./framer-skip.ts";
import { DECLARES, SCAN, STAGE } from "./framer-stages.ts";
import * as tables from "./framer-tables.ts";
import { skipUtf8 } from "./utf8.ts";

const { NAME, NAME_START, SPACE, TEXT, VALUE } = tables;
const { afterLt, inName, inText, inTag, inAttribute, inValue, afterToken, inEndName } = STAGE;
const DECLARES_NOTHING = DECLARES.nothing;

/**
 * The usual road through a frame, from behind a `<`: tag after tag in one go, as long as they look like nearly all
 * traffic. What is unusual, wrong, or cut off by the end of the chunk is handed over to `readOn` at the byte where it
 * begins, which takes every byte that comes here, only slower. So this adds speed and no rules.
 *
 * Written for the compiler: positions stay 32-bit integers by `| 0`, and nothing is kept that can be found again.
 */
export function usualRoad(scan: FrameScan, b: Buffer, words: Int32Array, wordShift: number, end: number): number {
  const stop = end | 0;
  const shift = wordShift | 0;
  const base = scan.base | 0;
  const maxDepth = scan.maxDepth | 0;
  const maxElements = scan.maxElements | 0;
  const maxAttributes = scan.maxAttributes | 0;
  const baseFlags = scan.baseFlags | 0;
  const attributes = scan.attributes;
  let names = scan.names;
  let depth = scan.depth | 0;
  let elements = scan.elements | 0;
  let p = scan.pos | 0;
  let c = 0;

  for (;;) {
    if (p >= stop) return turnOff(scan, p, afterLt, depth, elements);
    c = b[p]!;
    if (NAME[c] === NAME_START) {
      if (depth >= maxDepth || elements >= maxElements) throw tooMuch(scan, depth, p);
      elements = (elements + 1) | 0;
      if (attributes.hits !== 0) attributes.clear();
      const nameAt = (p - base) | 0;
      p = (p + 1) | 0;
      while (p < stop) {
        c = b[p]!;
        if (NAME[c] === 0) break;
        p = (p + 1) | 0;
      }
      if (p >= stop || c === 0x3a || c >= 0x80) {
        return turnOffInTag(scan, p, inName, depth, elements, nameAt, 0, baseFlags, 0, 0);
      }
      const slot = depth << 1;
      if (slot >= names.length) names = scan.growNames();
      names[slot] = nameAt;
      names[slot + 1] = (p - base) | 0;
      depth = (depth + 1) | 0;
      let flags = baseFlags;
      let count = 0;
      let mask = 0;

      while (c === 0x20) {
        p = (p + 1) | 0;
        if (p >= stop || NAME[b[p]!] !== NAME_START) {
          return turnOffInTag(scan, p, inTag, depth, elements, 0, 0, flags, count, mask);
        }
        if (count >= maxAttributes) throw tooManyAttributes(scan, p);
        const first = b[p]!;
        const from = p;
        let colon = 0;
        p = (p + 1) | 0;
        for (;;) {
          while (p < stop) {
            c = b[p]!;
            if (NAME[c] === 0) break;
            p = (p + 1) | 0;
          }
          if (c !== 0x3a || colon !== 0 || p + 1 >= stop || NAME[b[p + 1]!] !== NAME_START) break;
          colon = (p - base) | 0;
          p = (p + 2) | 0;
        }
        const quote = p + 1 < stop && c === 0x3d ? b[p + 1]! : 0;
        if (quote !== 0x27 && quote !== 0x22) {
          return turnOffInTag(scan, p, inAttribute, depth, elements, (from - base) | 0, colon, flags, count, mask);
        }
        const bit = attributeBit(first, (p - from) | 0);
        if ((mask & bit) !== 0) mask |= checkAttribute(scan, b, depth, from, p) | 0;
        mask |= bit;
        count = (count + 1) | 0;
        // Only "xmlns" is that long among the usual ones, or has a prefix that matters.
        let declares: number = DECLARES_NOTHING;
        if (first === 0x78 || colon !== 0) {
          declares = classify(scan, b, from, colon, p) | 0;
          if (declares < 0) {
            flags |= ~declares;
            declares = DECLARES_NOTHING;
          }
        }
        p = (p + 2) | 0;
        const valueFrom = p;
        for (;;) {
          p = skipValue(b, words, shift, p, stop, quote) | 0;
          if (p < stop) {
            c = b[p]!;
            if (c === quote) break;
            if (c >= 0x80) {
              const past = skipUtf8(b, p, stop, VALUE) | 0;
              if (past > p) {
                p = past;
                continue;
              }
            }
          }
          scan.quote = quote;
          scan.valueAt = (valueFrom - base) | 0;
          scan.declares = declares;
          scan.dirty = false;
          return turnOffInTag(scan, p, inValue, depth, elements, (from - base) | 0, colon, flags, count, mask);
        }
        if (declares !== DECLARES_NOTHING) declare(scan, b, depth, declares, colon, valueFrom, p, false);
        p = (p + 1) | 0;
        if (p >= stop) return turnOffInTag(scan, p, afterToken, depth, elements, 0, 0, flags, count, mask);
        c = b[p]!;
      }

      if (c === 0x3e) {
        p = (p + 1) | 0;
        if (flags !== 0 || depth === 1) {
          if (settle(scan, b, depth, flags, p)) return arrive(scan, p, SCAN.header);
        }
      } else if (c === 0x2f && p + 1 < stop && b[p + 1] === 0x3e) {
        p = (p + 2) | 0;
        if (flags !== 0 || depth === 1) {
          if (settle(scan, b, depth, flags, p)) return arrive(scan, p, SCAN.emptyHeader);
        }
        if (scan.mustLeave !== 0) leave(scan, b, depth);
        depth = (depth - 1) | 0;
        if (depth === 0) return arrive(scan, p, SCAN.element);
      } else return turnOffInTag(scan, p, afterToken, depth, elements, 0, 0, flags, count, mask);
    } else if (c === 0x2f && depth !== 0) {
      p = (p + 1) | 0;
      const nameAt = (p - base) | 0;
      const from = names[(depth << 1) - 2]!;
      const back = (nameAt - from) | 0;
      const nameStop = (p + names[(depth << 1) - 1]! - from) | 0;
      if (nameStop < stop) {
        while (p < nameStop) {
          if (b[p] !== b[p - back]) break;
          p = (p + 1) | 0;
        }
      }
      if (p < nameStop || nameStop >= stop || b[p] !== 0x3e) {
        return turnOffInTag(scan, p, inEndName, depth, elements, nameAt, 0, 0, 0, 0);
      }
      p = (p + 1) | 0;
      if (scan.mustLeave !== 0) leave(scan, b, depth);
      depth = (depth - 1) | 0;
      if (depth === 0) return arrive(scan, p, SCAN.element);
    } else return turnOff(scan, p, afterLt, depth, elements);

    for (;;) {
      p = skipText(b, words, shift, p, stop) | 0;
      if (p >= stop) return turnOff(scan, p, inText, depth, elements);
      c = b[p]!;
      if (c === 0x3c) break;
      const past =
        c >= 0x80 ? skipUtf8(b, p, stop, TEXT) | 0 : c === 0x26 ? usualReference(b, p, stop) | 0 : p + SPACE[c]!;
      if (past <= p) return turnOff(scan, p, inText, depth, elements);
      p = past;
    }
    p = (p + 1) | 0;
  }
}

function arrive(scan: FrameScan, p: number, what: number): number {
  scan.pos = p;
  return what;
}

function turnOff(scan: FrameScan, p: number, stage: number, depth: number, elements: number): number {
  scan.pos = p;
  scan.stage = stage;
  scan.depth = depth;
  scan.elements = elements;
  return SCAN.handOver;
}

function turnOffInTag(
  scan: FrameScan,
  p: number,
  stage: number,
  depth: number,
  elements: number,
  token: number,
  colon: number,
  flags: number,
  attributeCount: number,
  attributeMask: number,
): number {
  scan.token = token;
  scan.colon = colon;
  scan.flags = flags;
  scan.attributeCount = attributeCount;
  scan.attributeMask = attributeMask;
  return turnOff(scan, p, stage, depth, elements);
}
