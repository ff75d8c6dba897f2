import { attributeBit, isBefore } from "./framer-attributes.ts";
import { usualReference } from "./framer-reference.ts";
import type { FrameScan } from "./framer-scan.ts";
import { declare, isXmlPrefix, leave, settle } from "./framer-settle.ts";
import * as stages from "./framer-stages.ts";
import * as tables from "./framer-tables.ts";
import { skipUtf8 } from "./utf8.ts";

// Constants of this module: the compiler knows them, and looks up imported ones each time.
const { DECLARES, SCAN, STAGE } = stages;
const { NAME, NAME_START, SPACE, TEXT, VALUE } = tables;
const AFTER_LT = STAGE.afterLt;
const IN_TEXT = STAGE.inText;
/** The lengths of the two reserved namespace names: only those must be compared. */
const XML_LENGTH = 36;
const XMLNS_LENGTH = 29;
/** A tag with more attributes is none of the usual ones; comparing each name with each must stay cheap. */
const FEW = 12;
/** A longer tag that is cut off is not tried again from its start: reading must stay linear. */
const SHORT_TAG = 512;
/** Four bytes are looked at together, the first in the lowest bits; elsewhere byte by byte. */
const FOUR_AT_ONCE = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;

/**
 * The usual road through a frame, from behind a `<` or in text: tag after tag in one go, as long as they look like nearly
 * all traffic. What is unusual or wrong is handed over to `readOn`: a tag from its start, text at the byte in question.
 * That takes every byte that comes here, only slower, so this adds speed and no rules. A tag that the end of the chunk
 * cuts off is right so far; it waits for more bytes and is read again from its start then.
 *
 * Written for the compiler: positions stay 32-bit integers by `| 0`, and little is kept, as what a tag holds can be found
 * again in the tag. `words` are the same bytes as `b`, from `wordShift` bytes before them, as far as they fill words.
 *
 * How four bytes are looked at: for a byte x below 0x80, x + 0x7f has its high bit exactly if x is not 0, and x + 0x60
 * exactly if x is not below 0x20, and nothing is carried into the next byte. A byte from 0x80 on is a hit too, as it
 * cannot be 0x80 in both its forms; what its carry spoils lies above it, and only the lowest hit counts. Bytes of the
 * first word that lie before `p` are replaced by spaces, which never are hits.
 */
