import { z } from "zod";
import { coreAddress, filePath, secret } from "../base/option-types.ts";
import { framerLimits } from "../xmpp/options.ts";

/**
 * Stanzas that a core may have unacknowledged towards the edge, by kind: four fifths of what ends or empties the
 * session there (ejabberd 5000, Prosody 500, Tigase 2000, Openfire 10000, MongooseIM 100), so that the edge acts first.
 */
export const MAX_UNACKED = {
  ejabberd: 4000,
  prosody: 400,
  tigase: 1600,
  openfire: 8000,
  mongooseim: 80,
  other: 400,
} as const;

export type CoreKind = keyof typeof MAX_UNACKED;
export const CORE_KINDS = Object.keys(MAX_UNACKED) as [CoreKind, ...CoreKind[]];

export const coreName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
  .meta({ expected: "a name of letters, digits, dots, dashes and underscores" });

const mechanism = z
  .string()
  .regex(/^[A-Z0-9_-]{1,20}$/)
  .meta({ expected: 'the name of a SASL mechanism such as "SCRAM-SHA-256"' });

const coreTlsOptions = z
  .strictObject({
    ca: filePath().optional().meta({
      description: "The authorities that may have signed the core's certificate (PEM). Absent: the system's.",
      reload: true,
    }),
    servername: z.string().min(1).optional().meta({
      description: "The name that the core's certificate must carry. Absent: the host in `connect`.",
      reload: true,
    }),
  })
  .optional()
  .meta({ description: "How the core's certificate is checked, for `tls://`." });

const API_EXPECTED = 'an address such as "http://127.0.0.1:5280/api"';
const apiAddress = z
  .string()
  .refine((text) => /^https?:\/\/[^\s?#@]+$/.test(text) && URL.canParse(text), { error: `expected ${API_EXPECTED}` })
  .meta({ expected: API_EXPECTED });

const reattachOptions = z
  .strictObject({
    api: apiAddress.meta({
      description:
        "ejabberd's HTTP API (`mod_http_api`): the edge asks it for `user_sessions_info` and `oauth_issue_token`.",
      reload: true,
    }),
    username: z.string().min(1).optional().meta({
      description: "The account that may call it, as user@domain. Absent: the API knows the edge by its address.",
      reload: true,
    }),
    password: secret().optional().meta({ description: "That account's password.", reload: true }),
    bearer: secret().optional().meta({
      description: "Instead of the two: a token of ejabberd that may call it.",
      reload: true,
    }),
    ca: filePath().optional().meta({
      description: "The authorities that may have signed the API's certificate (PEM). Absent: the system's.",
      reload: true,
    }),
    timeout: z.number().min(0.1).max(60).default(5).meta({
      description: "How long the API may take for one answer, and the core to log the edge in.",
      unit: "s",
      reload: true,
    }),
    token_lifetime: z.number().min(10).max(86_400).default(60).meta({
      description: "How long a token is good for; it is used at once.",
      unit: "s",
      reload: true,
    }),
    max_concurrent: z.number().int().min(1).max(1000).default(8).meta({
      description: "How many sessions are attached at the same time.",
      unit: "sessions",
      reload: true,
    }),
    wait: z
      .number()
      .min(1)
      .max(3600)
      .default(60)
      .meta({
        description:
          "How long a client stays connected while the core is away. Past that its link is closed, and it has to return. " +
          "A session without a link waits as long as the core keeps it.",
        unit: "s",
        reload: true,
      }),
    max_bytes: z
      .number()
      .int()
      .min(4096)
      .max(67_108_864)
      .default(262_144)
      .meta({
        description:
          "What the edge keeps of each client's stanzas until the core has confirmed them. Past that the client is not " +
          "read. They count in `stream_management.max_total_bytes`.",
        unit: "bytes",
        reload: true,
      }),
    max_stanzas: z.number().int().min(10).max(100_000).default(1000).meta({
      description: "The same in stanzas.",
      unit: "stanzas",
      reload: true,
    }),
  })
  .optional()
  .meta({
    description:
      "How sessions go on when their connection to the core is gone and the core is not: without their clients. " +
      "Absent: clients lose their connection, return and resume.",
  });

export type ReattachOptions = NonNullable<z.infer<typeof reattachOptions>>;

export const coreOptions = z
  .strictObject({
    name: coreName.meta({ description: "The name in this file, in the log and in the metrics.", reload: true }),
    kind: z.enum(CORE_KINDS).default("other").meta({
      description: "The server software: Breakwater knows the limits and habits of these.",
      reload: true,
    }),
    connect: coreAddress().meta({ description: "Where the core takes client streams.", reload: true }),
    proxy_protocol: z.enum(["off", "v1", "v2"]).default("off").meta({
      description: "Tells the core the client's address with a PROXY header of this version. The core must expect it.",
      reload: true,
    }),
    tls: coreTlsOptions,
    reattach: reattachOptions,
    connect_timeout: z.number().min(0.1).max(60).default(5).meta({
      description: "How long the core may take to accept a connection (with `tls://`: and for the handshake).",
      unit: "s",
      reload: true,
    }),
    login_rate: z
      .number()
      .min(0.1)
      .max(100_000)
      .optional()
      .meta({
        description:
          "How many clients may open a stream to the core each second, to log in or to resume; the others wait for their " +
          "turn, ten seconds at most, and are then told to come later. Absent: all at once, if they come so.",
        unit: "clients/s",
        reload: true,
      }),
    mechanisms: z
      .array(mechanism)
      .min(1)
      .optional()
      .meta({
        description:
          "Only these SASL mechanisms are offered to clients. Absent: the core's own list, unedited. " +
          "An edited list breaks downgrade protection (XEP-0474) where the core uses it.",
        reload: true,
      }),
    max_unacked: z
      .number()
      .int()
      .min(10)
      .max(1_000_000)
      .optional()
      .meta({
        description:
          "Stanzas that may wait for an acknowledgement of one client before its session ends. Keep it below the " +
          `core's own limit. Absent: by kind (${CORE_KINDS.map((kind) => `${kind} ${MAX_UNACKED[kind]}`).join(", ")}).`,
        unit: "stanzas",
        reload: true,
      }),
    probe_interval: z.number().min(1).max(3600).default(30).meta({
      description: "How often a core is probed while no client's stream tells whether it is well.",
      unit: "s",
      reload: true,
    }),
    limits: framerLimits(
      { maxBytes: 4 * 1024 * 1024, maxDepth: 200, maxElements: 100_000, maxAttributes: 200 },
      "What the core may send to one client.",
    ),
  })
  .transform((core) => ({ ...core, max_unacked: core.max_unacked ?? MAX_UNACKED[core.kind] }));

export const coresOptions = z.array(coreOptions).min(1).meta({ description: "The XMPP servers behind the edge." });

export type CoreOptions = z.infer<typeof coreOptions>;
