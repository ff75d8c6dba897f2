import { type Frame, textOf } from "../xmpp/frame.ts";
import { peek } from "../xmpp/peek.ts";
import { namesUser, saslUser } from "./sasl-identity.ts";

/** What the core said of a SASL exchange (RFC 6120 §6.4). */
export type SaslVerdict = "challenge" | "success" | "failure" | "other";

/**
 * Listens to the SASL exchange that passes through verbatim and remembers who it logs in. Keeps the user name only: no
 * password, proof or token outlives the call that reads it.
 */
export class SaslRelay {
  #mechanism = "";
  #user: string | null = null;
  #named = false;

  /** The user who authenticated, null when the exchange did not name one in a way that the edge understands. */
  get user(): string | null {
    return this.#user;
  }

  get mechanism(): string {
    return this.#mechanism;
  }

  /** `<auth/>` and `<response/>` on their way to the core. */
  fromClient(frame: Frame): void {
    const name = peek.name(frame);
    if (name === "auth") {
      this.#mechanism = peek.attr(frame, "mechanism") ?? "";
      this.#user = null;
      this.#named = false;
    }
    if (this.#named || !namesUser(this.#mechanism) || (name !== "auth" && name !== "response")) return;
    const message = contentOf(frame);
    if (message.length === 0) return; // <auth/> without an initial response: the first <response/> names the user
    this.#named = true;
    this.#user = saslUser(this.#mechanism, message);
  }

  fromCore(frame: Frame): SaslVerdict {
    const name = peek.name(frame);
    return name === "challenge" || name === "success" || name === "failure" ? name : "other";
  }
}

// The element's text, from base64; an element inside it or an entity leaves something that no user name survives.
function contentOf(frame: Frame): Buffer {
  const text = textOf(frame);
  const open = frame.tagEnd - frame.start;
  const close = text.lastIndexOf("</");
  return close < open ? Buffer.alloc(0) : Buffer.from(text.slice(open, close).trim(), "base64");
}
