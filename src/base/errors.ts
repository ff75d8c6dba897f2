/**
 * The root of every error that Breakwater throws on purpose.
 * `code` is stable (logs, tests, docs); `message` says what happened, to whom, and what to do next.
 */
export class BreakwaterError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** What to print of something that was thrown: never a stack, never `[object Object]`. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
