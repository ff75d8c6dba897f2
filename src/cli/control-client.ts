import { request } from "node:http";
import { BreakwaterError } from "../base/errors.ts";
import type { ControlAnswer } from "../ops/control.ts";

const PATIENCE_MS = 30_000;

export interface Told<Answer> {
  readonly status: number;
  readonly answer: Answer;
}

/** Asks a running edge by its control socket. Rejects with BW_CONTROL_ABSENT, BW_CONTROL_DENIED or BW_CONTROL_SILENT. */
export function askControl<Answer = ControlAnswer>(
  socketPath: string,
  method: string,
  path: string,
): Promise<Told<Answer>> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(troubleOf(error, socketPath));
    const asked = request({ socketPath, method, path, timeout: PATIENCE_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.once("error", fail);
      response.once("end", () => {
        try {
          resolve({ status: response.statusCode ?? 0, answer: JSON.parse(text) as Answer });
        } catch (error) {
          fail(error as Error);
        }
      });
    });
    asked.once("timeout", () => asked.destroy(new Error(`no answer for ${PATIENCE_MS / 1000} s`)));
    asked.once("error", fail);
    asked.end();
  });
}

function troubleOf(error: NodeJS.ErrnoException, path: string): BreakwaterError {
  if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
    const text = `no edge listens at ${path}: is it running, and was ops.control in its configuration when it started?`;
    return new BreakwaterError("BW_CONTROL_ABSENT", text, { cause: error });
  }
  if (error.code === "EACCES" || error.code === "EPERM") {
    const text = `${path} is for the user of the edge only: run this command as that user (sudo -u), or as root`;
    return new BreakwaterError("BW_CONTROL_DENIED", text, { cause: error });
  }
  return new BreakwaterError("BW_CONTROL_SILENT", `the edge at ${path} gave no answer: ${error.message}`, {
    cause: error,
  });
}
