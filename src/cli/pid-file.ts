import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { BreakwaterError, messageOf } from "../base/errors.ts";

/** A file with the number of the process that serves: whoever starts the edge follows it through upgrades (systemd: PIDFile). */
export class PidFile {
  readonly #path: string | null;

  /** Null: nobody wants one. */
  constructor(path: string | null) {
    this.#path = path;
    process.once("exit", () => this.#remove());
  }

  /** This process serves now. Throws BW_PID_FILE. */
  write(): void {
    if (this.#path === null) return;
    const next = `${this.#path}.${process.pid}`;
    try {
      writeFileSync(next, `${process.pid}\n`);
      renameSync(next, this.#path); // at once, and never half of it
    } catch (error) {
      throw new BreakwaterError("BW_PID_FILE", `--pid-file ${this.#path} cannot be written: ${messageOf(error)}`);
    }
  }

  // Unless it is another process's by now.
  #remove(): void {
    if (this.#path === null) return;
    try {
      if (readFileSync(this.#path, "utf8").trim() === String(process.pid)) rmSync(this.#path);
    } catch {}
  }
}
