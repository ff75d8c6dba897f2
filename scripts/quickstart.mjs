#!/usr/bin/env node
// npm run quickstart: from a bare Debian 12 (Node 20 or newer with npm) to Breakwater in front of a real core, with
// accounts to try. Plain JavaScript without dependencies: this part runs before anything is installed. What follows
// (quickstart/main.ts) runs on the Node that npm has brought.

import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureDebianPackages, ensureNpmPackages, findProgram, MachineError, projectEnv } from "./machine.mjs";
import { HELP, readOptions, UsageError } from "./quickstart/options.mjs";
import { requirePorts } from "./quickstart/ports.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Debian's packages that this may need, and the program that shows that one is there. */
const PROGRAM = { prosody: "prosody", ejabberd: "ejabberdctl", "redis-server": "redis-server" };

async function main() {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    throw new MachineError(`Node ${process.versions.node} is too old to begin with: install Node 20 or newer.`);
  }
  const options = readOptions(process.argv.slice(2));
  if (options === "help") {
    console.log(HELP);
    return;
  }
  await requirePorts(options.edges); // before anything is installed: it is told at once
  ensureNpmPackages(root);
  const needed = [
    ...(options.upstream === null ? [options.core] : []),
    ...(options.edges.length > 1 ? ["redis-server"] : []),
  ];
  const missing = needed.filter((name) => !findProgram(PROGRAM[name]));
  if (missing.length > 0) ensureDebianPackages(missing);
  handOver(options);
}

/**
 * Runs the rest, passes signals on and ends as it ends. It notices by the channel between us when we are gone. npm hands
 * on SIGINT and SIGTERM only, and to its own child only (hence `exec` in package.json): we look whether it is still there.
 */
function handOver(options) {
  const command = join(root, "node_modules/.bin/node");
  const child = spawn(command, [join(root, "scripts/quickstart/main.ts"), JSON.stringify(options)], {
    env: projectEnv(root),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  for (const signal of STOP_SIGNALS) process.on(signal, () => child.kill(signal));
  child.once("error", (error) => tell(new MachineError(`${command} cannot be run: ${error.message}`)));
  child.once("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
  if (process.env.npm_lifecycle_event) {
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && child.kill("SIGHUP"), 500).unref();
  }
}

function tell(error) {
  if (!(error instanceof MachineError || error instanceof UsageError)) throw error;
  console.error(`quickstart: ${error.message}`);
  process.exit(error instanceof UsageError ? 64 : 69);
}

main().catch(tell);
