import { meter } from "../../base/meter.ts";
import type { Feature, Part } from "../../session/part.ts";
import type { Link } from "../../session/ports.ts";
import type { Session } from "../../session/session.ts";
import type { KeepaliveOptions } from "./options.ts";

const sent = meter.counter("breakwater_keepalives_total", "Keepalives sent to silent clients");

/**
 * Keepalives towards clients, whitespace on TCP (RFC 6120 §4.6.1): routers on the way keep a connection that speaks now
 * and then. Nothing of it reaches the core or is counted. Whether the client is there at all is stream-management's
 * question; here only a client that takes nothing is given up. `options` are replaced by a reload and hold from then on.
 */
export class Keepalive implements Feature {
  readonly name = "keepalive";
  options: KeepaliveOptions;

  constructor(options: KeepaliveOptions) {
    this.options = options;
  }

  attach(session: Session): Part {
    return new KeepalivePart(this, session);
  }
}

class KeepalivePart implements Part {
  readonly #feature: Keepalive;
  readonly #session: Session;
  // What the link had got rid of at the last look, and when that last grew or nothing waited.
  #taken = -1;
  #takenAt = 0;

  constructor(feature: Keepalive, session: Session) {
    this.#feature = feature;
    this.#session = session;
  }

  tick(now: number): void {
    const { link, phase } = this.#session;
    if (link === null || phase === "draining") return;
    if (this.#takesNothing(now, link)) {
      return this.#session.on(this.#session.resumable ? "lost" : "gone", "slow-client");
    }
    const { whitespace_interval: interval } = this.#feature.options;
    if (interval === 0 || now - Math.max(link.heardAt, link.wroteAt) < interval * 1000) return;
    sent.inc();
    link.keepAlive();
  }

  // TCP alone never gives up a peer that is there and does not read. A stanza of a megabyte is one write, and takes minutes on
  // 2G: what counts is not that it is through but that it moves.
  #takesNothing(now: number, link: Link): boolean {
    const { takenBytes, pendingBytes, heardAt } = link;
    // Who has announced to be away (XEP-0124 §10) takes nothing, and is heard in the future.
    if (pendingBytes === 0 || heardAt > now || takenBytes > this.#taken) this.#takenAt = now;
    this.#taken = takenBytes;
    return now - this.#takenAt >= this.#feature.options.write_timeout * 1000;
  }

  phaseChanged(): void {
    this.#taken = -1; // perhaps another link's
  }
}
