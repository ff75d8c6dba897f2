import { z } from "zod";
import type { FramerLimits } from "./framer.ts";

/** What one stream may cost; the same four limits for each leg and phase, with defaults of their own. */
export function framerLimits(defaults: FramerLimits, description: string) {
  const count = (min: number, max: number) => z.number().int().min(min).max(max);
  return z
    .strictObject({
      max_bytes: count(8192, 64 * 1024 * 1024)
        .default(defaults.maxBytes)
        .meta({
          description: "Size of one stanza, or of one opening stream tag.",
          unit: "bytes",
          reload: true,
        }),
      max_depth: count(8, 1000).default(defaults.maxDepth).meta({
        description: "Nesting inside a stanza; the stanza itself is 1.",
        unit: "levels",
        reload: true,
      }),
      max_elements: count(16, 1_000_000).default(defaults.maxElements).meta({
        description: "Elements in one stanza, itself included.",
        unit: "elements",
        reload: true,
      }),
      max_attributes: count(8, 10_000).default(defaults.maxAttributes).meta({
        description: "Attributes of one element, namespace declarations included.",
        unit: "attributes",
        reload: true,
      }),
    })
    .prefault({})
    .meta({ description });
}

export type FramerLimitsOptions = z.infer<ReturnType<typeof framerLimits>>;

/** The options in the words of the framer. */
export function framerLimitsOf(options: FramerLimitsOptions): FramerLimits {
  return {
    maxBytes: options.max_bytes,
    maxDepth: options.max_depth,
    maxElements: options.max_elements,
    maxAttributes: options.max_attributes,
  };
}
