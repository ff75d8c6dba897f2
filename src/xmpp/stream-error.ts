import type { StreamErrorCondition } from "../base/close-reasons.ts";
import { escapeText } from "./element.ts";
import { NS } from "./ns.ts";

/**
 * `<stream:error>` (RFC 6120 §4.9.2) as bytes. `text` is for people and in English; `application` is a complete element
 * with its own namespace (§4.9.4). The stream must be open and have declared the prefix `stream`.
 */
export function streamError(condition: StreamErrorCondition, text = "", application = ""): Buffer {
  const said = text === "" ? "" : `<text xmlns='${NS.streamErrors}' xml:lang='en'>${escapeText(text)}</text>`;
  return Buffer.from(`<stream:error><${condition} xmlns='${NS.streamErrors}'/>${said}${application}</stream:error>`);
}

export const STREAM_END: Buffer = Buffer.from("</stream:stream>");
