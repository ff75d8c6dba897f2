import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Secret } from "../base/secret.ts";
import { fileTrouble } from "./file-trouble.ts";
import { nearest } from "./mistakes.ts";
import type { OptionNode, OptionPath } from "./option-tree.ts";

export interface ResolveContext {
  /** Where relative paths start: the folder of the configuration file. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly wrong: (path: OptionPath, message: string) => void;
}

/** Stands where a secret could not be had, so that the schema has nothing to add to the mistake already told. */
const PLACEHOLDER = new Secret("x".repeat(1024));

/**
 * Makes of the file's values what the schemas read: secrets are fetched, paths made absolute, and a section of which
 * only the name is written counts as absent. Values of the wrong type pass: the schema tells about them.
 */
export function resolveValues(node: OptionNode, value: unknown, path: OptionPath, context: ResolveContext): unknown {
  if (node.kind === "section") {
    if (value === null && !node.required) return undefined;
    if (!isRecord(value)) return value;
    const entries = Object.entries(value).map(([key, child]) => {
      const known = node.keys.get(key);
      return [key, known ? resolveValues(known, child, [...path, key], context) : child];
    });
    return Object.fromEntries(entries);
  }
  if (node.kind === "list") {
    return Array.isArray(value) ? value.map((item, i) => resolveValues(node.item, item, [...path, i], context)) : value;
  }
  if (value === undefined) return value;
  if (node.about.resolve === "secret") return fetchSecret(node, value, path, context);
  if (typeof value !== "string" || value === "") return value;
  if (node.about.resolve === "path") return resolve(context.directory, value);
  if (node.about.resolve === "socket" && value.startsWith("unix:") && value.length > 5)
    return `unix:${resolve(context.directory, value.slice(5))}`;
  return value;
}

function fetchSecret(node: OptionNode, value: unknown, path: OptionPath, context: ResolveContext): Secret {
  if (typeof value === "string") return new Secret(value);
  const fail = (message: string, at: OptionPath = path) => {
    context.wrong(at, message);
    return PLACEHOLDER;
  };
  if (!isRecord(value)) return fail(`expected ${node.expected}`);
  const [[key, where] = ["", null], ...more] = Object.entries(value);
  if (more.length > 0) return fail("expected either `file` or `env`, not several keys");
  if (key !== "file" && key !== "env") {
    const near = nearest(key, ["file", "env"]) ?? "file` or `env";
    return key ? fail(`unknown key; did you mean \`${near}\`?`, [...path, key]) : fail(`expected ${node.expected}`);
  }
  const place = [...path, key];
  if (typeof where !== "string" || where === "")
    return fail(`expected ${key === "file" ? "the path of a file" : "the name of a variable"}`, place);
  return key === "file" ? fromFile(resolve(context.directory, where)) : fromEnvironment(where);

  function fromFile(file: string): Secret {
    try {
      const text = readFileSync(file, "utf8").replace(/\r?\n$/, "");
      return text === "" ? fail(`the file ${file} is empty`, place) : new Secret(text);
    } catch (error) {
      return fail(`the file ${file} ${fileTrouble(error)}`, place);
    }
  }

  function fromEnvironment(name: string): Secret {
    const text = context.env[name];
    return text ? new Secret(text) : fail(`the environment variable ${name} is not set`, place);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
