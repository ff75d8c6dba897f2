import { monitorEventLoopDelay } from "node:perf_hooks";
import { meter } from "../base/meter.ts";

const lag = meter.gauge(
  "breakwater_event_loop_lag_seconds",
  "How late the event loop ran its timers since the scrape before",
  ["quantile"],
);

const RESOLUTION_MS = 20;

/** Measures how late the event loop runs; each scrape reads and starts anew. Returns what stops it. */
export function measureLoopLag(): () => void {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  const late = (nanoseconds: number) => (nanoseconds > 0 ? Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1e3) : 0);
  lag.collect = () => {
    lag.set(late(histogram.percentile(50)), "0.5");
    lag.set(late(histogram.percentile(99)), "0.99");
    lag.set(late(histogram.max), "1");
    histogram.reset();
  };
  return () => {
    histogram.disable();
    lag.collect = null;
  };
}
