/** What belongs to the whole of it, however many edges there are. */
export interface DemoOptions {
  /** The core to start, or with `upstream` what that one is. */
  readonly core: "prosody" | "ejabberd" | "tigase" | "openfire" | "mongooseim" | "other";
  /** Address of a core that is there already, null to start one. */
  readonly upstream: string | null;
  readonly domain: string;
  /** user1 … userN. */
  readonly accounts: number;
  /** Where the table goes as JSON. */
  readonly json: string | null;
}

/** Where an edge listens. 0: any free port. */
export type EdgePorts = Record<"starttls" | "tls" | "https" | "ops", number>;

/** What options.mjs makes of the command line. */
export interface CommandLine extends DemoOptions {
  /** One item for each edge to start. */
  readonly edges: readonly EdgePorts[];
}

/** The same for one edge. */
export interface QuickstartOptions extends DemoOptions {
  readonly ports: EdgePorts;
}

export const HOST = "127.0.0.1";
export const PASSWORD = "pw";

export function userNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `user${i + 1}`);
}

/** What stands in the way, as a sentence that says what to do. Shown without a stack. */
export class Trouble extends Error {}

/** The last lines of a log, indented, for the message of a Trouble. */
export function tail(log: string, lines = 15): string {
  return log
    .trimEnd()
    .split("\n")
    .slice(-lines)
    .map((line) => `  ${line}`)
    .join("\n");
}
