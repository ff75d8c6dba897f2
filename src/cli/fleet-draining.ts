import type { Draining, DrainOrder, DrainState } from "../ops/control.ts";
import type { Fleet } from "./fleet.ts";
import type { Questions } from "./worker-messages.ts";

/** To open the ports again takes no longer. */
const ANSWER_MS = 10_000;
type DrainAsk = "drain" | "abort-drain" | "drain-state";
const SHUT = "the edge drains or is drained: breakwater drain --abort lets clients in again";

/** A drain of all workers: each lets its clients go at its share of the rate, and one that starts meanwhile drains, too. */
export class FleetDraining implements Draining {
  readonly #fleet: Fleet;
  #order: DrainOrder | null = null;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    fleet.onServing = (worker) => {
      if (this.#order !== null) void worker.ask("drain", this.#order, ANSWER_MS);
    };
  }

  async state(): Promise<DrainState> {
    const states = await this.#all("drain-state", null);
    const sum = (of: (state: DrainState) => number): number => states.reduce((all, state) => all + of(state), 0);
    const phases = new Set(states.map(({ phase }) => phase));
    return {
      phase: phases.has("draining") ? "draining" : phases.has("drained") ? "drained" : "serving",
      stopping: states.some(({ stopping }) => stopping),
      rate: sum(({ rate }) => rate),
      total: sum(({ total }) => total),
      left: sum(({ left }) => left),
      seconds: Math.max(0, ...states.map(({ seconds }) => seconds)),
      how: {
        "handed-over": sum(({ how }) => how["handed-over"]),
        moved: sum(({ how }) => how.moved),
        redirected: sum(({ how }) => how.redirected),
        shutdown: sum(({ how }) => how.shutdown),
      },
    };
  }

  async begin({ rate, to }: DrainOrder): Promise<boolean> {
    if (this.#order !== null) return false;
    if (this.#fleet.busy !== null) throw new Error(this.#fleet.busy);
    const share = rate === undefined ? {} : { rate: rate / this.#fleet.serving.length };
    this.#order = { ...share, ...(to !== undefined && { to }) };
    this.#fleet.shut = SHUT;
    await this.#all("drain", this.#order);
    return true;
  }

  async abort(): Promise<boolean> {
    if (this.#order === null) return false;
    this.#order = null;
    this.#fleet.shut = null;
    const trouble = (await this.#all("abort-drain", null)).find((answer) => answer !== null);
    if (trouble !== undefined) throw new Error(trouble);
    return true;
  }

  // One that does not answer ends, or is frozen: its metrics tell.
  async #all<Ask extends DrainAsk>(what: Ask, text: Questions[Ask]["text"]): Promise<Questions[Ask]["answer"][]> {
    const answers = await Promise.all(this.#fleet.serving.map((worker) => worker.ask(what, text, ANSWER_MS)));
    return answers.filter((answer) => answer !== undefined) as Questions[Ask]["answer"][];
  }
}
