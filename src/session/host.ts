import type { Clock } from "../base/clock.ts";
import type { Janitor } from "../base/janitor.ts";
import type { Log } from "../base/log.ts";
import type { FramerLimits } from "../xmpp/framer.ts";
import type { Gate } from "./gate.ts";
import type { ParkingLot } from "./parking-lot.ts";
import type { Feature } from "./part.ts";
import type { DeadlineOption } from "./phases.ts";
import type { Cores } from "./ports.ts";
import type { Returns } from "./returns.ts";
import type { Session } from "./session.ts";

/** A client of this process that can be let go. */
export interface Leaving {
  /** Null: it is going already. `to`: where it should go on, where its protocol can say so. */
  leave(to: string | null): Departure | null;
}

/**
 * How a client is let go: its session `handed-over` to the process that takes this one's place, or `moved` to any other
 * edge, or the client `redirected` with a word where to go on.
 */
export type Departure = "handed-over" | "moved" | "redirected" | "shutdown";

/** The process whose place this one takes, while it has sessions still. */
export interface Predecessor {
  /** Asks for the session that is resumed by this id. True: it is here now. Never rejects. */
  claim(id: string): Promise<boolean>;
}

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
  readonly negotiations: Set<Leaving>;
  /** Where clients wait that are about to log in. */
  readonly gate: Gate;
  readonly returns: Returns;
  readonly parkingLot: ParkingLot;
  predecessor: Predecessor | null;
  /** Whether another process takes this one's place: whoever has no session here yet goes there. */
  succeeded: boolean;
  /** Seconds. */
  deadlines: Readonly<Record<DeadlineOption, number>>;
  /** Where clients go on that this edge lets go, `host` or `host:port`; null: they find another one by themselves. */
  elsewhere: string | null;
  limits: { readonly beforeLogin: FramerLimits; readonly afterLogin: FramerLimits };
  /** The domains served, as `domainKey` writes them. */
  domains: ReadonlySet<string>;
}
