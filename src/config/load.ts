import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { crossCheck, type Draft } from "./cross-checks.ts";
import { fileTrouble } from "./file-trouble.ts";
import { ConfigMistakes, found, inFileOrder, type Mistake, unknownKey } from "./mistakes.ts";
import { nodeAt, type OptionPath, ROOT, validParts } from "./option-tree.ts";
import { resolveValues } from "./resolve.ts";
import { type Config, SECTIONS, type SectionName, type Sections } from "./schema.ts";
import { ConfigSource } from "./source.ts";
import { findWarnings } from "./warnings.ts";

export interface LoadedConfig {
  readonly file: string;
  /** The file as it was read. */
  readonly text: string;
  readonly config: Config;
  /** What is allowed and yet probably not meant, in file order. */
  readonly warnings: readonly Mistake[];
}

const MAX_BYTES = 4 * 1024 * 1024;

/** Reads and checks a configuration file. Answers all its mistakes at once; never throws for what stands in the file. */
export function loadConfig(file: string, env = process.env): LoadedConfig | ConfigMistakes {
  const text = readText(file);
  if (typeof text !== "string") return new ConfigMistakes(file, [text]);
  return parseConfig(text, file, env);
}

/** The same for a text that is read already; `file` is its name in messages and the place that relative paths start at. */
export function parseConfig(text: string, file: string, env = process.env): LoadedConfig | ConfigMistakes {
  const source = new ConfigSource(text);
  if (source.mistakes.length > 0) return new ConfigMistakes(file, source.mistakes);
  if (source.data === undefined) return new ConfigMistakes(file, [aboutFile(`is empty: expected ${ROOT.expected}`)]);

  const mistakes: Mistake[] = [];
  const tell = (path: OptionPath, message: string) => mistakes.push(source.at(path, message));
  const directory = dirname(resolve(file));
  const data = resolveValues(ROOT, source.data, [], { directory, env, wrong: tell });
  const sections: Draft = isRecord(data) ? parseSections(data, source, mistakes) : {};
  if (!isRecord(data)) tell([], `expected ${ROOT.expected}, found ${found(data)}`);
  crossCheck(sections, tell);
  if (mistakes.length > 0) return new ConfigMistakes(file, mistakes);

  const config = complete(sections as Sections);
  const warnings: Mistake[] = [];
  findWarnings(config, source, (path, message) => warnings.push(source.at(path, message)));
  return { file, text, config, warnings: inFileOrder(warnings) };
}

function readText(file: string): string | Mistake {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return aboutFile(fileTrouble(error));
  }
  if (bytes.length > MAX_BYTES) return aboutFile(`has ${bytes.length} bytes: that is no configuration`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // not UTF-8: told below
  }
  return aboutFile("is no text in UTF-8; the configuration is a YAML file");
}

function aboutFile(message: string): Mistake {
  return { line: null, column: 0, path: "", message };
}

/** What is valid in each section; the mistakes go to `mistakes`. */
function parseSections(data: Record<string, unknown>, source: ConfigSource, mistakes: Mistake[]): Draft {
  const sections: Partial<Record<SectionName, unknown>> = {};
  for (const key of Object.keys(data)) {
    if (!Object.hasOwn(SECTIONS, key)) mistakes.push(source.atKey([key], unknownKey(key, ROOT, [])));
  }
  for (const [name, schema] of Object.entries(SECTIONS) as [SectionName, z.ZodType][]) {
    const result = schema.safeParse(data[name]);
    sections[name] = result.success ? result.data : validParts(schema, data[name]);
    for (const issue of result.error?.issues ?? []) mistakes.push(...mistakesOf(issue, name, data, source));
  }
  return sections as Draft;
}

function mistakesOf(issue: z.core.$ZodIssue, section: string, data: unknown, source: ConfigSource): Mistake[] {
  const path = [section, ...(issue.path as (string | number)[])];
  const node = nodeAt(path);
  if (issue.code === "unrecognized_keys" && node?.kind === "section")
    return issue.keys.map((key) => source.atKey([...path, key], unknownKey(key, node, path)));
  const value = path.reduce<unknown>((at, step) => (at as Record<string | number, unknown> | undefined)?.[step], data);
  if (issue.code === "custom" && !issue.message.startsWith("expected")) return [source.at(path, issue.message)];
  const expected = `expected ${node?.expected ?? "something else"}`;
  return [source.at(path, value === undefined ? `is missing: ${expected}` : `${expected}, found ${found(value)}`)];
}

/** Fills in what one section takes from another. */
function complete(sections: Sections): Config {
  const [only] = sections.cores;
  return {
    ...sections,
    domains: sections.domains.map((domain) => ({ ...domain, core: domain.core ?? only!.name })),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
