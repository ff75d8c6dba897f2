import { hostname } from "node:os";
import yargs from "yargs";
import { check } from "./check.ts";
import { dns } from "./dns.ts";
import { drain } from "./drain.ts";
import { EXIT } from "./exit-codes.ts";
import { run } from "./run.ts";
import { upgrade } from "./upgrade/command.ts";
import { tellBug, tellUsage } from "./usage.ts";
import { version } from "./version.ts";
import { work } from "./worker.ts";

const DEFAULT_CONFIG = "/etc/breakwater/breakwater.yaml";

const configOption = {
  alias: "c",
  type: "string",
  requiresArg: true,
  default: DEFAULT_CONFIG,
  describe: "The configuration file (YAML)",
} as const;

/** Runs one command line, without the names of Node and of the script. Sets the exit code; never throws. */
export async function main(args: readonly string[]): Promise<void> {
  // whoever reads our output may stop reading: `breakwater check --print | head`
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  await yargs([...args])
    .scriptName("breakwater")
    .locale("en")
    .usage("$0 <command> [options]\n\nKeeps XMPP clients' sessions through bad networks, in front of an XMPP server.")
    .command(
      "run",
      "Run the edge. SIGHUP reloads the configuration, SIGUSR2 upgrades, SIGTERM drains and stops",
      (command) =>
        command.option("config", configOption).option("pid-file", {
          type: "string",
          requiresArg: true,
          describe: "A file for the number of the process that serves, also after an upgrade",
        }),
      async (options) => {
        // a start that failed half-way may have left something open
        process.exit(await run(options));
      },
    )
    .command(
      "drain",
      "Have the running edge let its clients go at a pace, and show how that goes",
      (command) =>
        command
          .option("config", configOption)
          .option("rate", {
            type: "string",
            requiresArg: true,
            defaultDescription: "drain.rate",
            describe: "How many clients a second: 50/s",
          })
          .option("to", {
            type: "string",
            requiresArg: true,
            defaultDescription: "drain.to",
            describe: "Where they go on, for those that can be told: host or host:port",
          })
          .option("abort", {
            type: "boolean",
            // no default: it would count as written, and stand against the others
            conflicts: ["rate", "to"],
            describe: "Let clients in again; those who are left stay",
          }),
      async (options) => {
        process.exit(await drain(options));
      },
    )
    .command(
      "upgrade",
      "Put a new process in the place of the running edge, which hands its ports and sessions over",
      (command) =>
        command.option("config", configOption).option("launcher", {
          type: "string",
          requiresArg: true,
          defaultDescription: "the one that runs this command",
          describe: "The bin/breakwater of the version to start",
        }),
      async (options) => {
        process.exit(await upgrade(options));
      },
    )
    .command(
      "check",
      "Tell what a configuration means, or all of its mistakes",
      (command) =>
        command.option("config", configOption).option("print", {
          type: "boolean",
          default: false,
          describe: "Print the whole configuration, defaults filled in and secrets hidden",
        }),
      (options) => {
        process.exitCode = check(options);
      },
    )
    .command(
      "dns",
      "Print the DNS records by which clients find the edge",
      (command) =>
        command.option("config", configOption).option("target", {
          type: "string",
          requiresArg: true,
          default: hostname(),
          defaultDescription: "this machine's name",
          describe: "The name under which clients reach the edge",
        }),
      (options) => {
        process.exitCode = dns(options);
      },
    )
    .command("worker", false, {}, async () => {
      process.exit(await work());
    })
    .completion("completion", "Print a script that completes commands in bash or zsh")
    .example("$0 run --config /etc/breakwater/breakwater.yaml", "Run in the foreground, log to standard output")
    .example("$0 check -c breakwater.yaml", "Look before you reload")
    .example("$0 completion >> ~/.bashrc", "Complete commands with the tab key")
    .epilogue(
      `Ends with ${EXIT.ok} when all is well, ${EXIT.usage} for a wrong command line, ${EXIT.config} for a wrong ` +
        `configuration, ${EXIT.unavailable} when a port or the running edge cannot be had, ${EXIT.denied} when that is another ` +
        `user's, ${EXIT.software} for a bug.`,
    )
    .version(version())
    .alias("help", "h")
    .alias("version", "v")
    .parserConfiguration({ "duplicate-arguments-array": false })
    .strict()
    .demandCommand(1, "Which command?")
    .wrap(Math.min(100, process.stdout.columns ?? 100))
    .fail((message, error) => (message ? tellUsage(message, args) : tellBug(error)))
    .parseAsync();
}
