import type { CloseReason } from "../base/close-reasons.ts";
import { escapeText } from "./element.ts";
import type { Frame } from "./frame.ts";
import { NS } from "./ns.ts";
import { peek } from "./peek.ts";

/** What the opening tag of a client's stream says (RFC 6120 §4.7). */
export interface StreamHeader {
  readonly to: string | null;
  readonly from: string | null;
  readonly id: string | null;
  readonly lang: string | null;
}

/** Why a header is refused: the close reason names the stream error that the sender gets. */
export interface HeaderRefusal {
  readonly reason: CloseReason;
  readonly text: string;
}

/** Reads and checks an opening tag: root name, namespaces and version (RFC 6120 §4.7.5, §4.8). */
export function readStreamHeader(frame: Frame): StreamHeader | HeaderRefusal {
  const attributes = peek.attributes(frame);
  const name = frame.bytes.toString("utf8", frame.nameStart, frame.nameEnd);
  const colon = name.indexOf(":");
  const declaration = colon < 0 ? "xmlns" : `xmlns:${name.slice(0, colon)}`;
  if (attributes.get(declaration) !== NS.streams) {
    return { reason: "invalid-namespace", text: `the opening tag must be in the namespace ${NS.streams}` };
  }
  if (name.slice(colon + 1) !== "stream")
    return { reason: "bad-format", text: "the opening tag must be <stream:stream>" };
  // The edge's own elements towards this stream use this prefix, as nearly every client's do (RFC 6120 §4.8.5).
  if (name !== "stream:stream") return { reason: "bad-namespace-prefix", text: "the stream prefix must be 'stream'" };
  if (attributes.get("xmlns") !== NS.client) {
    return { reason: "invalid-namespace", text: `the default namespace must be ${NS.client}` };
  }
  // RFC 6120 §4.7.5: no version means a stream before XMPP 1.0, which has no features and so no SASL.
  if (!/^0*[1-9]\d*\.\d+$/.test(attributes.get("version") ?? "")) {
    return { reason: "unsupported-version", text: "this server speaks XMPP 1.0" };
  }
  return {
    to: attributes.get("to") ?? null,
    from: attributes.get("from") ?? null,
    id: attributes.get("id") ?? null,
    lang: attributes.get("xml:lang") ?? null,
  };
}

export function isRefusal(header: StreamHeader | HeaderRefusal): header is HeaderRefusal {
  return "reason" in header;
}

/** What stands before an opening tag. */
export const XML_DECLARATION: Buffer = Buffer.from("<?xml version='1.0'?>");

/** An opening tag of the edge's own: towards a client where no core has answered yet (`from`, `id`), or a core (`to`). */
export function openingTag(attributes: { from?: string | null; to?: string; id?: string }): string {
  const optional = (["from", "to", "id"] as const)
    .map((name) => [name, attributes[name] ?? null] as const)
    .map(([name, value]) => (value === null ? "" : ` ${name}='${escapeText(value)}'`))
    .join("");
  return `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' version='1.0' xml:lang='en'${optional}>`;
}
