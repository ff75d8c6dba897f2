import { z } from "zod";

export const logOptions = z
  .strictObject({
    level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info").meta({
      description: "The least important kind of line that is written. `debug` tells each session's steps.",
      reload: false,
    }),
  })
  .prefault({})
  .meta({ description: "The log: one line of JSON per event on standard output." });

export type LogOptions = z.infer<typeof logOptions>;
