import { BreakwaterError, messageOf } from "../base/errors.ts";
import { EXIT } from "./exit-codes.ts";

/** Codes of errors that only another configuration mends. */
const CONFIG_CODES: ReadonlySet<string> = new Set([
  "BW_CONFIG",
  "BW_TLS_CERTIFICATE",
  "BW_CORE_UNFIT",
  "BW_CORE_TLS",
  "BW_NETWORK",
]);

/** Says why the edge cannot start. Returns the exit code. */
export function tellStartTrouble(error: unknown, worker?: number): number {
  const who = worker === undefined ? "" : `worker ${worker} `;
  process.stderr.write(`breakwater: ${who}cannot start: ${messageOf(error)}\n`);
  if (!(error instanceof BreakwaterError)) return EXIT.software;
  return CONFIG_CODES.has(error.code) ? EXIT.config : EXIT.unavailable;
}
