import type { FrameScan } from "./framer-scan.ts";
import { type FramingCondition, FramingError } from "./framing-error.ts";

// What a frame is refused for. Messages say what and where, and quote no more than a short name.

export function refusal(scan: FrameScan, condition: FramingCondition, what: string, p: number): FramingError {
  return new FramingError(condition, `${what} at byte ${p - scan.base}`);
}

export function badName(scan: FrameScan, p: number): FramingError {
  return refusal(scan, "not-well-formed", "character that no tag may have there", p);
}

export function badCharacter(scan: FrameScan, p: number): FramingError {
  return refusal(scan, "not-well-formed", "bytes that are no character of XML or not UTF-8", p);
}

export function tooMuch(scan: FrameScan, depth: number, p: number): FramingError {
  const what = depth >= scan.maxDepth ? "too many levels of elements" : "too many elements";
  return refusal(scan, "policy-violation", what, p);
}

export function tooManyAttributes(scan: FrameScan, p: number): FramingError {
  return refusal(scan, "policy-violation", "too many attributes in one element", p);
}

export function wrongEnd(scan: FrameScan, b: Buffer, depth: number, p: number): FramingError {
  const name = quoted(scan, b, scan.names[depth * 2 - 2]!, scan.names[depth * 2 - 1]!);
  return refusal(scan, "not-well-formed", `end tag that does not close ${name}`, p);
}

/** A name for a message: `start` and `end` are relative to the frame. */
export function quoted(scan: FrameScan, b: Buffer, start: number, end: number): string {
  return end - start > 40 ? "(a long name)" : `"${b.toString("utf8", scan.base + start, scan.base + end)}"`;
}
