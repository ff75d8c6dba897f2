import type { CloseReason } from "../base/close-reasons.ts";
import type { Frame } from "../xmpp/frame.ts";
import type { Negotiation } from "./negotiation.ts";
import type { Offer } from "./offer.ts";
import type { Phase } from "./phases.ts";
import type { Session } from "./session.ts";

/** How a feature plugs in: one object per process, made in features/index.ts. */
export interface Feature {
  readonly name: string;
  /** The core's stream features are about to go to an authenticated client: add to them or take away. */
  offer?(offer: Offer): void;
  /** A frame of an authenticated client that has not bound: `<resume/>` comes here. "taken" ends its walk. */
  beforeBind?(frame: Frame, at: Negotiation): Verdict;
  /** A frame of XEP-0198 from the core before bind: its answer to `Negotiation.resumeAtCore`. */
  coreBeforeBind?(frame: Frame, at: Negotiation): Verdict;
  /** A client has bound: the part that goes with its session, null when there is nothing to do for it. */
  attach(session: Session): Part | null;
  /**
   * What it knows beside its sessions and another process has to know in its place, in pieces of plain data. The first call
   * gives all, each further one (`isMore`) what is new since then.
   */
  memories?(isMore: boolean): Iterable<unknown>;
  /** Such a piece, of the process before this one. */
  remember?(memory: unknown): void;
}

/** "taken": the frame goes no further. */
export type Verdict = "pass" | "taken";

/**
 * One feature's share of one session. Frames from the core walk the list of parts forwards, frames from the client
 * backwards; a frame is borrowed until the method returns.
 */
export interface Part {
  /** Parts with something to tell the process that takes this one's place have a name, the same in every version. */
  readonly name?: string;
  /** What the part knows of a dormant session, as plain data; null: the session cannot go on elsewhere. */
  readonly estate?: unknown;
  /** Takes over what the same part of the process before this one knew. */
  restore?(estate: unknown): void;
  fromCore?(frame: Frame): Verdict;
  fromClient?(frame: Frame): Verdict;
  /** What is written to the client now still leaves in this flush. */
  beforeLinkFlush?(): void;
  /** What is written to the core now still leaves in this flush. */
  beforeCoreFlush?(): void;
  linkDrained?(): void;
  /** About once a second, `now` in ms of the clock. */
  tick?(now: number): void;
  phaseChanged?(from: Phase, to: Phase): void;
  /** The core stream is about to be closed or dropped: the last words to the core. */
  coreEnding?(): void;
  /** The core's connection is gone. "taken": the session waits for another one (`Session.changeCore`). */
  coreLost?(): Verdict;
  /** The core has resumed the session on another stream, on which nothing has been said yet. */
  coreResumed?(): void;
  /** The session is over; both legs are gone or going. */
  close?(reason: CloseReason): void;
}
