import { hostname } from "node:os";
import type { Clock } from "./base/clock.ts";
import type { Config } from "./config/schema.ts";
import type { AdmissionLimits } from "./edge/admission.ts";
import { Safe } from "./features/stream-management/safe.ts";
import type { Host } from "./session/host.ts";
import type { Store } from "./session/stanza-store.ts";
import { recordSeconds, refreshDelayMs } from "./store/refresh.ts";
import { domainKey } from "./xmpp/jid.ts";
import { framerLimitsOf } from "./xmpp/options.ts";

// What the rooms want to know of the configuration, in their own words.

/** The number of the ops server's place; the others are those of the listeners, in order. */
export const OPS = 0;

/** Every place at which an edge with this configuration listens. */
export function placesOf({ listeners, ops }: Config): string[] {
  const clients = listeners.map(({ listen }) => `${listen.host}:${listen.port}`);
  return [opsPlace({ ops }), ...clients];
}

/** That of the ops server. */
export function opsPlace({ ops }: Pick<Config, "ops">): string {
  return `ops ${ops.listen.host}:${ops.listen.port}`;
}

export function corePlan(config: Config) {
  return {
    cores: config.cores,
    domains: config.domains.map((domain) => ({ name: domainKey(domain.name), core: domain.core })),
  };
}

export function newSafe(store: Store, options: Config["store"], clock: Clock): Safe {
  return new Safe(store, {
    owner: `${hostname()}:${process.pid}`,
    clock,
    seconds: (holdSeconds) => recordSeconds(options, holdSeconds),
    refreshDelay: () => refreshDelayMs(options),
    maxBytes: options.max_session_bytes,
  });
}

export function hostOptions(config: Config): Pick<Host, "deadlines" | "limits" | "domains" | "elsewhere"> {
  const { open_timeout, login_timeout, replay_timeout, drain_timeout } = config.session;
  return {
    deadlines: {
      open_timeout,
      login_timeout,
      replay_timeout,
      drain_timeout,
      hold_time: config.stream_management.hold_time,
    },
    limits: {
      beforeLogin: framerLimitsOf(config.limits.before_login),
      afterLogin: framerLimitsOf(config.limits.after_login),
    },
    domains: new Set(config.domains.map((domain) => domainKey(domain.name))),
    elsewhere: config.drain.to ?? null,
  };
}

export function admissionLimits({ limits }: Config): AdmissionLimits {
  return { maxConnections: limits.max_connections, maxConnectionsPerIp: limits.max_connections_per_ip };
}
