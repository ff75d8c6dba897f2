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
    write_timeout: z.number().min(10).max(3600).default(120).meta({
      description:
        "A client that takes nothing of what is written to it for so long has lost its connection, or never reads.",
      unit: "s",
      reload: true,
    }),
    tcp_keepalive: z
      .number()
      .int()
      .min(0)
      .max(7200)
      .default(0)
      .meta({
        description:
          "Lets the kernel probe a silent connection after this time, and drop it when it gets no answer for 10 s. Finds " +
          "lost connections of clients without stream management sooner, at the price of waking phones. 0: never.",
        unit: "s",
        reload: true,
      }),
  })
  .prefault({})
  .meta({ description: "How silent connections are kept open, and when they are given up." });

export type KeepaliveOptions = z.infer<typeof keepaliveOptions>;
