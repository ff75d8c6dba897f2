import { z } from "zod";

export const sessionOptions = z
  .strictObject({
    open_timeout: z.number().min(1).max(300).default(10).meta({
      description: "How long a client may take to open its stream, with the TLS handshake on a `tls` listener.",
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

export type SessionOptions = z.infer<typeof sessionOptions>;
