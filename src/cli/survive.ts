import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";

const uncaught = meter.counter(
  "breakwater_uncaught_errors_total",
  "Errors that no code caught. The process went on; each is a bug worth a report",
  ["kind"],
);

const LINES_PER_MINUTE = 20;

/**
 * Keeps the process alive when code forgot to catch an error: one client's input must never end everyone's sessions.
 * Each error is counted; each is logged with the place it came from, up to 20 a minute.
 */
export function surviveErrors(log: Log, clock = systemClock): void {
  let minute = Number.NEGATIVE_INFINITY;
  let lines = 0;
  const tell = (kind: string, error: unknown) => {
    uncaught.inc(kind);
    if (clock.now() - minute >= 60_000) {
      minute = clock.now();
      lines = 0;
    }
    lines++;
    if (lines <= LINES_PER_MINUTE) log.error("uncaught error", { kind, error: messageOf(error), at: framesOf(error) });
  };
  process.on("uncaughtException", (error) => tell("exception", error));
  process.on("unhandledRejection", (reason) => tell("rejection", reason));
}

/** Where it was thrown: the innermost calls, without the message that stands above them. */
function framesOf(error: unknown): string[] {
  if (!(error instanceof Error) || !error.stack) return [];
  return error.stack
    .split("\n")
    .filter((line) => line.startsWith("    at "))
    .slice(0, 6)
    .map((line) => line.slice(7));
}
