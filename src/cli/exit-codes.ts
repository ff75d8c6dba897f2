/** How the process ends, in the numbers of sysexits.h, so that a supervisor can tell a typing mistake from a crash. */
export const EXIT = {
  ok: 0,
  /** The command line is wrong (EX_USAGE). */
  usage: 64,
  /** Something the edge needs cannot be had, such as a port (EX_UNAVAILABLE). */
  unavailable: 69,
  /** A bug (EX_SOFTWARE). */
  software: 70,
  /** Another user's (EX_NOPERM). */
  denied: 77,
  /** The configuration is wrong: starting again does not help (EX_CONFIG). */
  config: 78,
} as const;
