import { z } from "zod";
import { addressRange, listenAddress } from "../base/option-types.ts";
import { framerLimits } from "../xmpp/options.ts";
import { boshOptions } from "./bosh/options.ts";
import { httpPath, seconds } from "./option-types.ts";

export const listenerOptions = z.strictObject({
  kind: z.enum(["starttls", "tls", "plaintext", "https", "http", "all"]).meta({
    description:
      "`starttls`: RFC 6120, usually port 5222. `tls`: TLS from the first byte (XEP-0368), usually 5223 or 443. " +
      "`plaintext`: behind a balancer that has ended TLS; what comes in counts as encrypted. `https`: browsers. " +
      "`http`: browsers, behind a balancer that has ended TLS. `all`: `tls` and `https` on one port, usually 443.",
    reload: false,
  }),
  listen: listenAddress().meta({
    description: "Where clients connect. `:5222` is every address of the machine, IPv4 and IPv6.",
    reload: false,
  }),
  proxy_protocol: z
    .strictObject({
      trusted: z.array(addressRange()).min(1).meta({
        description:
          "The balancers: from these a PROXY header (version 1 or 2) is required, from anyone else it is refused.",
        reload: false,
      }),
    })
    .optional()
    .meta({ description: "Takes the client's address from the balancer in front (PROXY protocol)." }),
  forwarded: z
    .strictObject({
      header: z.enum(["x-forwarded-for", "forwarded"]).default("x-forwarded-for").meta({
        description: "The one header that the balancer writes; the other, which clients could set, is not read.",
        reload: false,
      }),
      trusted: z
        .array(addressRange())
        .min(1)
        .meta({
          description:
            "The balancers: the header is read from the right, through these only. Connections from anyone else are " +
            "refused.",
          reload: false,
        }),
    })
    .optional()
    .meta({ description: "Takes the client's address from the HTTP header of the balancer in front." }),
  backlog: z.number().int().min(1).max(65_535).default(1024).meta({
    description: "Connections that the kernel holds until they are accepted. The kernel's own limit still counts.",
    unit: "connections",
    reload: false,
  }),
});

export const listenersOptions = z
  .array(listenerOptions)
  .min(1)
  .meta({ description: "The ports that clients connect to." });

export type ListenerOptions = z.infer<typeof listenerOptions>;

export const limitsOptions = z
  .strictObject({
    max_connections: z.number().int().min(1).max(1_000_000).default(20_000).meta({
      description:
        "Clients that are connected at once. Each takes a second file descriptor for its stream to the core.",
      unit: "connections",
      reload: true,
    }),
    max_connections_per_ip: z.number().int().min(0).max(1_000_000).default(0).meta({
      description: "The same for one client address (IPv6: one /64 network). 0: no limit.",
      unit: "connections",
      reload: true,
    }),
    before_login: framerLimits(
      { maxBytes: 16_384, maxDepth: 16, maxElements: 64, maxAttributes: 32 },
      "What a client may send before it has logged in.",
    ),
    after_login: framerLimits(
      { maxBytes: 262_144, maxDepth: 100, maxElements: 10_000, maxAttributes: 100 },
      "What a client may send after it has logged in.",
    ),
  })
  .prefault({})
  .meta({ description: "What clients may cost." });

export type LimitsOptions = z.infer<typeof limitsOptions>;

function httpUrl(scheme: "ws" | "http") {
  const expected = `an address such as "${scheme}s://{domain}/…"`;
  return z
    .string()
    .regex(new RegExp(`^${scheme}s?://[^\\s"'<>]+$`))
    .meta({ expected });
}

export const httpOptions = z
  .strictObject({
    max_header_bytes: z.number().int().min(1024).max(65_536).default(8192).meta({
      description: "Size of the header of one request.",
      unit: "bytes",
      reload: false,
    }),
    max_requests: z.number().int().min(1).max(1_000_000).default(1000).meta({
      description: "Requests on one connection; after the last one it is closed.",
      reload: true,
    }),
    header_timeout: seconds(1, 300, 10).meta({
      description: "How long a new connection may take for the header of its first request, with the TLS handshake.",
      unit: "s",
      reload: true,
    }),
    body_timeout: seconds(1, 300, 20).meta({
      description: "How long a request may take to send its body. Longer for large ones: 2 KB/s will do.",
      unit: "s",
      reload: true,
    }),
    idle_timeout: seconds(1, 3600, 75).meta({
      description: "How long a connection may wait between an answer and the next request.",
      unit: "s",
      reload: true,
    }),
    write_timeout: seconds(1, 3600, 60).meta({
      description:
        "How long a client may take nothing of an answer until its connection is closed. Longer for large answers: 2 KB/s " +
        "will do.",
      unit: "s",
      reload: true,
    }),
    origins: z
      .array(z.string().regex(/^(\*|https?:\/\/[^\s/"'<>]+)$/))
      .default([])
      .meta({
        description:
          "Web sites whose pages may connect, besides those of the served domains (`https://` and the domain, any port): " +
          '`https://chat.example.com`, with a port where it is not the usual one, or `"*"` for all.',
        expected: 'an origin such as "https://chat.example.com", or "*"',
        reload: true,
      }),
    websocket: z
      .strictObject({
        path: httpPath("/ws").meta({ description: "Where WebSocket clients connect (RFC 7395).", reload: false }),
        ping_interval: z
          .number()
          .min(0)
          .max(3600)
          .default(30)
          .meta({
            description:
              "Pings a WebSocket client after so much silence in either direction: it shows whether the client is there, " +
              "and proxies on the way keep the connection (many forget it after 60 s). 0: never.",
            unit: "s",
            reload: true,
          }),
        pong_timeout: seconds(1, 600, 30).meta({
          description: "How long the answer may take until the connection counts as lost.",
          unit: "s",
          reload: true,
        }),
        compression: z
          .enum(["off", "after_login", "always"])
          .default("off")
          .meta({
            description:
              "Compression of messages (permessage-deflate, RFC 7692), for connections that begin from now on. " +
              "`after_login`: a client that compresses before it has logged in is refused; pages, which would, are " +
              "given none. `always`: for pages too, and strangers may make the edge inflate up to " +
              "`limits.before_login.max_bytes`.",
            reload: true,
          }),
        see_other_uri: httpUrl("ws").optional().meta({
          description:
            "Where clients are sent when this edge stops (RFC 7395 §3.6.1). Absent: they find out by themselves.",
          reload: true,
        }),
      })
      .prefault({})
      .meta({ description: "XMPP over WebSocket." }),
    bosh: boshOptions,
    host_meta: z
      .strictObject({
        websocket: httpUrl("ws")
          .optional()
          .meta({
            description:
              "The WebSocket address that clients are told. `{domain}` stands for the XMPP domain. Absent: `wss://`, the " +
              "host that was asked, and the path above.",
            reload: true,
          }),
        bosh: httpUrl("http").optional().meta({
          description: "The same for BOSH. Absent: `https://`, the host that was asked, and the path of `bosh`.",
          reload: true,
        }),
      })
      .prefault({})
      .meta({ description: "What `/.well-known/host-meta` and `.json` tell of each domain (XEP-0156)." }),
  })
  .prefault({})
  .meta({ description: "What browsers' connections may cost, and what they find (listeners `https`, `http`, `all`)." });

export type HttpOptions = z.infer<typeof httpOptions>;
