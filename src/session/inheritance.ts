import { messageOf } from "../base/errors.ts";
import { meter } from "../base/meter.ts";
import type { SocketHandle } from "../base/socket-handle.ts";
import { mayRestore, restoreSession, type SessionEstate } from "./estate.ts";
import type { Departure, Host } from "./host.ts";

const inherited = meter.counter(
  "breakwater_inherited_sessions_total",
  "Sessions of the process before this one: taken, refused as this one cannot go on with them, or let go there by how",
  ["result"],
);

interface Held {
  readonly estate: SessionEstate;
  readonly handle: SocketHandle;
}

/**
 * Sessions that come from the process whose place this one takes. They are held, untouched, until that process has
 * nothing more to say about them: up to then it could go on with them itself.
 */
export class Inheritance {
  readonly #host: Host;
  readonly #held = new Map<number, Held>();

  constructor(host: Host) {
    this.#host = host;
  }

  /** False: it cannot go on here, and stays where it was. */
  hold(number: number, estate: SessionEstate, handle: SocketHandle): boolean {
    const may = mayRestore(estate, this.#host);
    if (may) this.#held.set(number, { estate, handle });
    else {
      inherited.inc("refused");
      handle.close();
    }
    return may;
  }

  /** What a feature of that process knows beside its sessions. One that this process does not have is nobody's. */
  remember(name: string, memory: unknown): void {
    this.#host.features.find((feature) => feature.name === name)?.remember?.(memory);
  }

  /** From now on they are this process's: those with these numbers, or all that are held. */
  begin(numbers: readonly number[] | "all"): void {
    for (const number of numbers === "all" ? [...this.#held.keys()] : numbers) {
      const held = this.#held.get(number);
      this.#held.delete(number);
      if (held !== undefined) this.#restore(held);
    }
  }

  /** What became of those that did not come. */
  note(how: Readonly<Record<Departure, number>>): void {
    for (const [result, count] of Object.entries(how))
      if (result !== "handed-over") inherited.cell(result).value += count;
  }

  #restore({ estate, handle }: Held): void {
    try {
      if (restoreSession(estate, handle, this.#host) === null) handle.close();
      inherited.inc("taken");
    } catch (error) {
      inherited.inc("refused");
      this.#host.log.error("a session that was handed over is lost", { session: estate.id, error: messageOf(error) });
    }
  }
}
