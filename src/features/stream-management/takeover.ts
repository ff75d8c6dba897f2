import type { Negotiation } from "../../session/negotiation.ts";
import { escapeText } from "../../xmpp/element.ts";
import { parseJid } from "../../xmpp/jid.ts";
import type { SmNamespace } from "./nonza.ts";
import type { Takeable } from "./resume-token.ts";

/** What a client that returned here has shown, while its core is asked. */
export interface Adoption {
  readonly token: string;
  readonly session: Takeable;
  /** What the client speaks, and the stanzas that it has handled. */
  readonly xmlns: SmNamespace;
  readonly h: number;
}

/**
 * Clients that want a session which another process had, or this one before a restart (XEP-0198 §5). Their core is asked
 * to resume it on the stream on which they have just logged in: it knows whose the session is, and of two that ask for
 * it, the later has it and the other's stream is closed. Nothing is lost with the process that had the session: the core
 * holds what the client has not acknowledged, and the client what the core has not.
 */
export class Takeovers {
  readonly #asked = new WeakMap<Negotiation, Adoption>();

  /** False when this stream leads to another core than the session's, or to one that resumes nothing. */
  ask(at: Negotiation, adoption: Adoption): boolean {
    const { core, coreId, xmlns, jid } = adoption.session;
    if (at.coreName !== core || at.coreFeatures.sm === null || parseJid(jid) === null) return false;
    this.#asked.set(at, adoption);
    at.resumeAtCore(Buffer.from(`<resume xmlns='${xmlns}' previd='${escapeText(coreId)}' h='${adoption.h >>> 0}'/>`));
    return true;
  }

  /** The core has answered: what it was asked for. */
  answered(at: Negotiation): Adoption | null {
    const adoption = this.#asked.get(at) ?? null;
    this.#asked.delete(at);
    return adoption;
  }
}
