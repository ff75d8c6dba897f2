/** What options.mjs makes of the command line. */
export interface QuickstartOptions {
  /** The core to start, or with `upstream` what that one is. */
  readonly core: "prosody" | "ejabberd" | "tigase" | "openfire" | "mongooseim" | "other";
  /** Address of a core that is there already, null to start one. */
  readonly upstream: string | null;
  readonly domain: string;
  /** user1 … userN. */
  readonly accounts: number;
  /** 0: any free port. */
  readonly ports: Record<"starttls" | "tls" | "https" | "ops", number>;
  /** Where the table goes as JSON. */
  readonly json: string | null;
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
