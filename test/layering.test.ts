import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

/** Who may import whom (docs/architecture.md). A path ending in .ts is one file of a room that is otherwise closed. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  xmpp: ["base"],
  tls: ["base"],
  session: ["base", "xmpp"],
  features: ["base", "xmpp", "session"],
  edge: ["base", "xmpp", "session", "tls"],
  upstream: ["base", "xmpp", "session", "tls"],
  store: ["base", "stanza-store.ts"],
  ops: ["base", "session"],
  config: ["base", "options.ts"],
  "breakwater.ts": [
    "base",
    "xmpp",
    "session",
    "features",
    "edge",
    "tls",
    "upstream",
    "store",
    "ops",
    "config",
    "from-config.ts",
  ],
  "from-config.ts": ["base", "xmpp", "session", "features", "edge", "store", "config"],
  cli: ["base", "breakwater.ts", "config", "ops", "xmpp"],
  "main.ts": ["cli"],
};

/** Libraries that only one room may know. */
const LIBRARY_ROOM: Record<string, string> = {
  "prom-client": "ops",
  "node-forge": "tls",
  yargs: "cli",
  ltx: "xmpp",
  pino: "base",
  yaml: "config",
  ws: "edge",
  ioredis: "store",
  undici: "upstream",
};

const root = resolve(import.meta.dirname, "../src");

function sources(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? sources(path) : path.endsWith(".ts") ? [path] : [];
  });
}

function roomOf(path: string): string {
  return relative(root, path).split("/")[0]!;
}

test("every import respects the house: rooms know only the rooms below them", () => {
  const wrong: string[] = [];
  for (const file of sources(root)) {
    const room = roomOf(file);
    const allowed = MAY_IMPORT[room];
    if (!allowed) {
      wrong.push(`${relative(root, file)}: room "${room}" is not in the table`);
      continue;
    }
    for (const [, target] of readFileSync(file, "utf8").matchAll(/^\s*(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"/gm)) {
      const where = relative(root, file);
      if (target!.startsWith(".")) {
        const to = resolve(dirname(file), target!);
        const toRoom = roomOf(to);
        if (toRoom !== room && !allowed.includes(toRoom) && !allowed.includes(to.split("/").at(-1)!)) {
          wrong.push(
            `${where} imports ${relative(root, to)}: ${room} may import only ${allowed.join(", ") || "nothing"}`,
          );
        }
      } else {
        const library = target!.startsWith("@") ? target! : target!.split("/")[0]!;
        const home = LIBRARY_ROOM[library];
        if (home && home !== room) wrong.push(`${where} imports ${library}: only ${home}/ may`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});
