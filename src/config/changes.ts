import { isDeepStrictEqual } from "node:util";
import { Secret } from "../base/secret.ts";
import { type OptionNode, pathText, ROOT } from "./option-tree.ts";
import type { Config } from "./schema.ts";

/** The options that differ and that only a restart applies (`reload: false` in the reference). */
export function changesNeedingRestart(before: Config, after: Config): string[] {
  return changed(ROOT, before, after, []);
}

/** What counts in a process that started with `before` and has `after` reloaded. */
export function afterReload(before: Config, after: Config): Config {
  return kept(ROOT, before, after) as Config;
}

function kept(node: OptionNode, before: unknown, after: unknown): unknown {
  if (isFixed(node)) return before;
  if (node.kind !== "section" || before === undefined || after === undefined) return after;
  const entries = [...node.keys].map(([key, child]) => [key, kept(child, at(before, key), at(after, key))]);
  return { ...(after as object), ...Object.fromEntries(entries) };
}

/** Nothing in it can be reloaded. */
function isFixed(node: OptionNode): boolean {
  if (node.kind === "value" || node.about.reload !== undefined) return node.about.reload === false;
  return node.kind === "list" ? isFixed(node.item) : [...node.keys.values()].every(isFixed);
}

function changed(node: OptionNode, before: unknown, after: unknown, path: readonly (string | number)[]): string[] {
  if (same(before, after)) return [];
  if (node.kind === "value" || node.about.reload !== undefined)
    return node.about.reload === false ? [pathText(path)] : [];
  if (node.kind === "section") {
    const inside = [...node.keys].flatMap(([key, child]) =>
      changed(child, at(before, key), at(after, key), [...path, key]),
    );
    // a section that came or went is told as one
    return inside.length > 0 && (before === undefined || after === undefined) ? [pathText(path)] : inside;
  }
  const length = Math.max(lengthOf(before), lengthOf(after));
  return Array.from({ length }, (_, i) => changed(node.item, at(before, i), at(after, i), [...path, i])).flat();
}

function same(before: unknown, after: unknown): boolean {
  return before instanceof Secret ? before.equals(after) : isDeepStrictEqual(before, after);
}

function at(value: unknown, key: string | number): unknown {
  return (value as Record<string | number, unknown> | undefined)?.[key];
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}
