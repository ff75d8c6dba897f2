import { escapeText } from "../../xmpp/element.ts";
import { type Frame, frameOver, KIND } from "../../xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../xmpp/framer.ts";
import { FramingError } from "../../xmpp/framing-error.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";

// RFC 7395 §3.3: where TCP has opening and closing tags, WebSocket has the elements <open/> and <close/>.

const STREAM = `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}'`;
const ANY_STREAM = Buffer.from(`${STREAM}>`);

/** The attributes of a stream that both forms have (§3.4). */
const ATTRIBUTES = ["to", "from", "id", "version", "xml:lang"] as const;

/** Whether a frame that the framer does not know is `<open/>` or `<close/>`. */
export function framingElement(frame: Frame): "open" | "close" | null {
  if (frame.kind !== KIND.other || !peek.attrEquals(frame, "xmlns", NS.framing)) return null;
  const name = peek.name(frame);
  return name === "open" || name === "close" ? name : null;
}

/**
 * What a client says first: the opening tag that a client on TCP would have sent instead of this `<open/>`, or "close".
 * Throws FramingError when it is something else.
 */
export function openingTagFor(message: Buffer, limits: FramerLimits): Buffer | "close" {
  const framer = new StanzaFramer(limits);
  framer.feed(ANY_STREAM, true);
  framer.next();
  framer.feed(message, true);
  const frame = framer.next();
  const what = frame === null || frame === "end" ? null : framingElement(frame);
  if (what === null || framer.unread() > 0) {
    throw new FramingError("bad-format", `a stream begins with <open xmlns='${NS.framing}'/> in a message of its own`);
  }
  return what === "close" ? "close" : Buffer.from(`${STREAM}${attributesOf(frame as Frame)}>`);
}

/** The `<open/>` in place of an opening tag. */
export function openFor(bytes: Buffer, start: number, end: number): Buffer {
  return Buffer.from(`<open xmlns='${NS.framing}'${attributesOf(frameOver(bytes, start, end, KIND.streamHeader))}/>`);
}

/** `<close/>`; `seeOtherUri`: where the client should go on (§3.6.1). */
export function closeElement(seeOtherUri: string | null): Buffer {
  const elsewhere = seeOtherUri === null ? "" : ` see-other-uri='${escapeText(seeOtherUri)}'`;
  return Buffer.from(`<close xmlns='${NS.framing}'${elsewhere}/>`);
}

function attributesOf(frame: Frame): string {
  const attributes = peek.attributes(frame);
  return ATTRIBUTES.map((name) => [name, attributes.get(name)] as const)
    .map(([name, value]) => (value === undefined ? "" : ` ${name}='${escapeText(value)}'`))
    .join("");
}
