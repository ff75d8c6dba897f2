import type { Session } from "../../session/session.ts";
import { escapeText } from "../../xmpp/element.ts";
import { frameOver } from "../../xmpp/frame.ts";
import { NS } from "../../xmpp/ns.ts";
import { peek } from "../../xmpp/peek.ts";
import type { UnackedQueue } from "../../xmpp/unacked-queue.ts";

/** Tells the senders of what a client never acknowledged that it did not arrive (XEP-0198 §4). */
export function bounceUnacked(queue: UnackedQueue, session: Session): void {
  queue.forEach((bytes, start, end) => {
    bounce(bytes, start, end, session);
  });
}

/**
 * Tells the sender of a stanza that it did not arrive (RFC 6121 §8.5.3): only where the core does not count it and so believes
 * that it was delivered. Presence, errors and what the account sends to itself need no answer.
 */
export function bounce(bytes: Buffer, start: number, end: number, session: Session): void {
  const frame = frameOver(bytes, start, end);
  const name = peek.name(frame);
  const type = peek.attr(frame, "type") ?? (name === "message" ? "normal" : "");
  const from = peek.attr(frame, "from");
  const answerable =
    name === "message" ? type === "normal" || type === "chat" : name === "iq" && (type === "get" || type === "set");
  // The account itself sends copies and archived messages, which nobody waits for.
  if (!answerable || from === null || from === session.bareJid) return;
  const id = peek.attr(frame, "id");
  const idText = id === null ? "" : ` id='${escapeText(id)}'`;
  const error = `<error type='wait'><recipient-unavailable xmlns='${NS.stanzaErrors}'/></error>`;
  session.injectToCore(Buffer.from(`<${name} type='error' to='${escapeText(from)}'${idText}>${error}</${name}>`));
}
