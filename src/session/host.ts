import type { Clock } from "../base/clock.ts";
import type { Janitor } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import type { FramerLimits } from "../xmpp/framer.ts";
import type { Feature } from "./part.ts";
import type { DeadlineOption } from "./phases.ts";
import type { Cores } from "./ports.ts";
import type { Session } from "./session.ts";

/**
 * What negotiations and sessions share: made once by breakwater.ts. Its options are replaced by a reload and hold from
 * the next client on.
 */
export interface Host {
  readonly clock: Clock;
  readonly janitor: Janitor;
  readonly log: Log;
  readonly cores: Cores;
  /** In the order that features/index.ts gives. */
  readonly features: readonly Feature[];
  /** Every session of this process, dormant ones included. */
  readonly sessions: Set<Session>;
  /** Every client that has connected and not bound yet. */
  readonly negotiations: Set<{ shutdown(): void }>;
  /** Seconds. */
  deadlines: Readonly<Record<DeadlineOption, number>>;
  limits: { readonly beforeLogin: FramerLimits; readonly afterLogin: FramerLimits };
  /** The domains served, as `domainKey` writes them. */
  domains: ReadonlySet<string>;
}
