import { createHash } from "node:crypto";

/** The keys of a session whose client protects it so (XEP-0124 §15): each proves that the same client goes on. */
export class KeySequence {
  #last: string;

  /** `newkey` of the first request. */
  constructor(newkey: string) {
    this.#last = newkey.toLowerCase();
  }

  /** Whether `key` is the next one; if so it is used up. `newkey`: where another sequence begins. */
  follows(key: string | undefined, newkey: string | undefined): boolean {
    if (key === undefined || createHash("sha1").update(key).digest("hex") !== this.#last) return false;
    this.#last = (newkey ?? key).toLowerCase();
    return true;
  }
}
