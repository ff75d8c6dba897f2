import type { Negotiation } from "../../session/negotiation.ts";
import type { StoredName } from "../../session/stanza-store.ts";
import { escapeText } from "../../xmpp/element.ts";
import { bareOf, parseJid } from "../../xmpp/jid.ts";
import type { SmNamespace } from "./nonza.ts";
import type { Takeable } from "./resume-token.ts";
import { type Found, type Safe, storedName } from "./safe.ts";

/** A client is asked to come again for so long; a store that is away for longer keeps nobody from a new login. */
const STORE_PATIENCE_MS = 30_000;

/** What a client that returned here has shown, while its core is asked. */
export interface Adoption {
  readonly token: string;
  readonly session: Takeable;
  /** What the client speaks, and the stanzas that it has handled. */
  readonly xmlns: SmNamespace;
  readonly h: number;
  /** What the store had for it. */
  readonly found: Found | null;
}

/** Why a takeover that the store was asked for goes no further. */
export type Failure = "store-away" | "store-lost";

/**
 * Clients that want a session which another process had, or this one before a restart (XEP-0198 §5). Their core is asked
 * to resume it on the stream on which they have just logged in: it knows whose the session is, and of two that ask for
 * it, the later has it and the other's stream is closed. Nothing is lost with the process that had the session: the core
 * or the store holds what the client has not acknowledged, and the client what the core has not.
 */
export class Takeovers {
  readonly #safe: () => Safe | null;
  readonly #asked = new WeakMap<Negotiation, Adoption>();
  // The first and the last attempt that the store did not answer, in a row.
  #awaySince = 0;
  #awayAt = 0;

  /** `safe`: where stanzas are safe beside a process, null: nowhere. */
  constructor(safe: () => Safe | null) {
    this.#safe = safe;
  }

  /**
   * False when this stream leads to another core or account than the session's, or to a core that resumes nothing. The
   * store is asked first, so that nobody adds to what it has; `failed` is called when that fails and the client waits.
   */
  ask(at: Negotiation, adoption: Adoption, failed: (why: Failure) => void): boolean {
    const { core, jid } = adoption.session;
    const address = parseJid(jid);
    if (at.coreName !== core || at.coreFeatures.sm === null || address === null) return false;
    // Nothing is stored for an account that only the core can tell (`Session.identified`).
    const safe = this.#safe();
    if (safe === null || !at.isIdentified) {
      this.#askCore(at, adoption);
      return true;
    }
    // The core would refuse a stranger; the store would not, and take the session from its owner.
    if (!at.isAccountOf(address)) return false;
    at.awaitResume();
    void this.#askStore(safe, at, adoption, failed);
    return true;
  }

  /** The core has answered: what it was asked for. */
  answered(at: Negotiation): Adoption | null {
    const adoption = this.#asked.get(at) ?? null;
    this.#asked.delete(at);
    return adoption;
  }

  async #askStore(safe: Safe, at: Negotiation, adoption: Adoption, failed: (why: Failure) => void): Promise<void> {
    const { token, h, session } = adoption;
    const name = nameOf(session, token);
    const found = await safe.takeOver(name, h, session.maxSeconds);
    if (!at.awaitsResume) return;
    if (typeof found !== "string") {
      this.#awaySince = 0;
      return this.#askCore(at, { ...adoption, found });
    }
    if (found !== "unavailable" && found !== "fenced") return failed("store-lost");
    // Without the store nobody knows whether the core has all that the client missed.
    if (found === "unavailable" && this.#isPatienceOver(safe.clock.now())) return failed("store-away");
    at.refuse("store-unavailable", "What is kept for this client cannot be looked up just now; please come again");
  }

  #isPatienceOver(now: number): boolean {
    if (this.#awaySince === 0 || now - this.#awayAt > STORE_PATIENCE_MS) this.#awaySince = now;
    this.#awayAt = now;
    return now - this.#awaySince > STORE_PATIENCE_MS;
  }

  #askCore(at: Negotiation, adoption: Adoption): void {
    const { coreId, xmlns } = adoption.session;
    const h = coreHandled(adoption);
    this.#asked.set(at, adoption);
    at.resumeAtCore(Buffer.from(`<resume xmlns='${xmlns}' previd='${escapeText(coreId)}' h='${h}'/>`));
  }
}

/** How the session with this resume id is called in the store. */
export function nameOf({ jid }: Takeable, token: string): StoredName {
  const address = parseJid(jid)!;
  return storedName(bareOf(address), address.resource, token);
}

/** What the core may count as handled: what the client has, and what is stored for it. */
export function coreHandled({ h, found }: Adoption): number {
  const kept = found?.kept ?? null;
  return kept === null ? h >>> 0 : kept.next - 1;
}
