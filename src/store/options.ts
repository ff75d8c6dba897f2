import { z } from "zod";
import { filePath, secret, serverAddress } from "../base/option-types.ts";

const redisTlsOptions = z
  .strictObject({
    enabled: z.boolean().default(false).meta({
      description: "Whether connections to Redis and its Sentinels are encrypted.",
      reload: false,
    }),
    ca: filePath().optional().meta({
      description: "The authorities that may have signed Redis' certificate (PEM). Absent: the system's.",
      reload: false,
    }),
    servername: z.string().min(1).optional().meta({
      description: "The name that the certificate of every node must carry. Absent: the node's host.",
      reload: false,
    }),
    certificate: filePath().optional().meta({
      description: "The edge's own certificate (PEM), where Redis asks for one (`tls-auth-clients yes`, its default).",
      reload: false,
    }),
    key: filePath().optional().meta({ description: "The key of that certificate (PEM).", reload: false }),
  })
  .prefault({})
  .meta({ description: "TLS towards Redis." });

const redisOptions = z
  .strictObject({
    mode: z.enum(["single", "sentinel", "cluster"]).default("single").meta({
      description: "What `nodes` are: one Redis, the Sentinels that know its master, or some nodes of a Redis Cluster.",
      reload: false,
    }),
    nodes: z
      .array(serverAddress())
      .min(1)
      .prefault(["127.0.0.1:6379"])
      .meta({ description: "Where they listen.", reload: false }),
    master_name: z.string().min(1).optional().meta({
      description: "How the Sentinels call the master. For `sentinel`, required there.",
      reload: false,
    }),
    username: z.string().min(1).optional().meta({
      description: "The ACL user (docs/store.md has its rights). Absent: Redis' default user.",
      reload: false,
    }),
    password: secret().optional().meta({ description: "That user's password.", reload: false }),
    sentinel_username: z.string().min(1).optional().meta({
      description: "The ACL user at the Sentinels, where they ask for one.",
      reload: false,
    }),
    sentinel_password: secret().optional().meta({ description: "The Sentinels' password.", reload: false }),
    db: z.number().int().min(0).max(65_535).default(0).meta({
      description: "The number of the database. A Cluster has only 0.",
      reload: false,
    }),
    key_prefix: z
      .string()
      .regex(/^[A-Za-z0-9:._-]{1,64}$/)
      .default("breakwater:")
      .meta({
        description: "What every key begins with. Edges that serve the same clients have the same.",
        expected: "up to 64 letters, digits, colons, dots, dashes and underscores",
        reload: false,
      }),
    tls: redisTlsOptions,
    timeout: z.number().min(0.05).max(30).default(1).meta({
      description: "How long Redis may take for one answer. Past that the store counts as unavailable.",
      unit: "s",
      reload: false,
    }),
    connect_timeout: z.number().min(0.1).max(60).default(3).meta({
      description: "How long a node may take to accept a connection.",
      unit: "s",
      reload: false,
    }),
    probe_interval: z.number().min(1).max(300).default(5).meta({
      description: "How often each edge tries whether Redis takes writes; every second while it does not.",
      unit: "s",
      reload: false,
    }),
  })
  .prefault({})
  .meta({ description: "Redis, where `driver` is redis." });

export const storeOptions = z
  .strictObject({
    driver: z
      .enum(["memory", "redis"])
      .default("memory")
      .meta({
        description:
          "Where stanzas of clients that are away are safe, so that their core need not keep them: nowhere but in this " +
          "process, or in a Redis that several edges share.",
        reload: false,
      }),
    refresh_interval: z.number().min(60).max(86_400).default(1800).meta({
      description:
        "How often a session with stored stanzas is written again, at the longest; each at a random moment from a third on.",
      unit: "s",
      reload: false,
    }),
    max_session_stanzas: z.number().int().min(10).max(1_000_000).default(10_000).meta({
      description: "Stanzas that the store keeps for one dormant session.",
      unit: "stanzas",
      reload: false,
    }),
    max_session_bytes: z.number().int().min(16_384).max(268_435_456).default(4_194_304).meta({
      description: "The same in bytes.",
      unit: "bytes",
      reload: false,
    }),
    leftover_time: z.number().min(3600).max(31_536_000).default(2_592_000).meta({
      description:
        "How long stanzas that nobody has come for stay when their session is over. The next login of the account gets them.",
      unit: "s",
      reload: false,
    }),
    memory: z
      .strictObject({
        max_bytes: z.number().int().min(1_048_576).max(1_099_511_627_776).default(67_108_864).meta({
          description:
            "What all sessions together may take in the store, where `driver` is memory (about 0.5 KiB each, and their stanzas).",
          unit: "bytes",
          reload: false,
        }),
      })
      .prefault({})
      .meta({ description: "The store in this process." }),
    redis: redisOptions,
  })
  .prefault({})
  .meta({ description: "What is kept for clients that are away, beside the process that has their session." });

export type StoreOptions = z.infer<typeof storeOptions>;
export type RedisOptions = z.infer<typeof redisOptions>;
