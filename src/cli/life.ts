import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { EXIT } from "./exit-codes.ts";

/** What a signal reaches once it has started. */
export interface Running {
  reload(): unknown;
  upgrade(): unknown;
  /** Resolves with the exit code. */
  stop(): Promise<number>;
}

/** What signals do, before, while and after the edge runs. */
export class Life {
  readonly #log: Log;
  #running: Running | null = null;
  #stopping = false;

  constructor(log: Log) {
    this.#log = log;
    process.on("SIGTERM", (signal) => this.#stop(signal));
    process.on("SIGINT", (signal) => this.#stop(signal));
    process.on("SIGHUP", () => this.#running?.reload());
    // Whoever is starting has nobody's place to give away.
    process.on("SIGUSR2", () => this.#running?.upgrade());
  }

  /** From now on there is something to stop and to reload. */
  async began(running: Running): Promise<void> {
    this.#running = running;
    if (this.#stopping) await this.#end();
  }

  /** As if a signal had said so. */
  end(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    void this.#end();
  }

  #stop(signal: NodeJS.Signals): void {
    if (this.#stopping) process.exit(signal === "SIGINT" ? 130 : 143);
    this.#stopping = true;
    this.#log.info("stopping; a second signal stops at once", { signal });
    // while it starts there is nothing to stop yet: `began` does it
    if (this.#running) void this.#end();
  }

  async #end(): Promise<void> {
    let code: number | undefined;
    try {
      code = await this.#running?.stop();
    } catch (error) {
      this.#log.error("stopping went wrong", { error: messageOf(error) });
      process.exit(EXIT.software);
    }
    this.#log.info("stopped");
    process.exit(code ?? EXIT.ok);
  }
}
