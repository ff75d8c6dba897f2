import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import { messageOf } from "../base/errors.ts";
import type { Mistake } from "./mistakes.ts";
import { type OptionPath, pathText } from "./option-tree.ts";

type Document = ReturnType<typeof parseDocument>;

/** A configuration file as YAML: its values, and where each of them stands. */
export class ConfigSource {
  readonly #document: Document;
  readonly #lines = new LineCounter();
  /** What is wrong with it as YAML: syntax, keys that come twice. */
  readonly mistakes: readonly Mistake[];
  /** The values; undefined when the file is empty or no YAML. */
  readonly data: unknown;

  constructor(text: string) {
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      uniqueKeys: false, // found below, where the key's path is known
      stringKeys: true,
      logLevel: "error",
    });
    const mistakes: Mistake[] = [...this.#document.errors, ...this.#document.warnings].map((error) => ({
      ...this.#position(error.pos[0]),
      path: "",
      message:
        error.code === "MULTIPLE_DOCS"
          ? "a second YAML document begins here: write one"
          : `not valid YAML: ${error.message}`,
    }));
    if (mistakes.length === 0) this.#findDuplicates(this.#document.contents, [], mistakes);
    if (mistakes.length === 0) {
      try {
        this.data = this.#document.toJS({ maxAliasCount: 100 }) ?? undefined;
      } catch (error) {
        // aliases that would grow without end
        mistakes.push({ line: 1, column: 1, path: "", message: `not usable: ${messageOf(error)}` });
      }
    }
    this.mistakes = mistakes;
  }

  /** A mistake at the value of this key, or at the nearest place above it that is written. */
  at(path: OptionPath, message: string): Mistake {
    return { ...this.#position(this.#find(path, "value")), path: pathText(path), message };
  }

  /** A mistake at the key itself: it should not be there. */
  atKey(path: OptionPath, message: string): Mistake {
    return { ...this.#position(this.#find(path, "key")), path: pathText(path), message };
  }

  /** Whether something is written there. */
  has(path: OptionPath): boolean {
    return (
      path.reduce<unknown>(
        (at, step) => (at as Record<string | number, unknown> | null | undefined)?.[step],
        this.data,
      ) !== undefined
    );
  }

  #position(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  #find(path: OptionPath, want: "key" | "value"): number {
    let node = this.#resolved(this.#document.contents);
    let offset = startOf(node) ?? 0;
    for (const [i, step] of path.entries()) {
      let next: Node | null = null;
      if (isMap(node)) {
        const pair = node.items.find((item) => keyOf(item) === String(step));
        if (!pair) break;
        next = pair.value as Node | null;
        offset = startOf(pair.key) ?? offset;
        // of a value that is a block of its own, the key above it is what people look for
        if ((want === "value" || i < path.length - 1) && isScalar(next)) offset = startOf(next) ?? offset;
      } else if (isSeq(node)) {
        next = (node.items[Number(step)] ?? null) as Node | null;
        offset = startOf(next) ?? offset;
      }
      node = this.#resolved(next);
    }
    return offset;
  }

  #resolved(node: unknown): Node | null {
    return (isAlias(node) ? node.resolve(this.#document) : node) as Node | null;
  }

  #findDuplicates(node: unknown, path: OptionPath, mistakes: Mistake[]): void {
    if (isSeq(node)) {
      node.items.forEach((item, i) => {
        this.#findDuplicates(item, [...path, i], mistakes);
      });
      return;
    }
    if (!isMap(node)) return;
    const lineOf = new Map<string, number>();
    for (const pair of node.items) {
      const key = keyOf(pair);
      const here = this.#position(startOf(pair.key) ?? 0);
      const first = lineOf.get(key);
      if (first === undefined) lineOf.set(key, here.line);
      else mistakes.push({ ...here, path: pathText([...path, key]), message: `is here twice; first on line ${first}` });
      this.#findDuplicates(pair.value, [...path, key], mistakes);
    }
  }
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function startOf(node: unknown): number | null {
  return (node as Node | null)?.range?.[0] ?? null;
}
