// What a bare Debian machine lacks, and how it gets it. Plain JavaScript without dependencies: it runs on Node 20,
// before anything is installed. Each `ensure…` is quick and silent when there is nothing to do.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** What stands in the way, as one sentence that says what to do. Show it without a stack. */
export class MachineError extends Error {}

/** The environment in which npm's programs and the pinned Node come first. */
export function projectEnv(root, env = process.env) {
  return { ...env, PATH: [join(root, "node_modules/.bin"), env.PATH ?? ""].join(delimiter) };
}

/** Installs what package-lock.json names. True when something was done. */
export function ensureNpmPackages(root, say = console.log) {
  if (npmPackagesAreThere(root)) return false;
  say("Installing npm packages …");
  const started = performance.now();
  // engine-strict would refuse the old Node that is about to bring the new one.
  const npm = run("npm", ["ci", "--engine-strict=false", "--no-fund", "--no-audit", "--loglevel=error"], {
    cwd: root,
    env: { ...process.env, npm_config_engine_strict: "false" },
  });
  if (npm.missing) throw new MachineError("npm is not here: install Node 20 or newer together with npm.");
  if (npm.status !== 0) {
    say(npm.output);
    throw new MachineError(
      offline(npm.output)
        ? "npm cannot reach its registry: check the network (or npm's proxy settings) and try again."
        : "npm ci failed: the lines above say why.",
    );
  }
  if (!npmPackagesAreThere(root)) {
    throw new MachineError(
      "npm ci ended well, but node_modules lacks packages of the lockfile: remove it and try again.",
    );
  }
  say(`Installed npm packages in ${seconds(started)}.`);
  return true;
}

/** Installs Debian packages without starting their services. Returns the names of those that were missing. */
export function ensureDebianPackages(names, say = console.log) {
  const missing = missingDebianPackages(names);
  if (missing.length === 0) return [];
  const list = missing.join(" ");
  if (process.getuid?.() !== 0) {
    throw new MachineError(`Installing ${list} needs root: run this as root, or install them yourself first.`);
  }
  say(`Installing from Debian: ${list} …`);
  const started = performance.now();
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
  const lock = "-oDPkg::Lock::Timeout=300";
  const update = run("apt-get", [lock, "update", "-q"], { env });
  const install = withoutServiceStarts(() =>
    run("apt-get", [lock, "install", "-y", "-q", "--no-install-recommends", ...missing], { env }),
  );
  const still = missingDebianPackages(missing);
  if (still.length > 0) {
    const output = `${update.output}\n${install.output}`;
    say(output);
    const lacking = still.join(" ");
    if (offline(output)) {
      throw new MachineError(`apt-get cannot reach Debian's mirror for ${lacking}: check the network and try again.`);
    }
    throw new MachineError(
      output.includes("Unable to locate package")
        ? `apt-get knows no ${lacking}: its sources must be those of Debian 12 (bookworm).`
        : `apt-get could not install ${lacking}: the lines above say why.`,
    );
  }
  keepFromBoot(missing);
  say(`Installed from Debian in ${seconds(started)}.`);
  return missing;
}

export function missingDebianPackages(names) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the format of dpkg-query
  const query = run("dpkg-query", ["-W", "-f=${Package} ${db:Status-Status}\\n", ...names]);
  if (query.missing || !findProgram("apt-get")) {
    throw new MachineError("This needs Debian 12 (no apt-get here): use such a machine, or a container of debian:12.");
  }
  const installed = new Set();
  for (const line of query.output.split("\n")) {
    const [name, status] = line.split(" ");
    if (status === "installed") installed.add(name);
  }
  return names.filter((name) => !installed.has(name));
}

/** The path of a program, null when it is nowhere. */
export function findProgram(name, path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`) {
  for (const dir of path.split(delimiter)) {
    if (!dir) continue;
    try {
      accessSync(join(dir, name), constants.X_OK);
      return join(dir, name);
    } catch {}
  }
  return null;
}

// npm keeps in node_modules what it has installed there; that, and no date of a file, tells whether it is what the lockfile wants.
function npmPackagesAreThere(root) {
  const packagesOf = (file) => JSON.parse(readFileSync(join(root, file), "utf8")).packages;
  let installed;
  try {
    installed = packagesOf("node_modules/.package-lock.json");
  } catch {
    return false;
  }
  if (!existsSync(join(root, "node_modules/.bin/node"))) return false;
  return Object.entries(packagesOf("package-lock.json")).every(([path, wanted]) => {
    if (path === "") return true;
    const have = installed[path];
    // What is meant for another platform is optional and stays away.
    return have ? have.version === wanted.version && have.integrity === wanted.integrity : wanted.optional === true;
  });
}

const POLICY = "/usr/sbin/policy-rc.d";
const SAVED = `${POLICY}.before-breakwater`;

// invoke-rc.d and deb-systemd-invoke ask this file: 101 forbids every start (and every restart of what was there before).
function withoutServiceStarts(work) {
  const undo = () => {
    rmSync(POLICY, { force: true });
    if (existsSync(SAVED)) renameSync(SAVED, POLICY);
  };
  if (existsSync(SAVED)) undo();
  if (existsSync(POLICY)) renameSync(POLICY, SAVED);
  const onSignal = () => {
    undo();
    process.exit(130);
  };
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
    return work();
  } finally {
    undo();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

// What we brought for tests and demos must not come up at the next boot. What was there before is not in `installed`.
function keepFromBoot(installed) {
  if (!existsSync("/run/systemd/system")) return;
  for (const name of installed) {
    const unit = `${name}.service`;
    if (existsSync(join("/lib/systemd/system", unit))) run("systemctl", ["disable", "--quiet", unit]);
  }
}

function run(command, args, options = {}) {
  const program = findProgram(command);
  if (!program) return { missing: true, status: 127, output: "" };
  const result = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
  });
  return { missing: false, status: result.status ?? 1, output: `${result.stdout ?? ""}${result.stderr ?? ""}` };
}

function offline(output) {
  return /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ECONNRESET|Could not resolve|Temporary failure resolving|Could not connect|Failed to fetch/i.test(
    output,
  );
}

function seconds(started) {
  return `${((performance.now() - started) / 1000).toFixed(0)} s`;
}
