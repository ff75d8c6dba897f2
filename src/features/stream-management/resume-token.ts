import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { Clock } from "../../base/clock.ts";
import type { Secret } from "../../base/secret.ts";
import { NS } from "../../xmpp/ns.ts";
import type { SmNamespace } from "./nonza.ts";

/** What any edge must know to resume a core's session for its client (XEP-0198 §5 towards the core). */
export interface Takeable {
  /** The name of the core in the configuration. */
  readonly core: string;
  /** The core's own id of the session, and the namespace that it speaks. */
  readonly coreId: string;
  readonly xmlns: SmNamespace;
  /** The full address that the session is bound to. */
  readonly jid: string;
  /** How long the session waits for its client, in seconds. */
  readonly maxSeconds: number;
  /** Stanzas that the core counts and the client does not, as they came before its `<enable/>`. */
  readonly beforeClient: number;
}

type Sealed = [core: string, coreId: string, version: number, jid: string, maxSeconds: number, beforeClient?: number];

const CIPHER = "aes-256-gcm";
/** With stanzas before the client's: an edge that does not know of them must not count without them. */
const [VERSION, VERSION_BEFORE] = [1, 2];
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 5;
/** A key seals for a day. */
const SLOT_SECONDS = 86_400;

/**
 * Resume ids that carry their session with them: sealed for all edges with the same secret, and random for everybody else.
 * The keys follow from the secret and the day, so edges whose clocks agree have the same ones without a word between them.
 */
export class ResumeTokens {
  readonly #clock: Clock;
  readonly #secret: Secret;
  readonly #lifetimeSlots: number;
  // The last keys used, by their day: a token costs no derivation.
  readonly #keys = new Map<number, Buffer>();

  /** `lifetimeSeconds`: a token is opened for so long after it was sealed. */
  constructor(secret: Secret, lifetimeSeconds: number, clock: Clock) {
    this.#secret = secret;
    this.#clock = clock;
    this.#lifetimeSlots = Math.ceil(lifetimeSeconds / SLOT_SECONDS);
  }

  seal(session: Takeable): string {
    const head = Buffer.alloc(HEAD_BYTES);
    const slot = this.#slot();
    head.writeUInt8(session.beforeClient === 0 ? VERSION : VERSION_BEFORE, 0);
    head.writeUInt32BE(slot, 1);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key(slot), nonce, { authTagLength: TAG_BYTES }).setAAD(head);
    const { core, coreId, xmlns, jid, maxSeconds, beforeClient } = session;
    const text = JSON.stringify([core, coreId, xmlns === NS.sm ? 3 : 2, jid, maxSeconds, beforeClient]);
    const sealed = Buffer.concat([head, nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return sealed.toString("base64url");
  }

  /** Null: not sealed by us, altered, or too old; which of them is nobody's business. */
  open(token: string): Takeable | null {
    const bytes = Buffer.from(token, "base64url");
    const inside = bytes.length - HEAD_BYTES - NONCE_BYTES - TAG_BYTES;
    // Another text for the same bytes is not what was given out.
    const isKnown = bytes[0] === VERSION || bytes[0] === VERSION_BEFORE;
    if (inside <= 0 || !isKnown || bytes.toString("base64url") !== token) return null;
    const slot = bytes.readUInt32BE(1);
    const age = this.#slot() - slot;
    if (age < -1 || age > this.#lifetimeSlots) return null;
    try {
      const at = HEAD_BYTES + NONCE_BYTES;
      const cipher = createDecipheriv(CIPHER, this.#key(slot), bytes.subarray(HEAD_BYTES, at), {
        authTagLength: TAG_BYTES,
      });
      cipher.setAAD(bytes.subarray(0, HEAD_BYTES)).setAuthTag(bytes.subarray(at + inside));
      const text = cipher.update(bytes.subarray(at, at + inside), undefined, "utf8") + cipher.final("utf8");
      const [core, coreId, version, jid, maxSeconds, beforeClient = 0] = JSON.parse(text) as Sealed;
      return { core, coreId, xmlns: version === 3 ? NS.sm : NS.sm2, jid, maxSeconds, beforeClient };
    } catch {
      return null;
    }
  }

  #slot(): number {
    return Math.floor(this.#clock.wall() / (SLOT_SECONDS * 1000));
  }

  #key(slot: number): Buffer {
    let key = this.#keys.get(slot);
    if (key === undefined) {
      key = Buffer.from(hkdfSync("sha256", this.#secret.reveal(), "", `breakwater resume ${slot}`, 32));
      if (this.#keys.size > this.#lifetimeSlots + 2) this.#keys.clear();
      this.#keys.set(slot, key);
    }
    return key;
  }
}
