import { meter } from "../base/meter.ts";
import type { Feature, Part, Verdict } from "../session/part.ts";
import type { Session } from "../session/session.ts";
import { escapeText } from "../xmpp/element.ts";
import { type Frame, KIND } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";

const answered = meter.counter("breakwater_pings_answered_total", "Pings of cores answered for dormant clients");

/**
 * XEP-0199 for a client that is away: a core that checks an idle session hears that the session is alive, and the
 * phone sleeps on. Pings of anybody else wait for the client.
 */
export const ping: Feature = {
  name: "ping",
  attach: (session) => new PingPart(session),
};

class PingPart implements Part {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  fromCore(frame: Frame): Verdict {
    const session = this.#session;
    // Of a portable session each stanza counts for core and client alike.
    if (session.phase !== "dormant" || session.portable || frame.kind !== KIND.iq) return "pass";
    if (!peek.attrEquals(frame, "type", "get") || !peek.hasChild(frame, "ping", NS.ping)) return "pass";
    const from = peek.attr(frame, "from");
    if (from !== null && from !== session.jid.domain && from !== session.bareJid) return "pass";
    const id = escapeText(peek.attr(frame, "id") ?? "");
    const to = from === null ? "" : ` to='${escapeText(from)}'`;
    session.injectToCore(Buffer.from(`<iq type='result' id='${id}'${to}/>`));
    answered.inc();
    return "taken";
  }
}
