import type { WriteStream } from "node:tty";
import type { ControlAnswer } from "../ops/control.ts";

const WIDTH = 30;
const CLEAR = "\r\u001b[K";

/** How a drain goes: a bar on a terminal, else a line for every tenth. */
export class ProgressBar {
  readonly #stream: NodeJS.WriteStream;
  #tenth = -1;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  show(state: ControlAnswer): void {
    if (this.#stream.isTTY) return void this.#stream.write(`${CLEAR}${barOf(state)}`);
    const tenth = Math.floor(shareOf(state) * 10);
    if (tenth === this.#tenth) return;
    this.#tenth = tenth;
    this.#stream.write(`${lineOf(state)}\n`);
  }

  /** Room for other words. */
  clear(): void {
    if (this.#stream.isTTY) (this.#stream as WriteStream).write(CLEAR);
  }

  end(state: ControlAnswer): void {
    if (this.#stream.isTTY) this.#stream.write(`${CLEAR}${barOf(state)}\n`);
  }
}

/** What became of whom, and what the operator does next. */
export function summaryOf({ total, seconds, stopping, how }: ControlAnswer): string {
  const { moved, redirected, shutdown } = how;
  const next = stopping
    ? "The edge stops."
    : "The edge runs and lets nobody in: stop it (SIGTERM), or let clients in again with breakwater drain --abort.";
  return (
    `drained ${total} connected clients in ${seconds.toFixed(1)} s. Those and the absent ones: ${moved} can resume on any ` +
    `edge, ${redirected} were told where to go on, ${shutdown} heard of a shutdown.\n${next}`
  );
}

function barOf(state: ControlAnswer): string {
  const full = Math.floor(shareOf(state) * WIDTH);
  return `[${"#".repeat(full)}${".".repeat(WIDTH - full)}] ${lineOf(state)}`;
}

function lineOf(state: ControlAnswer): string {
  const { left, total, rate } = state;
  const percent = String(Math.floor(shareOf(state) * 100)).padStart(3);
  return `${percent} %  ${left} of ${total} clients left, ${Math.round(rate * 10) / 10}/s, about ${Math.ceil((left / rate) * 1.1)} s`;
}

function shareOf({ left, total }: ControlAnswer): number {
  return total === 0 ? 1 : (total - left) / total;
}
