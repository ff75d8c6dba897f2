import type { Frame } from "../xmpp/frame.ts";
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

  /** `<auth/>` and `<response/>` on their way to the core that serves `domain`. */
  fromClient(frame: Frame, domain: string): void {
    const name = peek.name(frame);
    if (name === "auth") {
      this.#mechanism = peek.attr(frame, "mechanism") ?? "";
      this.#user = null;
      this.#named = false;
    }
    if (this.#named || !namesUser(this.#mechanism) || (name !== "auth" && name !== "response")) return;
    const message = contentOf(frame);
    if (message?.length === 0) return; // <auth/> without an initial response: the first <response/> names the user
    this.#named = true;
    this.#user = message === null ? null : saslUser(this.#mechanism, message, domain);
  }

  fromCore(frame: Frame): SaslVerdict {
    const name = peek.name(frame);
    return name === "challenge" || name === "success" || name === "failure" ? name : "other";
  }
}

/**
 * The element's text, from base64. Null when it is written in any way that another decoder might read differently: a
 * child, CDATA, a reference, another alphabet, bits behind the end (RFC 4648 §3). The core decides what to make of it.
 */
function contentOf(frame: Frame): Buffer | null {
  if (frame.tagEnd === frame.end) return Buffer.alloc(0);
  const text = frame.bytes
    .toString("latin1", frame.tagEnd, frame.bytes.lastIndexOf("</", frame.end - 1, "latin1"))
    .trim();
  if (text === "" || text === "=") return Buffer.alloc(0); // RFC 6120 §6.4.2
  const message = Buffer.from(text, "base64");
  return message.toString("base64") === text ? message : null;
}
