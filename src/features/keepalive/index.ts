import { meter } from "../../base/meter.ts";
import type { Feature, Part } from "../../session/part.ts";
import type { Session } from "../../session/session.ts";
import type { KeepaliveOptions } from "./options.ts";

const sent = meter.counter("breakwater_keepalives_total", "Keepalives sent to silent clients");

/**
 * Keepalives towards clients, whitespace on TCP (RFC 6120 §4.6.1): routers on the way keep a connection that speaks now
 * and then. Nothing of it reaches the core or is counted. Whether the client is there at all is stream-management's
 * question. `options` are replaced by a reload and hold from then on.
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

  constructor(feature: Keepalive, session: Session) {
    this.#feature = feature;
    this.#session = session;
  }

  tick(now: number): void {
    const { link, phase } = this.#session;
    if (link === null || phase === "draining") return;
    const { whitespace_interval: interval } = this.#feature.options;
    if (interval === 0 || now - Math.max(link.heardAt, link.wroteAt) < interval * 1000) return;
    sent.inc();
    link.keepAlive();
  }
}
