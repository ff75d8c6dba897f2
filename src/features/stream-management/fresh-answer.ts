import type { Session } from "../../session/session.ts";
import { type Frame, frameOver, KIND } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import type { UnackedQueue } from "../../xmpp/unacked-queue.ts";

// Behind a longer backlog an answer waits its turn: looking through it would cost more than it saves.
const MAX_LOOKED_AT = 1000;

/**
 * Whether an answer from the core may go ahead of a replay, so that a client on a slow link is not left waiting. Only
 * an IQ answer may, and only when nothing of the same sender is in the backlog: stanzas of one sender keep their order
 * (RFC 6120 §10.1), as the last word of an archive query does behind the messages that it is about.
 */
export function overtakesReplay(frame: Frame, queue: UnackedQueue, session: Session): boolean {
  if (frame.kind !== KIND.iq || queue.unsent > MAX_LOOKED_AT) return false;
  if (!peek.attrEquals(frame, "type", "result") && !peek.attrEquals(frame, "type", "error")) return false;
  const sender = senderOf(frame, session);
  let waits = false;
  queue.forEach((bytes, start, end) => {
    waits ||= senderOf(frameOver(bytes, start, end), session) === sender;
  }, queue.unacked);
  return !waits;
}

// The account, its server and no `from` at all are one sender: the core speaks for all three.
function senderOf(frame: Frame, session: Session): string {
  const from = peek.attr(frame, "from");
  const { bareJid, jid } = session;
  return from === null || from === bareJid || from === jid.domain || from === `${bareJid}/${jid.resource}` ? "" : from;
}
