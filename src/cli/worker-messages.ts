import type { Reading } from "../ops/metrics.ts";

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
}

/** What a supervisor asks its workers for, and what they answer. */
export interface Questions {
  /** Null: it counts from now on; else why it cannot. */
  reload: { readonly text: string; readonly answer: string | null };
  report: { readonly text: null; readonly answer: WorkerReport };
}

export interface WorkerReport {
  readonly metrics: readonly Reading[];
  /** What keeps it from being ready. */
  readonly failing: readonly { readonly name: string; readonly reason: string }[];
}

export type Order =
  | StartOrder
  | { readonly do: "stop" }
  /** Let all clients go at the pace of the whole edge, as no other worker does meanwhile; then stop. */
  | { readonly do: "retire" }
  | {
      [Ask in keyof Questions]: { readonly do: Ask; readonly id: number; readonly text: Questions[Ask]["text"] };
    }[keyof Questions];

export type Word =
  | { readonly said: "serving" }
  | { readonly said: "answer"; readonly id: number; readonly answer: unknown };
