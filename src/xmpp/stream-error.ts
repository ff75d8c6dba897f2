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

/** Where the client should go on: a host, or `host:port` (RFC 6120 §4.9.3.19). */
export function seeOtherHost(place: string, text: string): Buffer {
  const where = `<see-other-host xmlns='${NS.streamErrors}'>${escapeText(place)}</see-other-host>`;
  const said = `<text xmlns='${NS.streamErrors}' xml:lang='en'>${escapeText(text)}</text>`;
  return Buffer.from(`<stream:error>${where}${said}</stream:error>`);
}

/** Said to clients that are let go because this edge stops. */
export const LEAVE_TEXT = "This server is restarting; please reconnect";

export const STREAM_END: Buffer = Buffer.from("</stream:stream>");
