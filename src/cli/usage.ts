import { messageOf } from "../base/errors.ts";
import { nearest } from "../config/mistakes.ts";
import { EXIT } from "./exit-codes.ts";

const COMMANDS = ["run", "drain", "upgrade", "check", "dns", "completion"];
const FLAGS = ["config", "pid-file", "rate", "to", "abort", "launcher", "print", "target", "help", "version"];

/** Ends the process with what is wrong about the command line, and with what was probably meant. */
export function tellUsage(message: string, args: readonly string[]): never {
  const unknown = /^Unknown arguments?: (.+)$/.exec(message)?.[1]?.split(", ");
  const text = unknown ? unknownText(unknown, args) : message.trim();
  process.stderr.write(`breakwater: ${text}\nbreakwater --help shows what there is\n`);
  process.exit(EXIT.usage);
}

/** Ends the process with an error that should not exist. */
export function tellBug(error: unknown): never {
  process.stderr.write(`breakwater: ${messageOf(error)}. This is a bug, please report it\n`);
  process.exit(EXIT.software);
}

function unknownText(unknown: readonly string[], [command = ""]: readonly string[]): string {
  if (!command.startsWith("-") && !COMMANDS.includes(command)) {
    const near = nearest(command, COMMANDS);
    return `unknown command ${command}; ${near ? `did you mean ${near}?` : `there is ${COMMANDS.join(", ")}`}`;
  }
  const hints = unknown.map((name) => {
    const near = nearest(name, FLAGS);
    return near ? `${name}; did you mean --${near}?` : name;
  });
  return `unknown argument ${hints.join(", ")}`;
}
