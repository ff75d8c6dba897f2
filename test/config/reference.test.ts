import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { nodeAt, type OptionNode, ROOT } from "../../src/config/option-tree.ts";
import { configReference } from "../../src/config/reference.ts";

test("docs/config.md is as the schemas say (else: npm run docs)", () => {
  const path = resolve(import.meta.dirname, "../../docs/config.md");
  assert.equal(readFileSync(path, "utf8"), configReference());
});

function undocumented(node: OptionNode, path: string): string[] {
  const children =
    node.kind === "section" ? [...node.keys].flatMap(([key, child]) => undocumented(child, `${path}.${key}`)) : [];
  if (node.kind === "list" && node.item.kind === "section") children.push(...undocumented(node.item, `${path}[]`));
  const isItem = path.endsWith("[]") || node === ROOT;
  const leaf = node.kind === "value" || (node.kind === "list" && node.item.kind === "value");
  const missing = [
    ...(isItem || node.about.description ? [] : ["description"]),
    ...(leaf && node.about.reload === undefined ? ["reload"] : []),
  ];
  return [...missing.map((what) => `${path}: ${what}`), ...children];
}

test("every option says what it means and whether a reload applies it", () => {
  assert.deepEqual(undocumented(ROOT, ""), []);
});

test("every number is bounded and, unless it is a plain count, has a unit", () => {
  const text = configReference();
  assert.doesNotMatch(text, /number from (-?Infinity|-9007|null)|to (Infinity|9007|null)/);
  assert.equal(nodeAt(["stream_management", "hold_time"])?.expected, "a number from 0 to 604800 (seconds)");
});

function leaves(node: OptionNode, path: string): string[] {
  if (node.kind === "section") return [...node.keys].flatMap(([key, child]) => leaves(child, `${path}.${key}`));
  if (node.kind === "list" && node.item.kind === "section") return leaves(node.item, `${path}[]`);
  return [path.slice(1)];
}

test("every option is obeyed: some code reads it", () => {
  const src = resolve(import.meta.dirname, "../../src");
  // xmpp/options.ts both declares the framer's limits and hands them on
  const reads = (name: string) => name.endsWith(".ts") && (!name.endsWith("options.ts") || name === "xmpp/options.ts");
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(reads);
  const code = files.map((name) => readFileSync(join(src, name), "utf8"));
  const unread = leaves(ROOT, "").filter((path) => {
    const key = new RegExp(`\\b${path.split(".").at(-1)}\\b`);
    return !code.some((text) => key.test(text));
  });
  assert.deepEqual(unread, []);
});
