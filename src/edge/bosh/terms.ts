import { readNumber } from "./body.ts";
import type { BoshOptions } from "./options.ts";

/** XEP-0124 1.11. */
const VERSION = [1, 11] as const;

/** What client and edge have agreed on (XEP-0124 §7). */
export interface BoshTerms {
  /** Seconds that a request may be held. */
  readonly wait: number;
  /** Requests that may be held: 0 for a client that polls. */
  readonly hold: 0 | 1;
  /** Requests that the client may have open. */
  readonly requests: number;
  /** Seconds without a request, none being held, that end the session. */
  readonly inactivity: number;
  /** The BOSH version in use; null: the client has named none. */
  readonly version: string | null;
  /** The client acknowledges answers. */
  readonly acks: boolean;
}

/** What a request for a session gets of what it asks for. */
export function termsFor(attributes: ReadonlyMap<string, string>, options: BoshOptions): BoshTerms {
  const { max_wait, inactivity } = options;
  const wait = Math.min(readNumber(attributes.get("wait")) ?? max_wait, max_wait);
  const hold = wait === 0 || readNumber(attributes.get("hold")) === 0 ? 0 : 1;
  return {
    wait,
    hold,
    requests: 2,
    inactivity: hold === 0 ? inactivity * 2 : inactivity,
    version: versionFor(attributes.get("ver")),
    acks: attributes.has("ack"),
  };
}

/** The lower of the client's version and ours (XEP-0124 §7.2); null: the client has named none. */
export function versionFor(ver: string | undefined): string | null {
  const [, major, minor] = /^(\d{1,3})\.(\d{1,3})$/.exec(ver ?? "") ?? [];
  if (major === undefined || minor === undefined) return null;
  const isOlder = Number(major) < VERSION[0] || (Number(major) === VERSION[0] && Number(minor) < VERSION[1]);
  return isOlder ? `${Number(major)}.${Number(minor)}` : VERSION.join(".");
}
