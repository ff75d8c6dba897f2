import type { Endpoint } from "../../session/ports.ts";
import type { Jid } from "../../xmpp/jid.ts";
import type { SavedQueue } from "../../xmpp/unacked-queue.ts";
import type { SmNamespace } from "./nonza.ts";

/** XEP-0198 of a dormant session as plain data: for the process that goes on with it. */
export interface SmEstate {
  /** The resume id that the client holds. */
  readonly id: string;
  readonly xmlns: SmNamespace;
  readonly sentBase: number;
  readonly queue: SavedQueue;
  /** Null: the core has no XEP-0198, or refused it. */
  readonly coreSide: CoreSideEstate | null;
  readonly resumption: ResumptionEstate;
  /** Null: the session does not outlive its connection to the core. */
  readonly reattachment: ReattachmentEstate | null;
  /** Null: its stanzas are not stored. */
  readonly safekeeping: SafekeepingEstate | null;
}

/** What is remembered of a session that has ended (`Registry`), for as long as that. */
export interface TombstoneEstate {
  readonly id: string;
  readonly jid: Jid;
  readonly h: number;
  readonly remainingMs: number;
}

/** The counters of `CoreSide`. */
export interface CoreSideEstate {
  readonly xmlns: SmNamespace;
  readonly id: string | null;
  readonly maxSeconds: number | null;
  readonly receivedBase: number;
  readonly sentBase: number;
  readonly handled: number;
  readonly injectedHandled: number;
  /** Absent: 0. */
  readonly beforeClient?: number;
  readonly acknowledged: number;
  readonly answerOwed: boolean;
  readonly asked: number;
  readonly answered: number;
}

/** What `Reattachment` knows of a session that is not parked. */
export interface ReattachmentEstate {
  readonly kept: SavedQueue;
  readonly ageMs: number;
  readonly client: Endpoint;
  readonly server: Endpoint;
}

/** What `Safekeeping` knows of the store. */
export interface SafekeepingEstate {
  readonly epoch: number | null;
  readonly first: number;
  readonly next: number;
  readonly through: number;
}

/** How the resumes went so far. */
export interface ResumptionEstate {
  readonly stalled: number;
  readonly handledBefore: number;
}
