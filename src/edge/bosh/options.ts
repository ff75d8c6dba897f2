import { z } from "zod";
import { httpPath, wholeSeconds } from "../option-types.ts";

export const boshOptions = z
  .strictObject({
    path: httpPath("/http-bind").meta({
      description: "Where BOSH clients send their requests (XEP-0124).",
      reload: false,
    }),
    max_wait: wholeSeconds(1, 600, 60).meta({
      description:
        "How long a request may be held when there is nothing for the client, below the idle timeout of any proxy on " +
        "the way. A client may ask for less.",
      unit: "s",
      reload: true,
    }),
    inactivity: wholeSeconds(5, 3600, 60).meta({
      description: "Without any request for so long the link is lost. Twice as long for clients that poll.",
      unit: "s",
      reload: true,
    }),
    max_pause: wholeSeconds(5, 3600, 120).meta({
      description: "How long a client may announce to be away, say while its page changes.",
      unit: "s",
      reload: true,
    }),
    polling: wholeSeconds(1, 60, 5).meta({
      description: "How far apart a client's requests for nothing should be. A few may come faster.",
      unit: "s",
      reload: true,
    }),
    compress_from: z.number().int().min(0).max(1_048_576).default(1024).meta({
      description:
        "Compresses answers from this size on (gzip) for clients that have logged in and accept it. 0: never.",
      unit: "bytes",
      reload: true,
    }),
  })
  .prefault({})
  .meta({ description: "XMPP over HTTP requests, where neither TCP nor WebSocket gets through." });

export type BoshOptions = z.infer<typeof boshOptions>;
