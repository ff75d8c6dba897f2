import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { ROOT } from "../../src/config/option-tree.ts";
import { CORE_KINDS } from "../../src/upstream/options.ts";
import { loaded, SMALL } from "./support.ts";

const folder = resolve(import.meta.dirname, "../../config");

for (const name of readdirSync(folder)) {
  test(`config/${name} is valid`, () => {
    const result = loadConfig(join(folder, name));
    assert.deepEqual(result instanceof ConfigMistakes ? result.lines() : [], []);
  });
}

test("there is a sample for each kind of core", () => {
  for (const kind of CORE_KINDS.filter((kind) => kind !== "other")) {
    const result = loadConfig(join(folder, `${kind}.yaml`));
    assert.ok(!(result instanceof ConfigMistakes));
    assert.equal(result.config.cores[0]?.kind, kind);
  }
});

test("the example shows every section, with the defaults that the program has", () => {
  const text = readFileSync(join(folder, "breakwater.example.yaml"), "utf8");
  assert.deepEqual(Object.keys(parse(text)), [...ROOT.keys.keys()]);
  const example = loaded(text).config;
  const defaults = loaded(SMALL).config;
  for (const section of ["tls", "limits", "session", "stream_management", "keepalive", "drain", "ops", "log"] as const)
    assert.deepEqual(example[section], defaults[section], section);
});
