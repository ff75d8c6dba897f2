import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { folder, Running } from "./support.ts";

const LAUNCHER = resolve(import.meta.dirname, "../../bin/breakwater");

/** A package that is installed in a folder of the test: the launcher, and an entry that tells what it sees. */
function installed(t: TestContext, entry: "dist/main.js" | "src/main.ts" = "dist/main.js"): string {
  const root = folder(t);
  for (const name of ["bin", "dist", "src"]) mkdirSync(join(root, name));
  copyFileSync(LAUNCHER, join(root, "bin/breakwater"));
  chmodSync(join(root, "bin/breakwater"), 0o755);
  writeFileSync(join(root, "package.json"), '{ "type": "module" }');
  writeFileSync(
    join(root, entry),
    `console.log(JSON.stringify({ entry: "${entry}", pid: process.pid, args: process.argv.slice(2),
      node: process.execArgv,
      malloc: Object.entries(process.env).filter(([name]) => name.startsWith("MALLOC_")) }));`,
  );
  return root;
}

async function launch(path: string, env: Record<string, string | undefined>, ...args: string[]) {
  const child = spawn(path, args, { env: { PATH: process.env["PATH"], ...env } });
  const ended = await new Running(child).ended;
  return { ...ended, pid: child.pid, seen: ended.out ? JSON.parse(ended.out) : null };
}

/** A program that calls itself a Node of this version. */
function fakeNode(path: string, version: string): string {
  writeFileSync(path, `#!/bin/sh\necho ${version}\n`);
  chmodSync(path, 0o755);
  return path;
}

const thisNode = { BREAKWATER_NODE: process.execPath };

test("it is found through symbolic links, and Node takes over its process so that signals arrive", async (t) => {
  const root = installed(t);
  mkdirSync(join(root, "links"));
  symlinkSync("../bin/breakwater", join(root, "links/a"));
  symlinkSync(join(root, "links/a"), join(root, "links/b"));
  const { seen, pid } = await launch(join(root, "links/b"), thisNode, "check", "two words");
  assert.equal(seen.pid, pid);
  assert.deepEqual(seen.args, ["check", "two words"]);
});

test("the built entry runs when there is one, else the source", async (t) => {
  assert.equal((await launch(join(installed(t), "bin/breakwater"), thisNode)).seen.entry, "dist/main.js");
  assert.equal((await launch(join(installed(t, "src/main.ts"), "bin/breakwater"), thisNode)).seen.entry, "src/main.ts");
});

test("the young generation is bounded, unless the operator has set a size", async (t) => {
  const path = join(installed(t), "bin/breakwater");
  assert.deepEqual((await launch(path, thisNode)).seen.node, ["--max-semi-space-size=8"]);
  const env = { ...thisNode, NODE_OPTIONS: "--max-semi-space-size=16" };
  assert.deepEqual((await launch(path, env)).seen.node, []);
});

test("the memory allocator is tuned, and what the operator has set stays", async (t) => {
  const root = installed(t);
  const malloc = async (env: Record<string, string>) =>
    Object.fromEntries((await launch(join(root, "bin/breakwater"), { ...thisNode, ...env })).seen.malloc);
  const tuned = await malloc({});
  assert.deepEqual(
    [tuned.MALLOC_MMAP_THRESHOLD_, tuned.MALLOC_TRIM_THRESHOLD_, tuned.MALLOC_TOP_PAD_],
    ["60000", "65536", "0"],
  );
  assert.ok(Number(tuned.MALLOC_MMAP_MAX_) > 10_000);
  assert.equal((await malloc({ MALLOC_MMAP_THRESHOLD_: "131072" })).MALLOC_MMAP_THRESHOLD_, "131072");
});

test("the package's own Node goes before the one in PATH, which is too old here", async (t) => {
  const root = installed(t);
  mkdirSync(join(root, "old"));
  fakeNode(join(root, "old/node"), "v20.20.2");
  const env = { PATH: `${join(root, "old")}:/usr/bin:/bin` };
  const refused = await launch(join(root, "bin/breakwater"), env);
  assert.equal(refused.code, 69);
  assert.equal(
    refused.err,
    `breakwater: needs Node 24 or newer; ${join(root, "old/node")} is v20.20.2. Install it, or name one in BREAKWATER_NODE\n`,
  );
  mkdirSync(join(root, "node_modules/.bin"), { recursive: true });
  symlinkSync(process.execPath, join(root, "node_modules/.bin/node"));
  assert.equal((await launch(join(root, "bin/breakwater"), env)).seen.entry, "dist/main.js");
});

test("a BREAKWATER_NODE that is none is told", async (t) => {
  const root = installed(t);
  const { code, err } = await launch(join(root, "bin/breakwater"), { BREAKWATER_NODE: "/none" });
  assert.deepEqual({ code, err }, { code: 69, err: "breakwater: BREAKWATER_NODE=/none is no Node 24 or newer\n" });
});
