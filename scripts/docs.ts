import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { configReference } from "../src/config/reference.ts";
import { metricsReference } from "../src/ops/reference.ts";
import { phaseReference, reasonReference } from "../src/session/reference.ts";

const root = resolve(import.meta.dirname, "..");

/** The documents that are drawn from the code, by their paths in the repository. */
export async function documents(): Promise<Map<string, string>> {
  await importRooms();
  return new Map([
    ["docs/config.md", configReference()],
    ["docs/metrics.md", metricsReference()],
    [
      "docs/session.md",
      withTables(readOrEmpty("docs/session.md"), { phases: phaseReference(), reasons: reasonReference() }),
    ],
  ]);
}

/** The documents that are not as the code would draw them. */
export async function staleDocuments(): Promise<string[]> {
  return [...(await documents())].flatMap(([path, text]) => (readOrEmpty(path) === text ? [] : [path]));
}

/** A metric is declared when its file is imported: all of them are, but for the entry, which would run. */
async function importRooms(): Promise<void> {
  const src = join(root, "src");
  for (const name of readdirSync(src, { recursive: true, encoding: "utf8" }).sort()) {
    if (name.endsWith(".ts") && name !== "main.ts") await import(pathToFileURL(join(src, name)).href);
  }
}

/** A hand-written document with the tables between its `<!-- name -->` and `<!-- /name -->` drawn anew. */
function withTables(text: string, tables: Record<string, string>): string {
  return Object.entries(tables).reduce(
    (result, [name, table]) =>
      result.replace(
        new RegExp(`(<!-- ${name} -->\\n)[^]*?(<!-- /${name} -->)`),
        (_all, start: string, end: string) => start + table + end,
      ),
    text,
  );
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return "";
  }
}

// `npm run docs` writes them; without --write it only tells which are stale
if (import.meta.main) {
  const stale = await staleDocuments();
  if (process.argv.includes("--write")) {
    const texts = await documents();
    for (const path of stale) writeFileSync(join(root, path), texts.get(path)!);
    console.log(stale.length > 0 ? `wrote ${stale.join(", ")}` : "up to date");
  } else if (stale.length > 0) {
    console.error(`stale: ${stale.join(", ")}; run npm run docs`);
    process.exitCode = 1;
  }
}
