import { join } from "node:path";
import { askControl } from "../../../src/cli/control-client.ts";
import type { SpawnedEdge } from "../edge.ts";
import { type Gate, pause } from "../phone.ts";
import type { WeakLink } from "../weak-link.ts";
import { describe, type EdgeFault, type Fault, type RedisFault } from "./faults.ts";
import type { RedisPair } from "./redis-pair.ts";

export interface Stage {
  /** The running processes; those that end are started again. */
  readonly edges: SpawnedEdge[];
  readonly gates: readonly Gate[];
  /** All connections of all edges to the core. */
  readonly coreLinks: WeakLink;
  readonly redis: RedisPair;
  readonly say: (line: string) => void;
}

/** When the store could not be counted on: milliseconds since 1970. */
export interface Outage {
  readonly from: number;
  until: number;
}

/** Where edges take commands, in their directories. */
export const CONTROL = "control.sock";
const DRAIN_RATE = 100;

/** Breaks things, each of them one fault after the other; different things break at the same time. */
export class FaultPlayer {
  readonly outages: Outage[] = [];
  /** Faults so far. */
  count = 0;
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Until then (`Date.now()`), and until everything is whole again. */
  async play(lanes: readonly Iterable<Fault>[], until: number): Promise<void> {
    await Promise.all(lanes.map((lane) => this.#playLane(lane, until)));
  }

  async #playLane(lane: Iterable<Fault>, until: number): Promise<void> {
    for (const fault of lane) {
      if (Date.now() + fault.after >= until) return;
      await pause(fault.after);
      this.#stage.say(describe(fault));
      this.count++;
      await this.#happen(fault);
    }
  }

  #happen(fault: Fault): Promise<void> | void {
    switch (fault.on) {
      case "edge":
        return this.#onEdge(fault);
      case "redis":
        return this.#onRedis(fault);
      default:
        for (const gate of this.#stage.gates) gate.generation++;
        return this.#stage.coreLinks.cut(fault.what);
    }
  }

  // ---- edges

  async #onEdge({ edge: i, what, lasts }: EdgeFault): Promise<void> {
    const edge = this.#stage.edges[i]!;
    const gate = this.#stage.gates[i]!;
    if (what === "freeze") {
      gate.frozen = true;
      edge.process.kill("SIGSTOP");
      await pause(lasts);
      edge.process.kill("SIGCONT");
      gate.frozen = false;
      return;
    }
    gate.generation++;
    if (what === "drain-and-abort" || what === "drain-and-stop") {
      await this.#drain(edge, what === "drain-and-abort" ? lasts : null);
      // Whoever came while it was taken back sleeps at an edge that stays.
      gate.generation++;
      if (what === "drain-and-abort") return;
    }
    edge.process.kill(what === "kill" ? "SIGKILL" : "SIGTERM");
    this.#stage.edges[i] = await edge.again("listens");
    gate.generation++;
  }

  /** As `breakwater drain` does it: until nobody is left, or aborted after that time. */
  async #drain(edge: SpawnedEdge, abortAfterMs: number | null): Promise<void> {
    const control = join(edge.dir, CONTROL);
    const { status, answer } = await askControl(control, "POST", `/drain?rate=${DRAIN_RATE}`);
    if (status !== 202) throw new Error(`drain: ${status} ${answer.trouble}`);
    if (abortAfterMs !== null) {
      await pause(abortAfterMs);
      const aborted = await askControl(control, "DELETE", "/drain");
      if (aborted.status !== 200) throw new Error(`abort of a drain: ${aborted.status} ${aborted.answer.trouble}`);
      return;
    }
    while ((await askControl(control, "GET", "/drain")).answer.phase === "draining") await pause(100);
  }

  // ---- the store

  async #onRedis({ what, lasts }: RedisFault): Promise<void> {
    const redis = this.#stage.redis;
    const outage: Outage = { from: Date.now(), until: Number.POSITIVE_INFINITY };
    this.outages.push(outage);
    switch (what) {
      case "crash":
        await redis.crash(lasts);
        break;
      case "freeze":
        await redis.freeze(lasts);
        break;
      case "disconnect":
        await redis.disconnect();
        break;
      case "fill":
        await redis.fill(lasts);
        break;
      case "read-only":
        await redis.readOnly(lasts);
        break;
      case "fail-over":
        await redis.failOver();
    }
    outage.until = Date.now();
  }
}
