/** A command line, without the environment. */
export interface Program {
  readonly file: string;
  readonly args: readonly string[];
}

/**
 * What to start in this process's place, with the arguments that it was started with: `launcher` (a `bin/breakwater`), the
 * launcher by which this process was started, or its own Node and script. A launcher is looked up by its name again, so
 * whatever version stands there by now is what is started.
 */
export function programFor(launcher: string | null): Program {
  const file = launcher ?? process.env["BREAKWATER_LAUNCHER"];
  if (file !== undefined) return { file, args: process.argv.slice(2) };
  return { file: process.execPath, args: [...process.execArgv, ...process.argv.slice(1)] };
}
