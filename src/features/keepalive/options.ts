import { z } from "zod";

export const keepaliveOptions = z
  .strictObject({
    whitespace_interval: z
      .number()
      .min(0)
      .max(86_400)
      .default(270)
      .meta({
        description:
          "Sends a space to a client after so much silence in both directions, so that routers on the way keep the " +
          "connection (many forget it after 5 minutes). 0: never.",
        unit: "s",
        reload: true,
      }),
    tcp_keepalive: z.number().int().min(0).max(7200).default(60).meta({
      description: "Lets the kernel probe a silent connection after this time. 0: never.",
      unit: "s",
      reload: true,
    }),
    link_timeout: z
      .number()
      .min(0)
      .max(604_800)
      .default(1800)
      .meta({
        description:
          "A connection from which nothing came for so long is dropped; its session waits to be resumed. The client is " +
          "asked for a sign of life half-way, so that a healthy one never gets here. 0: never.",
        unit: "s",
        reload: true,
      }),
  })
  .prefault({})
  .meta({ description: "How silent connections are kept open, and when they are given up." });

export type KeepaliveOptions = z.infer<typeof keepaliveOptions>;
