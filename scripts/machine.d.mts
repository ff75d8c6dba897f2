/** What stands in the way, as one sentence that says what to do. Show it without a stack. */
export class MachineError extends Error {}
/** Installs Debian packages without starting their services. Returns the names of those that were missing. */
export function ensureDebianPackages(names: readonly string[], say?: (line: string) => void): string[];
