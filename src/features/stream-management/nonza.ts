import type { Session } from "../../session/session.ts";
import { escapeText } from "../../xmpp/element.ts";
import type { Frame } from "../../xmpp/frame.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";

/** The namespace that one side of a stream speaks: `:3`, or `:2` with older peers, whose elements are the same. */
export type SmNamespace = typeof NS.sm | typeof NS.sm2;

export type SmFailure = "unexpected-request" | "bad-request" | "item-not-found" | "internal-server-error";

const REQUEST = { [NS.sm]: Buffer.from(`<r xmlns='${NS.sm}'/>`), [NS.sm2]: Buffer.from(`<r xmlns='${NS.sm2}'/>`) };
const DIGIT_0 = 0x30;

export const smRequest = (xmlns: SmNamespace): Buffer => REQUEST[xmlns];

export const smAnswer = (xmlns: SmNamespace, h: number): Buffer =>
  Buffer.from(`<a xmlns='${xmlns}' h='${h >>> 0}'/>`, "latin1");

/** `<failed/>` with `h` when the count of a session that has ended is known (XEP-0198 §5). */
export function smFailed(xmlns: SmNamespace, condition: SmFailure, h: number | null = null): Buffer {
  const handled = h === null ? "" : ` h='${h >>> 0}'`;
  return Buffer.from(`<failed xmlns='${xmlns}'${handled}><${condition} xmlns='${NS.stanzaErrors}'/></failed>`);
}

/** `<enabled/>`; `id` null when the session cannot be resumed. Where to do that is told of one that any edge can resume. */
export function smEnabled(xmlns: SmNamespace, id: string | null, { holdSeconds, portable, host }: Session): Buffer {
  if (id === null) return Buffer.from(`<enabled xmlns='${xmlns}'/>`);
  const location = portable && host.elsewhere !== null ? ` location='${escapeText(host.elsewhere)}'` : "";
  const max = Math.ceil(holdSeconds);
  return Buffer.from(`<enabled xmlns='${xmlns}' id='${escapeText(id)}' resume='true' max='${max}'${location}/>`);
}

export function smEnable(xmlns: SmNamespace, resume: { maxSeconds: number } | null): Buffer {
  return Buffer.from(`<enable xmlns='${xmlns}'${resume === null ? "" : ` resume='true' max='${resume.maxSeconds}'`}/>`);
}

export function smResumed(xmlns: SmNamespace, id: string, h: number): Buffer {
  return Buffer.from(`<resumed xmlns='${xmlns}' previd='${escapeText(id)}' h='${h >>> 0}'/>`);
}

/** The stream error of an `h` that counts stanzas never sent (XEP-0198 §4): its application-specific part. */
export function handledCountTooHigh(h: number, sendCount: number): string {
  return `<handled-count-too-high xmlns='${NS.sm}' h='${h >>> 0}' send-count='${sendCount >>> 0}'/>`;
}

export function namespaceOf(frame: Frame): SmNamespace {
  const name = frame.bytes.toString("utf8", frame.nameStart, frame.nameEnd);
  const colon = name.indexOf(":");
  const declaration = colon < 0 ? "xmlns" : `xmlns:${name.slice(0, colon)}`;
  return peek.attr(frame, declaration) === NS.sm2 ? NS.sm2 : NS.sm;
}

/** The attribute `h`: an xs:unsignedInt, null when it is missing or malformed. */
export function readH(frame: Frame): number | null {
  const text = peek.attr(frame, "h")?.trim();
  if (text === undefined || text.length > 32 || !/^\+?\d+$/.test(text)) return null;
  const h = Number(text);
  return h <= 0xffff_ffff ? h : null;
}

/** The attribute `resume`: an xs:boolean. */
export function asksToResume(frame: Frame): boolean {
  const text = peek.attr(frame, "resume")?.trim();
  return text === "true" || text === "1";
}

/** The attribute `max` in seconds, null when it is missing or malformed: it is only a wish. */
export function readMax(frame: Frame): number | null {
  const text = peek.attr(frame, "max")?.trim();
  return text !== undefined && /^\d{1,9}$/.test(text) && Number(text) > 0 ? Number(text) : null;
}

/** `h` of an `<a/>` in the form that nearly every peer writes, without a string: −1 when it needs `readH`. */
export function quickH(frame: Frame): number {
  const { bytes, tagEnd } = frame;
  // From the end of the tag backwards: `/`, a quote, digits, the same quote, `=`, `h`, a space.
  let i = tagEnd - 2;
  if (bytes[i] !== 0x2f) return -1;
  const quote = bytes[--i];
  if (quote !== 0x27 && quote !== 0x22) return -1;
  let h = 0;
  let scale = 1;
  for (i--; bytes[i]! >= DIGIT_0 && bytes[i]! <= 0x39 && scale <= 1e9; i--, scale *= 10)
    h += (bytes[i]! - DIGIT_0) * scale;
  if (scale === 1 || bytes[i] !== quote || bytes[i - 1] !== 0x3d || bytes[i - 2] !== 0x68 || bytes[i - 3] !== 0x20)
    return -1;
  return h <= 0xffff_ffff ? h : -1;
}
