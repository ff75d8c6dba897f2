import { z } from "zod";
import { SECTIONS } from "./schema.ts";

type About = z.core.GlobalMeta;

interface Common {
  readonly about: About;
  /** Must be written: it has no default and may not be absent. */
  readonly required: boolean;
  /** What counts when it is absent, as it would be written in the file. */
  readonly fallback: unknown;
  /** What may stand here, to follow the word "expected". */
  readonly expected: string;
}

/** One place of the configuration file as the schemas describe it: for messages, for the loader and for the reference. */
export type OptionNode =
  | (Common & { readonly kind: "section"; readonly keys: ReadonlyMap<string, OptionNode> })
  | (Common & { readonly kind: "list"; readonly item: OptionNode })
  | (Common & { readonly kind: "value" });

export type SectionNode = OptionNode & { kind: "section" };
/** Keys and list positions, from the top of the file. */
export type OptionPath = readonly (string | number)[];

const UNIT_WORDS: Record<string, string> = { s: "seconds", ms: "milliseconds" };

/** The unit as people say it. */
export function unitWord(unit: string): string {
  return UNIT_WORDS[unit] ?? unit;
}

interface Unwrapped {
  /** The schema inside of defaults, transforms and the like. */
  readonly inner: z.core.$ZodType;
  readonly about: About;
  readonly required: boolean;
  readonly fallback: unknown;
}

function unwrap(outer: z.core.$ZodType): Unwrapped {
  let about: About = {};
  let required = true;
  let fallback: unknown;
  let schema = outer;
  for (;;) {
    about = { ...z.globalRegistry.get(schema), ...about };
    const def = (schema as z.ZodType).def as unknown as { type: string; innerType?: z.ZodType; in?: z.ZodType };
    if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) fallback = schema.def.defaultValue;
    if (def.type === "default" || def.type === "prefault" || def.type === "optional") required = false;
    const next = def.innerType ?? def.in;
    if (!next) return { inner: schema, about, required, fallback };
    schema = next;
  }
}

function nodeOf(outer: z.core.$ZodType): OptionNode {
  const { inner: schema, about, required, fallback } = unwrap(outer);
  const common = { about, required, fallback, expected: expectedOf(schema, about) };
  if (schema instanceof z.ZodObject) {
    const entries = Object.entries(schema.shape as Record<string, z.ZodType>);
    return { ...common, kind: "section", keys: new Map(entries.map(([key, value]) => [key, nodeOf(value)])) };
  }
  if (schema instanceof z.ZodArray) return { ...common, kind: "list", item: nodeOf(schema.element) };
  return { ...common, kind: "value" };
}

function expectedOf(schema: z.core.$ZodType, about: About): string {
  if (about.expected) return about.expected;
  if (schema instanceof z.ZodNumber) {
    const unit = about.unit ? ` (${unitWord(about.unit)})` : "";
    return `a ${schema.format ? "whole number" : "number"} from ${schema.minValue} to ${schema.maxValue}${unit}`;
  }
  if (schema instanceof z.ZodEnum) return `one of ${schema.options.join(", ")}`;
  if (schema instanceof z.ZodBoolean) return "true or false";
  if (schema instanceof z.ZodArray) return "a list with at least one item";
  if (schema instanceof z.ZodObject) return "keys with values";
  return "a text";
}

export const ROOT: SectionNode = {
  kind: "section",
  about: {},
  required: true,
  fallback: undefined,
  expected: "the sections domains, listeners and cores at least",
  keys: new Map(Object.entries(SECTIONS).map(([name, schema]) => [name, nodeOf(schema)])),
};

/** What the schemas say about a place; null where they know no such place. */
export function nodeAt(path: OptionPath): OptionNode | null {
  let node: OptionNode | undefined = ROOT;
  for (const step of path) {
    if (node?.kind === "list") node = node.item;
    else if (node?.kind === "section") node = node.keys.get(String(step));
    else return null;
  }
  return node ?? null;
}

/** `cores[0].connect` */
export function pathText(path: OptionPath): string {
  return path.reduce<string>(
    (text, step) => text + (typeof step === "number" ? `[${step}]` : text ? `.${step}` : step),
    "",
  );
}

/** What is valid in a value that is not wholly valid: for checks that should not wait until all is. */
export function validParts(schema: z.core.$ZodType, value: unknown): unknown {
  const result = z.safeParse(schema, value);
  if (result.success) return result.data;
  const { inner } = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value))
    return value.map((item) => validParts(inner.element, item) ?? {});
  if (!(inner instanceof z.ZodObject) || typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(inner.shape as Record<string, z.ZodType>).map(([key, child]) => [
    key,
    validParts(child, (value as Record<string, unknown>)[key]),
  ]);
  return Object.fromEntries(entries.filter(([, part]) => part !== undefined));
}
