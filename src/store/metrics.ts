import { meter } from "../base/meter.ts";

/** Whether the store takes writes: what /readyz says of it. */
export const storeUp = meter.gauge(
  "breakwater_store_up",
  "1 while the store of sessions answers and takes writes, else 0",
);

export const storeSeconds = meter.histogram(
  "breakwater_store_seconds",
  "How long operations of the store took, in seconds, those without an answer included",
  [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
);

export const storeErrors = meter.counter(
  "breakwater_store_errors_total",
  "Operations of the store that were answered `unavailable`, by operation and reason",
  ["operation", "reason"],
);