export function usualRoad(scan: FrameScan, b: Buffer, words: Int32Array, wordShift: number, end: number): number {
  const stop = end | 0;
  const shift = wordShift | 0;
  const wordStop = FOUR_AT_ONCE ? ((stop + shift) | 0) >> 2 : 0;
  const base = scan.base | 0;
  const maxDepth = scan.maxDepth | 0;
  const maxElements = scan.maxElements | 0;
  // biome-ignore lint/complexity/useMathMinMax: Math.min makes a floating-point number of it.
  const maxAttributes = (scan.maxAttributes < FEW ? scan.maxAttributes : FEW) | 0;
  const baseFlags = scan.baseFlags | 0;
  let names = scan.names;
  let depth = scan.depth | 0;
  let elements = scan.elements | 0;
  let p = scan.pos | 0;
  let c = 0;
  let inText = scan.stage === IN_TEXT;

  for (;;) {
    const tag = p;
    if (p >= stop) return turnOff(scan, p, inText ? IN_TEXT : AFTER_LT, depth, elements);
    c = b[p]!;
    if (inText) inText = false;
    else if (NAME[c] === NAME_START) {
      if (depth >= maxDepth || elements >= maxElements) return leaveTag(scan, tag, p, stop, depth, elements);
      p = (p + 1) | 0;
      while (p < stop) {
        c = b[p]!;
        if (NAME[c] === 0) break;
        p = (p + 1) | 0;
      }
      const nameEnd = p;
      let count = 0;
      let mask = 0;

      while (c === 0x20) {
        p = (p + 1) | 0;
        if (p >= stop) return leaveTag(scan, tag, p, stop, depth, elements);
        const first = b[p]!;
        if (NAME[first] !== NAME_START) {
          c = first === 0x20 ? 0 : first;
          break;
        }
        if (count >= maxAttributes) return leaveTag(scan, tag, p, stop, depth, elements);
        const from = p;
        p = (p + 1) | 0;
        while (p < stop) {
          c = b[p]!;
          if (NAME[c] === 0) break;
          p = (p + 1) | 0;
        }
        if (c === 0x3a && p - from === 3 && isXmlPrefix(b, from, 3)) {
          p = (p + 1) | 0;
          if (p >= stop || NAME[b[p]!] !== NAME_START) return leaveTag(scan, tag, p, stop, depth, elements);
          while (p < stop) {
            c = b[p]!;
            if (NAME[c] === 0) break;
            p = (p + 1) | 0;
          }
        }
        const length = (p - from) | 0;
        const bit = attributeBit(first, length);
        if ((mask & bit) !== 0 && isBefore(b, nameEnd, from, p)) return leaveTag(scan, tag, p, stop, depth, elements);
        mask |= bit;
        count = (count + 1) | 0;
        if (c !== 0x3d) return leaveTag(scan, tag, p, stop, depth, elements);
        p = (p + 1) | 0;
        if (p >= stop) return leaveTag(scan, tag, p, stop, depth, elements);
        const quote = b[p]!;
        if (quote !== 0x22 && quote !== 0x27) return leaveTag(scan, tag, p, stop, depth, elements);

        p = (p + 1) | 0;
        const valueFrom = p;
        // "&" differs from either quote in one bit.
        const both = quote === 0x27 ? 0x27272727 : 0x26262626;
        const differ = quote === 0x27 ? 0x01010101 : 0x04040404;
        for (;;) {
          let i = ((p + shift) | 0) >> 2;
          let hits = 0;
          if (i < wordStop) {
            const keep = -1 << (((p + shift) & 3) << 3);
            let w = (words[i]! & keep) | (0x20202020 & ~keep);
            let clear = (((w | differ) ^ both) + 0x7f7f7f7f) & ((w ^ 0x3c3c3c3c) + 0x7f7f7f7f) & (w + 0x60606060);
            hits = ~clear & 0x80808080;
            while (hits === 0) {
              i = (i + 1) | 0;
              if (i >= wordStop) break;
              w = words[i]!;
              clear = (((w | differ) ^ both) + 0x7f7f7f7f) & ((w ^ 0x3c3c3c3c) + 0x7f7f7f7f) & (w + 0x60606060);
              hits = ~clear & 0x80808080;
            }
            p = ((i << 2) - shift) | 0;
          }
          if (hits !== 0) p = (p + ((31 - Math.clz32(hits & -hits)) >> 3)) | 0;
          else {
            while (p < stop) {
              if (VALUE[b[p]!] !== 0) break;
              p = (p + 1) | 0;
            }
          }
          if (p >= stop) return leaveTag(scan, tag, p, stop, depth, elements);
          c = b[p]!;
          if (c === quote) break;
          const past = c >= 0x80 ? skipUtf8(b, p, stop, VALUE) | 0 : c === 0x26 ? usualReference(b, p, stop) | 0 : 0;
          if (past <= p) return leaveTag(scan, tag, p, stop, depth, elements);
          p = past;
        }
        if (length === 5 && first === 0x78 && isXmlPrefix(b, from, 5)) {
          const uriLength = (p - valueFrom) | 0;
          if (depth === 0 || baseFlags !== 0 || uriLength === XML_LENGTH || uriLength === XMLNS_LENGTH) {
            declare(scan, b, (depth + 1) | 0, DECLARES.defaultNamespace, 0, valueFrom, p, false);
          }
        }
        p = (p + 1) | 0;
        if (p >= stop) return leaveTag(scan, tag, p, stop, depth, elements);
        c = b[p]!;
      }

      const empty = c === 0x2f;
      if (empty) p = (p + 1) | 0;
      if (p >= stop || b[p] !== 0x3e) return leaveTag(scan, tag, p, stop, depth, elements);
      p = (p + 1) | 0;
      const slot = depth << 1;
      if (slot >= names.length) names = scan.growNames();
      names[slot] = (tag - base) | 0;
      names[(slot + 1) | 0] = (nameEnd - base) | 0;
      depth = (depth + 1) | 0;
      elements = (elements + 1) | 0;
      if (depth === 1 || baseFlags !== 0) {
        if (settle(scan, b, depth, baseFlags, p)) return arrive(scan, p, empty ? SCAN.emptyHeader : SCAN.header);
      }
      if (empty) {
        if (scan.mustLeave !== 0) leave(scan, b, depth);
        depth = (depth - 1) | 0;
        if (depth === 0) return arrive(scan, p, SCAN.element);
      }
    } else if (c === 0x2f && depth !== 0) {
      p = (p + 1) | 0;
      const slot = ((depth << 1) - 2) | 0;
      let from = names[slot]! | 0;
      const nameStop = (p + names[(slot + 1) | 0]! - from) | 0;
      from = (from + base) | 0;
      // biome-ignore lint/complexity/useMathMinMax: Math.min makes a floating-point number of it.
      const compareStop = nameStop < stop ? nameStop : stop;
      while (p < compareStop) {
        if (b[p] !== b[from]) break;
        p = (p + 1) | 0;
        from = (from + 1) | 0;
      }
      if (p < nameStop || p >= stop || b[p] !== 0x3e) return leaveTag(scan, tag, p, stop, depth, elements);
      p = (p + 1) | 0;
      if (scan.mustLeave !== 0) leave(scan, b, depth);
      depth = (depth - 1) | 0;
      if (depth === 0) return arrive(scan, p, SCAN.element);
    } else return leaveTag(scan, tag, p, stop, depth, elements);

    for (;;) {
      // Most tags follow each other without text between them.
      if (p < stop && b[p] === 0x3c) break;
      let i = ((p + shift) | 0) >> 2;
      let hits = 0;
      if (i < wordStop) {
        const keep = -1 << (((p + shift) & 3) << 3);
        let w = (words[i]! & keep) | (0x20202020 & ~keep);
        // "<" differs from ">" in one bit.
        let clear = (((w | 0x02020202) ^ 0x3e3e3e3e) + 0x7f7f7f7f) & ((w ^ 0x26262626) + 0x7f7f7f7f) & (w + 0x60606060);
        hits = ~clear & 0x80808080;
        while (hits === 0) {
          i = (i + 1) | 0;
          if (i >= wordStop) break;
          w = words[i]!;
          clear = (((w | 0x02020202) ^ 0x3e3e3e3e) + 0x7f7f7f7f) & ((w ^ 0x26262626) + 0x7f7f7f7f) & (w + 0x60606060);
          hits = ~clear & 0x80808080;
        }
        p = ((i << 2) - shift) | 0;
      }
      if (hits !== 0) p = (p + ((31 - Math.clz32(hits & -hits)) >> 3)) | 0;
      else {
        while (p < stop) {
          if (TEXT[b[p]!] !== 0) break;
          p = (p + 1) | 0;
        }
      }
      if (p >= stop) return turnOff(scan, p, IN_TEXT, depth, elements);
      c = b[p]!;
      if (c === 0x3c) break;
      const past =
        c >= 0x80 ? skipUtf8(b, p, stop, TEXT) | 0 : c === 0x26 ? usualReference(b, p, stop) | 0 : (p + SPACE[c]!) | 0;
      if (past <= p) return turnOff(scan, p, IN_TEXT, depth, elements);
      p = past;
    }
    p = (p + 1) | 0;
  }
}

/** The tag that begins at `tag` is not read here any further than to `p`. */
function leaveTag(scan: FrameScan, tag: number, p: number, stop: number, depth: number, elements: number): number {
  turnOff(scan, tag, AFTER_LT, depth, elements);
  return p >= stop && stop - tag < SHORT_TAG ? SCAN.more : SCAN.handOver;
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
