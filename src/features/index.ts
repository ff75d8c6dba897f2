import type { Feature } from "../session/part.ts";
import { clientState } from "./client-state.ts";
import type { Keepalive } from "./keepalive/index.ts";
import { ping } from "./ping.ts";
import type { StreamManagement } from "./stream-management/index.ts";

/**
 * Every feature, in the order in which a frame from the core meets them; a frame from the client meets them backwards.
 */
export function featureList(streamManagement: StreamManagement, keepalive: Keepalive): Feature[] {
  return [
    // before stream-management: a ping answered for a sleeping client must not enter its queue
    ping,
    // before stream-management: what it will hold back later must not be counted in h
    clientState,
    // last towards the client: what it has counted leaves unchanged
    streamManagement,
    // beside the walk: only looks at the clock
    keepalive,
  ];
}
