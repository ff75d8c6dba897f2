import type { Breakwater } from "../breakwater.ts";
import type { Draining } from "../ops/control.ts";

/** A drain of the edge in one process. */
export function drainingOf({ drainer }: Breakwater): Draining {
  return {
    state: async () => drainer.state,
    begin: async (order) => drainer.begin(order),
    abort: () => drainer.abort(),
  };
}
