import { meter } from "../../base/meter.ts";
import type { Session } from "../../session/session.ts";
import { frameOver } from "../../xmpp/frame.ts";
import { peek } from "../../xmpp/peek.ts";
import { writeDelayed } from "./replay.ts";
import type { Found, Safe } from "./safe.ts";

const delivered = meter.counter(
  "breakwater_sm_leftover_messages_total",
  "Stored messages of sessions that could not be resumed any more, delivered after the new login",
);

/**
 * Messages of a session that its core has given up, and that the core believes to be handled because they were in the
 * store. Its client has come back with the resume id and binds anew: it gets them first, before anything is counted.
 * The store keeps them until the client's first acknowledgement, which shows that they have arrived.
 */
export class Leftovers {
  readonly #safe: Safe;
  readonly #id: string;
  readonly #found: Found;

  constructor(safe: Safe, id: string, found: Found) {
    this.#safe = safe;
    this.#id = id;
    this.#found = found;
  }

  /** What a server would have kept for an account that is offline: no presence, no IQ, no room's chatter (RFC 6121 §8.5.2). */
  deliver(session: Session): void {
    const { link, jid, log } = session;
    if (link === null) return;
    let messages = 0;
    for (const { bytes, queuedAt } of this.#found.stanzas) {
      const frame = frameOver(bytes, 0, bytes.length);
      const type = peek.name(frame) === "message" ? (peek.attr(frame, "type") ?? "normal") : null;
      if (type !== "normal" && type !== "chat") continue;
      writeDelayed(link, bytes, 0, bytes.length, queuedAt, jid.domain);
      messages++;
    }
    delivered.cell().value += messages;
    log.info("stored messages delivered after a new login", { session: session.id, messages });
  }

  arrived(): void {
    void this.#safe.store.release(this.#id, this.#found.epoch);
  }
}
