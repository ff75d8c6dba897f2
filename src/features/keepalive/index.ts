import { meter } from "../../base/meter.ts";
import type { Feature, Part } from "../../session/part.ts";
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
  // Bytes that waited at the last look, and when they last became fewer.
  #pending = 0;
  #takenAt = 0;

  constructor(feature: Keepalive, session: Session) {
    this.#feature = feature;
    this.#session = session;
  }

  tick(now: number): void {
    const { link, phase } = this.#session;
    if (link === null || phase === "draining") return;
    // Who has announced to be away (XEP-0124 §10) takes nothing, and is heard in the future.
    if (this.#takesNothing(now, link.heardAt > now ? 0 : link.pendingBytes)) {
      return this.#session.on(this.#session.resumable ? "lost" : "gone", "slow-client");
    }
    const { whitespace_interval: interval } = this.#feature.options;
    if (interval === 0 || now - Math.max(link.heardAt, link.wroteAt) < interval * 1000) return;
    sent.inc();
    link.keepAlive();
  }

  // TCP alone never gives up a peer that is there and does not read.
  #takesNothing(now: number, pending: number): boolean {
    if (pending === 0 || pending < this.#pending || this.#pending === 0) this.#takenAt = now;
    this.#pending = pending;
    return pending > 0 && now - this.#takenAt >= this.#feature.options.write_timeout * 1000;
  }

  phaseChanged(): void {
    this.#pending = 0;
  }
}
