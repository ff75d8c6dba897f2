/** The place of one process among several that share the listeners' ports (docs/workers.md). */
export interface Seat {
  /** From 1. */
  readonly number: number;
  /** Unix sockets on which the processes hand HTTP requests to each other; that of number 1 comes first. */
  readonly sockets: readonly string[];
}
