import type { Feature, Part, Verdict } from "../session/part.ts";
import type { Phase } from "../session/phases.ts";
import type { Session } from "../session/session.ts";
import { type Frame, KIND } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";
import { peek } from "../xmpp/peek.ts";

const INACTIVE = Buffer.from(`<inactive xmlns='${NS.csi}'/>`);
const ACTIVE = Buffer.from(`<active xmlns='${NS.csi}'/>`);

/**
 * XEP-0352 Client State Indication: the client's word reaches a core that knows it, and the session's phase follows. The
 * offer passes from the core; a core without it never hears of it.
 */
export const clientState: Feature = {
  name: "client-state",
  attach: (session) => new ClientStatePart(session),
};

class ClientStatePart implements Part {
  readonly name = "client-state";
  readonly #session: Session;
  #toldInactive = false;

  constructor(session: Session) {
    this.#session = session;
  }

  fromClient(frame: Frame): Verdict {
    if (frame.kind !== KIND.csi) return "pass";
    const inactive = peek.name(frame) === "inactive";
    const { phase, coreFeatures, core } = this.#session;
    if (inactive && phase === "active") this.#session.on("clientInactive", "client-closed");
    if (!inactive && phase === "inactive") this.#session.on("clientActive", "client-closed");
    if (coreFeatures.csi) {
      this.#toldInactive = inactive;
      core.write(frame.bytes, frame.start, frame.end);
    }
    return "taken";
  }

  /** To the core, too, the resumed stream begins active. */
  coreResumed(): void {
    if (this.#toldInactive) this.#session.core.write(INACTIVE, 0, INACTIVE.length);
  }

  get estate(): { toldInactive: boolean } {
    return { toldInactive: this.#toldInactive };
  }

  restore({ toldInactive }: { toldInactive: boolean }): void {
    this.#toldInactive = toldInactive;
  }

  /** XEP-0352 §4: a resumed stream begins active; the core, whose stream was never cut, has to be told. */
  phaseChanged(_from: Phase, to: Phase): void {
    if (to !== "resuming" || !this.#toldInactive) return;
    this.#toldInactive = false;
    this.#session.core.write(ACTIVE, 0, ACTIVE.length);
    this.#session.core.flush();
  }
}
