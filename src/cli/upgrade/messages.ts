import type { Departure } from "../../breakwater.ts";
import type { Fixed } from "./fixed.ts";

/** What an old process and the new one that it has started say to each other. Sockets travel beside the words. */
export type OldWord =
  /** The answer to `hello`: who it is, where it listens, and what has to stay as it is. */
  | {
      readonly do: "meet";
      readonly pid: number;
      readonly places: readonly string[];
      readonly workers?: readonly OldWorker[];
      readonly fixed?: Fixed;
    }
  /** The socket of the place with this number. */
  | { readonly do: "port"; readonly number: number }
  /** A session, serialised: parts, then the last one with its core's socket. */
  | { readonly do: "part" | "hold"; readonly number: number; readonly bytes: Buffer }
  /** What a feature knows beside its sessions, serialised. */
  | { readonly do: "remember"; readonly feature: string; readonly bytes: Buffer }
  /** Those that were held go on in the new process now. */
  | { readonly do: "begin"; readonly numbers: readonly number[] | "all" }
  /** The ports are the new process's: it answers when it serves, and only then its sessions begin. */
  | { readonly do: "open" }
  | { readonly do: "claimed"; readonly ask: number; readonly here: boolean }
  /** Nothing is left. */
  | { readonly do: "farewell"; readonly report: Report }
  /** Between supervisors: what a worker says to the one that takes its place. */
  | { readonly do: "worker"; readonly number: number; readonly word: OldWord }
  | { readonly do: "worker-gone"; readonly number: number }
  /** Its predecessor gets no answer from it. */
  | { readonly do: "worker-useless"; readonly number: number };

/** A worker whose place another one takes. */
export interface OldWorker {
  readonly pid: number;
  /** Its Unix socket, on which it takes requests for sessions that it still has. */
  readonly door: string;
}

export type NewWord =
  | { readonly said: "hello"; readonly format: number; readonly version: string }
  /** It cannot start, and says why. */
  | { readonly said: "refuses"; readonly why: string }
  | { readonly said: "ready" }
  | { readonly said: "held"; readonly number: number; readonly ok: boolean }
  | { readonly said: "serving" }
  /** Has a client that wants this session. */
  | { readonly said: "claims"; readonly ask: number; readonly id: string }
  | { readonly said: "settled" }
  /** Between supervisors: what a worker says to the one whose place it takes. */
  | { readonly said: "worker"; readonly number: number; readonly word: NewWord }
  | { readonly said: "worker-gone"; readonly number: number };

/** How the handover went. */
export interface Report {
  readonly seconds: number;
  /** Sessions that went on in the new process, those among them that had no client connected included. */
  readonly handedOver: number;
  readonly dormant: number;
  /** What became of connected clients and of sessions that could not go. */
  readonly how: Readonly<Record<Departure, number>>;
}

/**
 * What a supervisor asks its workers for, one step after the other, when others take their places: get to know the heir,
 * close the ports and send the dormant sessions, let the heir open the ports, and leave all that to it and let the
 * connected clients go. Up to the last one everything can be taken back.
 */
export type Step = "meet" | "offer" | "open" | "commit";

/** How far it is. */
export interface Progress {
  readonly handedOver: number;
  readonly dormant: number;
  /** Connected clients that are still to go, of how many. */
  readonly left: number;
  readonly total: number;
  readonly how: Readonly<Record<Departure, number>>;
}

/** In the environment of a new process: the process id of the old one. */
export const SUCCEEDS = "BREAKWATER_SUCCEEDS";
