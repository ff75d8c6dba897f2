import { z } from "zod";
import { secret } from "../../base/option-types.ts";

export const streamManagementOptions = z
  .strictObject({
    enabled: z.boolean().default(true).meta({
      description: "Whether the edge keeps sessions through lost connections. Off: XEP-0198 is not offered.",
      reload: true,
    }),
    hold_time: z.number().min(0).max(604_800).default(600).meta({
      description: "How long a session without a connection waits for its client. 0: not at all.",
      unit: "s",
      reload: true,
    }),
    resume_secret: secret({ min: 32 })
      .optional()
      .meta({
        description:
          "Edges with the same secret resume each other's sessions, and an edge its own after a restart or a crash, as " +
          "long as the core has XEP-0198 and keeps them. Absent: a session can be resumed in its process only.",
        reload: true,
      }),
    resume_lifetime: z.number().int().min(86_400).max(31_536_000).default(2_592_000).meta({
      description: "For so long after its login a session can be taken over in this way.",
      unit: "s",
      reload: true,
    }),
    max_queue_bytes: z.number().int().min(16_384).max(1_073_741_824).default(1_048_576).meta({
      description: "Unacknowledged bytes that one session may keep. Past that it can no longer be resumed.",
      unit: "bytes",
      reload: true,
    }),
    max_queue_stanzas: z.number().int().min(10).max(1_000_000).default(10_000).meta({
      description: "The same in stanzas. The core's `max_unacked` counts too: the smaller one wins.",
      unit: "stanzas",
      reload: true,
    }),
    max_total_bytes: z.number().int().min(1_048_576).max(1_099_511_627_776).default(268_435_456).meta({
      description:
        "The same for all sessions together: a session that would pass it ends, and its core keeps what is unacknowledged.",
      unit: "bytes",
      reload: true,
    }),
    stand_in: z
      .boolean()
      .default(true)
      .meta({
        description:
          "Acknowledges to the core for clients without XEP-0198: what did not reach them stays with the core, which stores it " +
          "for their next login. Needs a core with XEP-0198.",
        reload: true,
      }),
    request_after_stanzas: z.number().int().min(1).max(1000).default(10).meta({
      description: "Asks the client for an acknowledgement after this many stanzas.",
      unit: "stanzas",
      reload: true,
    }),
    request_after: z.number().int().min(0).max(60_000).default(200).meta({
      description: "Asks after this time at the latest, when fewer stanzas came. 0: after each stanza.",
      unit: "ms",
      reload: true,
    }),
    ack_timeout: z.number().min(5).max(3600).default(60).meta({
      description: "A client that leaves a request unanswered for so long has lost its connection.",
      unit: "s",
      reload: true,
    }),
    probe_after: z.number().min(0).max(86_400).default(900).meta({
      description:
        "A client from which nothing came for so long is asked for an acknowledgement, to see whether it is there. 0: never.",
      unit: "s",
      reload: true,
    }),
    tombstone_time: z.number().min(0).max(2_592_000).default(86_400).meta({
      description: "How long an ended session's last count is kept, for clients that come back too late.",
      unit: "s",
      reload: true,
    }),
    max_tombstones: z.number().int().min(0).max(10_000_000).default(100_000).meta({
      description: "How many of them are kept; the oldest go first.",
      unit: "sessions",
      reload: true,
    }),
  })
  .prefault({})
  .meta({ description: "Acknowledgements and resumption towards the client (XEP-0198)." });

export type StreamManagementOptions = z.infer<typeof streamManagementOptions>;
