import { meter } from "../base/meter.ts";

/** The phases of a client's life. `connecting` and `authenticating` belong to Negotiation, the rest to Session. */
export type Phase =
  | "connecting"
  | "authenticating"
  | "active"
  | "inactive"
  | "dormant"
  | "resuming"
  | "leaving"
  | "draining"
  | "closed";

export type PhaseEvent =
  | "opened"
  | "bound"
  | "handedOver"
  | "refused"
  | "clientInactive"
  | "clientActive"
  /** The link is gone and the session may be resumed. */
  | "lost"
  /** The link is gone and the session ends with it. */
  | "gone"
  | "relinked"
  | "replayed"
  /** Another process is asked to take the session over; it has; it cannot. */
  | "offered"
  | "taken"
  | "kept"
  | "ending"
  | "coreGone"
  | "overflow"
  | "flushed"
  | "deadline";

export interface PhaseRow {
  readonly link: string;
  readonly core: string;
  readonly fromCore: string;
  /** The option that bounds the phase, in seconds. */
  readonly deadline: DeadlineOption | null;
  readonly on: Partial<Record<PhaseEvent, Phase>>;
}

export type DeadlineOption = "open_timeout" | "login_timeout" | "hold_time" | "replay_timeout" | "drain_timeout";

const linked = {
  lost: "dormant",
  gone: "closed",
  relinked: "resuming",
  ending: "draining",
  coreGone: "draining",
} as const;

/**
 * The one table of phases; `Session.on` and `Negotiation` are its only readers that act on it, and docs/session.md is
 * drawn from it. An event without a row is counted and logged and changes nothing.
 */
export const PHASES: Record<Phase, PhaseRow> = {
  connecting: {
    link: "yes",
    core: "–",
    fromCore: "–",
    deadline: "open_timeout",
    on: { opened: "authenticating", refused: "closed", gone: "closed", deadline: "closed" },
  },
  authenticating: {
    link: "yes",
    core: "provisional",
    fromCore: "client, rewritten",
    deadline: "login_timeout",
    on: { bound: "active", handedOver: "closed", refused: "closed", gone: "closed", deadline: "closed" },
  },
  active: {
    link: "yes",
    core: "yes",
    fromCore: "client + queue",
    deadline: null,
    on: { ...linked, clientInactive: "inactive", overflow: "draining" },
  },
  inactive: {
    link: "yes",
    core: "yes",
    fromCore: "client + queue",
    deadline: null,
    on: { ...linked, clientActive: "active", overflow: "draining" },
  },
  dormant: {
    link: "–",
    core: "yes",
    fromCore: "queue",
    deadline: "hold_time",
    on: {
      relinked: "resuming",
      offered: "leaving",
      deadline: "closed",
      overflow: "closed",
      ending: "closed",
      coreGone: "closed",
    },
  },
  leaving: {
    link: "–",
    core: "yes, not read",
    fromCore: "–",
    deadline: null,
    on: { taken: "closed", kept: "dormant", coreGone: "closed" },
  },
  resuming: {
    link: "new",
    core: "yes",
    fromCore: "queue, behind the replay",
    deadline: "replay_timeout",
    on: { ...linked, replayed: "active", deadline: "dormant", overflow: "draining" },
  },
  draining: {
    link: "yes",
    core: "closing",
    fromCore: "client",
    deadline: "drain_timeout",
    on: { flushed: "closed", gone: "closed", lost: "closed", deadline: "closed", coreGone: "closed" },
  },
  closed: { link: "–", core: "–", fromCore: "–", deadline: null, on: {} },
};

/** How many clients are in each phase. Each object that has a phase keeps its own cell right. */
export const phaseGauge = meter.gauge("breakwater_sessions", "Clients, by phase", ["phase"]);
