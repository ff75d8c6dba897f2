import { closest, distance } from "fastest-levenshtein";
import { Secret } from "../base/secret.ts";
import { type OptionNode, type OptionPath, pathText, ROOT, type SectionNode } from "./option-tree.ts";

/** Something in the configuration that a person has to change, or (as a warning) might want to. */
export interface Mistake {
  /** Where in the file, from 1. Null when it is about the file as a whole. */
  readonly line: number | null;
  readonly column: number;
  /** The key, as `cores[0].connect`; empty when it is about the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** What a load answers when the file cannot be used: every mistake, in file order. Never holds a secret. */
export class ConfigMistakes {
  readonly file: string;
  readonly mistakes: readonly Mistake[];

  constructor(file: string, mistakes: readonly Mistake[]) {
    this.file = file;
    this.mistakes = inFileOrder(mistakes);
  }

  /** One line per mistake, as `file:line:column: key: message`. */
  lines(): string[] {
    return this.mistakes.map((mistake) => mistakeLine(this.file, mistake));
  }
}

export function mistakeLine(file: string, { line, column, path, message }: Mistake): string {
  const place = line === null ? file : `${file}:${line}:${column}`;
  return path ? `${place}: ${path}: ${message}` : `${place}: ${message}`;
}

export function inFileOrder(mistakes: readonly Mistake[]): Mistake[] {
  return mistakes.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || a.column - b.column);
}

/** What stands in the file, to follow the word "found". A secret is never shown. */
export function found(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (value instanceof Secret) return `a text of ${value.length} characters`;
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "keys with values";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

/** What to say about a key that the section does not know. */
export function unknownKey(key: string, section: SectionNode, path: OptionPath): string {
  const near = nearest(key, [...section.keys.keys()]);
  if (near) return `unknown key; did you mean \`${near}\`?`;
  const elsewhere = placesOf(key, ROOT, []).filter((place) => place !== pathText([...path, key]));
  if (elsewhere.length > 0) return `unknown key here; it belongs to \`${elsewhere.join("` or `")}\``;
  return `unknown key; known here: ${[...section.keys.keys()].join(", ")}`;
}

/** The candidate that a typing mistake could have made into `text`; null when none is near. */
export function nearest(text: string, candidates: readonly string[]): string | null {
  if (candidates.length === 0) return null;
  const plain = text.toLowerCase().replaceAll("-", "_");
  const best = closest(plain, [...candidates]);
  return distance(plain, best) <= Math.max(2, Math.ceil(best.length / 3)) ? best : null;
}

function placesOf(key: string, node: OptionNode, path: readonly string[]): string[] {
  if (node.kind === "list") return placesOf(key, node.item, [...path.slice(0, -1), `${path.at(-1)}[]`]);
  if (node.kind !== "section") return [];
  const here = node.keys.has(key) ? [[...path, key].join(".")] : [];
  return [...here, ...[...node.keys].flatMap(([name, child]) => placesOf(key, child, [...path, name]))];
}
