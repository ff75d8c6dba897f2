import { messageOf } from "../../src/base/errors.ts";

const LOOK_MS = 250;
const FIRST_PAUSE_S = 2;
const LONGEST_PAUSE_S = 30;
/** Who has run for so long does not keep dying. */
const STEADY_MS = 20_000;

/** A process that may die, and that can be started again as it was. */
export interface Kept {
  readonly name: string;
  /** While it is dead: the one that it had. */
  readonly pid: number;
  readonly running: boolean;
  readonly logFile: string;
  /** Resolves when it serves again; throws why it does not. */
  restart(): Promise<void>;
}

/** Starts again what has died, later each time when it dies again soon, and tells so. */
export class Keeper {
  readonly #tell: (line: string) => void;
  readonly #back: () => void;
  #stopped = false;

  /** `back` is called after each restart. */
  constructor(all: readonly Kept[], { tell, back }: { tell: (line: string) => void; back: () => void }) {
    this.#tell = tell;
    this.#back = back;
    for (const one of all) void this.#keep(one);
  }

  /** From now on nothing is started. */
  stop(): void {
    this.#stopped = true;
  }

  async #keep(one: Kept): Promise<void> {
    let pause = FIRST_PAUSE_S;
    let upSince = performance.now();
    for (;;) {
      while (one.running) await wait(LOOK_MS);
      if (this.#stopped) return;
      if (performance.now() - upSince > STEADY_MS) pause = FIRST_PAUSE_S;
      this.#tell(`${one.name} (process ${one.pid}) has ended; it is started again in ${pause} s. Log: ${one.logFile}`);
      await wait(pause * 1000);
      if (this.#stopped) return;
      pause = Math.min(pause * 2, LONGEST_PAUSE_S);
      await this.#restart(one);
      upSince = performance.now();
    }
  }

  async #restart(one: Kept): Promise<void> {
    try {
      await one.restart();
    } catch (error) {
      if (!this.#stopped) this.#tell(`${one.name} does not come back: ${messageOf(error)}`);
      return;
    }
    if (this.#stopped) return;
    this.#tell(`${one.name} is back: process ${one.pid}`);
    this.#back();
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
