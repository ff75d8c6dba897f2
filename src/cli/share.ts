import { Secret } from "../base/secret.ts";
import type { Config } from "../config/schema.ts";

/** The configuration of one of several workers: its part of what may be spent in all, and the TLS tickets of all. */
export function shareOf(config: Config, workers: number, ticketSecret: string): Config {
  const part = (whole: number): number => Math.ceil(whole / workers);
  const { limits, stream_management: sm, tls, drain, cores } = config;
  return {
    ...config,
    limits: { ...limits, max_connections: part(limits.max_connections) },
    stream_management: {
      ...sm,
      max_total_bytes: Math.max(part(sm.max_total_bytes), sm.max_queue_bytes),
      max_tombstones: part(sm.max_tombstones),
    },
    drain: { ...drain, rate: drain.rate / workers },
    cores: cores.map((core) =>
      core.login_rate === undefined ? core : { ...core, login_rate: core.login_rate / workers },
    ),
    tls: { ...tls, ticket_secret: tls.ticket_secret ?? new Secret(ticketSecret) },
  };
}
