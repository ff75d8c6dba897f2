/** Time as a port, so that tests can turn it. Everything that waits asks this and never `Date` or `setTimeout`. */
export interface Clock {
  /** Milliseconds on a monotonic scale: for intervals and stamps, never for a date. */
  now(): number;
  /** Milliseconds since 1970: for what people and XEP-0203 read. */
  wall(): number;
  /** Runs `run` once after `ms` milliseconds. The timer does not keep the process alive. */
  after(ms: number, run: () => void): Timer;
  /** Runs `run` every `ms` milliseconds. The timer does not keep the process alive. */
  every(ms: number, run: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

// setTimeout's largest delay; a longer one would fire at once.
const MAX_DELAY_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, MAX_DELAY_MS)).unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, run) {
    const timer = setInterval(run, Math.min(ms, MAX_DELAY_MS)).unref();
    return { cancel: () => clearInterval(timer) };
  },
};
