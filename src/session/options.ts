import { z } from "zod";

export const sessionOptions = z
  .strictObject({
    open_timeout: z.number().min(1).max(300).default(30).meta({
      description:
        "How long a client may take to open its stream, from its turn to shake hands; and how long it may wait for that turn.",
      unit: "s",
      reload: true,
    }),
    login_timeout: z.number().min(5).max(600).default(60).meta({
      description: "How long a client may take from its stream header to a bound or resumed session.",
      unit: "s",
      reload: true,
    }),
    replay_timeout: z.number().min(5).max(3600).default(60).meta({
      description: "How long a resumed client may take to read what it missed.",
      unit: "s",
      reload: true,
    }),
    drain_timeout: z.number().min(0.1).max(300).default(5).meta({
      description: "How long a session that ends may take to send its last words.",
      unit: "s",
      reload: true,
    }),
  })
  .prefault({})
  .meta({ description: "One client's life: how long each phase may take." });

/** How clients are let go, wherever that is said: in the file and on the command line. */
export const drainRate = z.number().min(0.1).max(100_000);
export const drainPlace = z
  .string()
  .max(260)
  .regex(/^(\[[\da-fA-F:.]+\]|[^\s:/[\]@'"<>&]+)(:\d{1,5})?$/, {
    error: 'expected "host", "host:port" or "[IPv6 address]:port"',
  })
  .meta({ expected: '"host", "host:port" or "[IPv6 address]:port"' });

export const drainOptions = z
  .strictObject({
    rate: drainRate.default(50).meta({
      description:
        "How many clients are let go each second when the edge stops or drains, or when its connections to a core are " +
        "gone: as many logins a second, at most, come to the cores from it.",
      unit: "clients/s",
      reload: true,
    }),
    timeout: z
      .number()
      .min(0)
      .max(86_400)
      .default(80)
      .meta({
        description:
          "What SIGTERM may take. More clients than fit into it go faster; 0: all at once. Keep it below the patience of " +
          "what stops the edge (systemd: `TimeoutStopSec`, 90 s).",
        unit: "s",
        reload: true,
      }),
    to: drainPlace.optional().meta({
      description:
        "Where clients should go on: told on TCP as `see-other-host` when they are let go and, where any edge can resume " +
        "the session, as `location` when stream management begins. Absent: they find another edge by DNS or balancer.",
      reload: true,
    }),
  })
  .prefault({})
  .meta({ description: "How clients are let go: by `breakwater drain`, and when the edge stops." });

/** What `breakwater drain` may ask for in place of the options. */
export const drainOrder = z.strictObject({ rate: drainRate.optional(), to: drainPlace.optional() });

export type DrainOrder = z.infer<typeof drainOrder>;
export type DrainOptions = z.infer<typeof drainOptions>;
export type SessionOptions = z.infer<typeof sessionOptions>;
