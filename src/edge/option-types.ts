import { z } from "zod";

/** A path that browsers ask for. */
export function httpPath(usual: string) {
  const expected = `a path such as "${usual}"`;
  return z
    .string()
    .regex(/^\/[\w.~/-]*$/)
    .default(usual)
    .meta({ expected });
}

/** A time limit, in seconds. */
export function seconds(min: number, max: number, usual: number) {
  return z.number().min(min).max(max).default(usual);
}

/** One that goes over the wire, where there are no fractions. */
export function wholeSeconds(min: number, max: number, usual: number) {
  return z.number().int().min(min).max(max).default(usual);
}
