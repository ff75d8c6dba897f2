/** The place of one process among several that share the listeners' ports (docs/workers.md). */
export interface Seat {
  /** From 1. */
  readonly number: number;
  /** Unix sockets on which the processes hand HTTP requests to each other; that of number 1 comes first. */
  readonly sockets: readonly string[];
  /** The same of the process whose place this one takes, which has sessions still; null: there is none. */
  readonly before?: string | null;
}

/** Where the process `pid` listens of those that have had the same place one after the other, with the same of `sockets`. */
export function doorOf(socket: string, pid: number): string {
  return `${socket}.${pid}`;
}
