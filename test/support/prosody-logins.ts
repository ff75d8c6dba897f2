/** Logins in each second since `beganAt` (ms since 1970), as Prosody has logged them. */
export function loginsPerSecond(log: string, beganAt: number): number[] {
  const logins: number[] = [];
  const first = Math.floor(beganAt / 1000);
  const year = new Date().getFullYear();
  for (const [, stamp] of log.matchAll(/^(\w+ \d+ [\d:]+) .*Authenticated as/gm)) {
    const second = Date.parse(`${year} ${stamp}`) / 1000 - first;
    if (second >= 0) logins[second] = (logins[second] ?? 0) + 1;
  }
  return Array.from(logins, (count) => count ?? 0);
}

/** The most within so many seconds. */
export function mostWithin(seconds: number, counts: readonly number[]): number {
  const sums = counts.map((_, i) => counts.slice(i, i + seconds).reduce((sum, count) => sum + count, 0));
  return Math.max(...sums);
}
