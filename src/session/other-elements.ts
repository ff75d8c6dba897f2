import { type Frame, KIND } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";
import type { Session } from "./session.ts";

/** The answer to a client that asks for stream compression (XEP-0138 §4), which nobody has offered. */
export const COMPRESS_REFUSED = Buffer.from(`<failure xmlns='${NS.compress}'><setup-failed/></failure>`);

/**
 * Whether an element of a bound client that is no stanza, and that no part took, goes on to the core. The edge has settled
 * TLS, SASL and compression: the core must not hear of them. What may not is answered here, or ends the session.
 */
export function mayPassToCore(frame: Frame, session: Session): boolean {
  const { link } = session;
  if (frame.kind === KIND.other && peek.name(frame) === "compress") {
    link?.write(COMPRESS_REFUSED, 0, COMPRESS_REFUSED.length);
    return false;
  }
  // An opening tag inside the stream is an element for the framer, and would be one for the core.
  const opens = frame.kind === KIND.other && peek.name(frame) === "stream";
  if (frame.kind === KIND.other && !opens) return true;
  if (frame.kind === KIND.streamError) {
    session.log.info("client ended its stream with an error", { session: session.id });
    session.on("ending", "client-closed");
  } else if (link !== null) {
    session.refuse(link, "unexpected-element", `<${peek.name(frame)}/> has no place in a bound stream`);
  }
  return false;
}
