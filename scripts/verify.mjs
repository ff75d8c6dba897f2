#!/usr/bin/env node
// npm run verify: from a bare Debian 12 (root, Node 20 or newer with npm) to the test runner's last line. What is
// missing is installed; a server that cannot be had fails the run, it is never skipped. .ci/run calls exactly this.

import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureDebianPackages, ensureNpmPackages, findProgram, MachineError, projectEnv } from "./machine.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What the tests need, and the program or file that shows that it is there. */
const DEBIAN_PACKAGES = {
  ejabberd: "ejabberdctl",
  "erlang-p1-oauth2": null,
  prosody: "prosodyctl",
  "redis-server": "redis-server",
  openssl: "openssl",
  python3: "python3",
  "python3-slixmpp": null,
  gcc: "gcc",
  "libc6-dev": null,
  "libstrophe-dev": null,
  "pkg-config": "pkg-config",
  chromium: "chromium",
  haproxy: "haproxy",
  nginx: "nginx",
};

// A test may run servers of its own, so only half of the processors get a test file each.
const CONCURRENCY = Math.min(4, Math.max(1, Math.floor(availableParallelism() / 2)));
// No test takes that long: it hangs, and the run shall say so instead of hanging too.
const TEST_TIMEOUT_MS = 15 * 60 * 1000;

function install() {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    throw new MachineError(`Node ${process.versions.node} is too old to begin with: install Node 20 or newer.`);
  }
  ensureNpmPackages(root);
  ensureDebianPackages(Object.keys(DEBIAN_PACKAGES));
  for (const [name, program] of Object.entries(DEBIAN_PACKAGES)) {
    if (program && !findProgram(program)) {
      throw new MachineError(
        `${name} is installed but ${program} is nowhere: try "apt-get install --reinstall ${name}".`,
      );
    }
  }
}

/** Runs one step with the pinned Node and npm's programs first in PATH; ends the whole run when it fails. */
function step(title, command, ...args) {
  console.log(`\n── ${title}: ${[command, ...args].join(" ")}`);
  const result = spawnSync(command, args, {
    cwd: root,
    env: projectEnv(root),
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

try {
  install();
} catch (error) {
  if (!(error instanceof MachineError)) throw error;
  console.error(error.message);
  process.exit(1);
}
step("types, lint, layers", "npm", "run", "--silent", "check");
step(
  "tests",
  "node",
  "--test",
  "--test-reporter=spec",
  `--test-concurrency=${CONCURRENCY}`,
  `--test-timeout=${TEST_TIMEOUT_MS}`,
  "test/**/*.test.ts",
);
