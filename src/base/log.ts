import { type DestinationStream, pino } from "pino";

/** One line, one event, facts as fields. Never a password, a token or a body: pass names and numbers. */
export interface Log {
  debug(event: string, facts?: Facts): void;
  info(event: string, facts?: Facts): void;
  warn(event: string, facts?: Facts): void;
  error(event: string, facts?: Facts): void;
  /** A log that adds these facts to each of its lines. */
  with(facts: Facts): Log;
  /** Whether a debug line would be written: ask before computing costly facts. */
  readonly debugEnabled: boolean;
}

export type Facts = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>;
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export function createLog(options: { level: LogLevel; destination?: DestinationStream }): Log {
  const settings = {
    level: options.level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    messageKey: "event",
  };
  return wrap(options.destination ? pino(settings, options.destination) : pino(settings));
}

export const silentLog: Log = createLog({ level: "silent" });

function wrap(logger: ReturnType<typeof pino>): Log {
  return {
    debug: (event, facts) => logger.debug(facts ?? {}, event),
    info: (event, facts) => logger.info(facts ?? {}, event),
    warn: (event, facts) => logger.warn(facts ?? {}, event),
    error: (event, facts) => logger.error(facts ?? {}, event),
    with: (facts) => wrap(logger.child(facts)),
    get debugEnabled() {
      return logger.isLevelEnabled("debug");
    },
  };
}
