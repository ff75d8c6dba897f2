import type { DrainOrder, DrainState } from "../ops/control.ts";
import type { Reading } from "../ops/metrics.ts";
import type { NewWord, OldWord, OldWorker, Progress, Step } from "./upgrade/messages.ts";

/** The first thing that a worker hears. Configurations travel as the texts of their files, secrets and all. */
export interface StartOrder {
  readonly do: "start";
  readonly number: number;
  /** Where the workers reach each other; there are as many of them. */
  readonly sockets: readonly string[];
  readonly file: string;
  /** What the supervisor started with, and what has been reloaded since. */
  readonly started: string;
  readonly current: string;
  /** For TLS tickets that every worker opens, where the configuration has none. */
  readonly ticketSecret: string;
  /** The worker whose place it takes, if any. */
  readonly before: OldWorker | null;
}

/** What a supervisor asks its workers for, and what they answer. */
export interface Questions {
  /** Null: it counts from now on; else why it cannot. */
  reload: { readonly text: string; readonly answer: string | null };
  report: { readonly text: null; readonly answer: WorkerReport };
  /** Another worker takes its place. `alone`: no other worker lets clients go meanwhile. Null: done; else why not. */
  step: { readonly text: { readonly step: Step; readonly alone: boolean }; readonly answer: string | null };
  /** With this worker's share of the rate. */
  drain: { readonly text: DrainOrder; readonly answer: boolean };
  /** Null: clients are let in again, or always were; else why not. */
  "abort-drain": { readonly text: null; readonly answer: string | null };
  "drain-state": { readonly text: null; readonly answer: DrainState };
  progress: { readonly text: null; readonly answer: Progress };
}

export interface WorkerReport {
  readonly metrics: readonly Reading[];
  /** What keeps it from being ready. */
  readonly failing: readonly { readonly name: string; readonly reason: string }[];
}

export type Order =
  | StartOrder
  | { readonly do: "stop" }
  /** What its heir says to it, and the worker whose place it takes. Sockets travel beside the words. */
  | { readonly do: "heir-said"; readonly word: NewWord }
  | { readonly do: "before-said"; readonly word: OldWord }
  /** `serve`: its ports are its own again. */
  | { readonly do: "heir-gone"; readonly why: string; readonly serve: boolean }
  | { readonly do: "before-gone" }
  | Question;

export type Question = {
  [Ask in keyof Questions]: { readonly do: Ask; readonly id: number; readonly text: Questions[Ask]["text"] };
}[keyof Questions];

export type Word =
  | { readonly said: "serving" }
  | { readonly said: "to-heir"; readonly word: OldWord }
  | { readonly said: "to-before"; readonly word: NewWord }
  /** Its heir does not answer, or not rightly. */
  | { readonly said: "heir-useless" }
  | { readonly said: "answer"; readonly id: number; readonly answer: unknown };
