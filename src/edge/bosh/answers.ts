import { escapeText } from "../../xmpp/element.ts";
import { frameOver } from "../../xmpp/frame.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import { usesStreamPrefix } from "./pieces.ts";

/** How a session or a request ends, as XEP-0124 §17.2 names it. */
export type Condition =
  | "bad-request"
  | "host-unknown"
  | "improper-addressing"
  | "internal-server-error"
  | "item-not-found"
  | "policy-violation"
  | "remote-connection-failed"
  | "remote-stream-error"
  | "system-shutdown";

/** What clients that name no BOSH version are told instead (§17.1). */
const LEGACY_STATUS: Partial<Record<Condition, number>> = {
  "bad-request": 400,
  "policy-violation": 403,
  "item-not-found": 404,
};

/** The HTTP status of an answer with this condition. */
export function statusFor(condition: Condition | null, legacy: boolean): number {
  return (legacy && condition !== null && LEGACY_STATUS[condition]) || 200;
}

const HEAD = Buffer.from(`<body xmlns='${NS.httpBind}'`);
const STREAM_PREFIX = ` xmlns:stream='${NS.streams}'`;
const OPEN = Buffer.from(">");
const EMPTY = Buffer.from("/>");
const STREAM_ERROR = "<stream:error";
const END = Buffer.from("</body>");
const NOTHING = Buffer.concat([HEAD, EMPTY]);

/**
 * A `<body/>` around elements that are complete and have their namespaces. It is kept for a while, so it never comes from
 * Node's pool: a slice of that would pin 8 KiB.
 */
export function answerBody(attributes: string, payload: readonly Buffer[]): Buffer {
  if (attributes === "" && payload.length === 0) return NOTHING;
  const declared = payload.some(usesStreamPrefix) ? STREAM_PREFIX + attributes : attributes;
  const pieces = [HEAD, Buffer.from(declared), ...(payload.length === 0 ? [EMPTY] : [OPEN, ...payload, END])];
  const body = Buffer.allocUnsafeSlow(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) at += piece.copy(body, at);
  return body;
}

/** The last body of a session, or the only one of a request without; no condition: a polite end. */
export function terminal(condition: Condition | null, payload: readonly Buffer[] = []): Buffer {
  return answerBody(` type='terminate'${condition === null ? "" : ` condition='${condition}'`}`, payload);
}

/** A request that came again while it waited: the answer goes to the newer one (§14.3). */
export const RECOVERABLE: Buffer = answerBody(" type='error'", []);

/** Stream errors that BOSH has a condition for, as they are about the edge and not about the stream. */
const CONDITIONS = new Set<string>([
  "host-unknown",
  "improper-addressing",
  "internal-server-error",
  "remote-connection-failed",
  "system-shutdown",
]);

/** What a `<stream:error/>` is for BOSH. */
export function conditionOf(bytes: Buffer, start: number, end: number): Condition {
  const name = peek.firstChild(frameOver(bytes, start, end))?.name ?? "";
  return CONDITIONS.has(name) ? (name as Condition) : "remote-stream-error";
}

export function isStreamError(bytes: Buffer, start: number): boolean {
  return bytes.toString("latin1", start, start + STREAM_ERROR.length) === STREAM_ERROR;
}

/** Attributes as text, those without a value left out. */
export function attributesText(attributes: Readonly<Record<string, string | number | null | undefined>>): string {
  return Object.entries(attributes)
    .map(([name, value]) => (value === null || value === undefined ? "" : ` ${name}='${escapeText(String(value))}'`))
    .join("");
}
