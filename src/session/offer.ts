import { childElements, Element, parseElement } from "../xmpp/element.ts";
import type { Frame } from "../xmpp/frame.ts";
import { NS } from "../xmpp/ns.ts";

/** What the core itself can do for a bound stream, read from its stream features before the edge changes them. */
export interface CoreFeatures {
  /** The namespace of the newest XEP-0198 that the core offers, null when it offers none. */
  readonly sm: typeof NS.sm | typeof NS.sm2 | null;
  /** XEP-0352. */
  readonly csi: boolean;
}

/** Settled by the edge on the client's leg; a client must never see the core's own offer of them. */
const SETTLED_BY_EDGE: readonly string[] = [
  NS.tls, // Prosody with mod_tls offers it before and after login
  NS.compressFeature,
  NS.sm,
  NS.sm2,
  // Names the channel bindings of the link between edge and core, which the client cannot see (XEP-0440 §4).
  NS.saslChannelBinding,
  // SASL2 would log in past the SASL relay; a core that hides it on plaintext streams does not offer it anyway.
  NS.sasl2,
];

/** The stream features of the core on their way to the client (RFC 6120 §4.3.2): features may add to them. */
export class Offer {
  readonly core: CoreFeatures;
  /** Whether the client has authenticated: bind and what comes after it is on offer, else SASL. */
  readonly authenticated: boolean;
  /** SASL mechanisms that were taken away because no client can complete them through an edge. */
  readonly removedMechanisms: readonly string[];
  readonly #features: Element;

  /** `mechanisms`: only these pass, null for the core's list unedited (XEP-0474 hashes it). */
  constructor(frame: Frame, mechanisms: readonly string[] | null) {
    const features = parseElement(frame);
    const offered = new Set(childElements(features).map((child) => child.getNS()));
    this.core = {
      sm: offered.has(NS.sm) ? NS.sm : offered.has(NS.sm2) ? NS.sm2 : null,
      csi: offered.has(NS.csi),
    };
    this.authenticated = features.getChild("bind", NS.bind) !== undefined;
    for (const child of childElements(features)) {
      if (SETTLED_BY_EDGE.includes(child.getNS() ?? "")) features.remove(child);
    }
    this.#features = features;
    this.removedMechanisms = this.#filterMechanisms(mechanisms);
  }

  /** Adds a feature without content, in a namespace of its own. */
  add(name: string, xmlns: string): void {
    this.#features.append(new Element(name, { xmlns }));
  }

  toBytes(): Buffer {
    return Buffer.from(this.#features.toString());
  }

  // -PLUS binds to the TLS channel that the core sees, which is not the client's (upstream probes refuse such a core).
  #filterMechanisms(only: readonly string[] | null): string[] {
    const list = this.#features.getChild("mechanisms", NS.sasl);
    const removed: string[] = [];
    for (const child of list === undefined ? [] : childElements(list)) {
      const name = child.getText().trim();
      if (!name.endsWith("-PLUS") && (only === null || only.includes(name))) continue;
      if (name.endsWith("-PLUS")) removed.push(name);
      list!.remove(child);
    }
    return removed;
  }
}
