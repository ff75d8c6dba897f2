import { z } from "zod";
import { filePath, secret } from "../base/option-types.ts";

/** One certificate and its key, as files in PEM. */
export const certificateOptions = z.strictObject({
  certificate: filePath().meta({
    description: "The certificate with its intermediate certificates (PEM, the domain's own first).",
    reload: true,
  }),
  key: filePath().meta({ description: "The private key (PEM).", reload: true }),
  key_passphrase: secret().optional().meta({ description: "Opens an encrypted private key.", reload: true }),
});

export type CertificateOptions = z.infer<typeof certificateOptions>;

export const tlsOptions = z
  .strictObject({
    min_version: z.enum(["TLSv1.2", "TLSv1.3"]).default("TLSv1.2").meta({
      description: "The oldest TLS version that a client may speak.",
      reload: true,
    }),
    ciphers: z.string().min(1).optional().meta({
      description: "Cipher suites in OpenSSL's notation. Absent: the ones that Node chooses.",
      reload: true,
    }),
    groups: z
      .string()
      .min(1)
      .default("X25519:P-256:P-384")
      .meta({
        description:
          "Key exchange groups in OpenSSL's notation, the preferred one first. Put X25519MLKEM768 in front to withstand " +
          "quantum computers: it takes 7 KB more memory for each connection and 1.1 KB more in each handshake.",
        reload: true,
      }),
    ticket_rotation: z.number().int().min(60).max(604_800).default(43_200).meta({
      description:
        "How often the key of the TLS session tickets changes. A ticket of an older key costs its client a full handshake.",
      unit: "s",
      reload: true,
    }),
    ticket_secret: secret({ min: 32 }).optional().meta({
      description:
        "Several edges with the same secret resume each other's TLS sessions. Absent: each process makes its own.",
      reload: true,
    }),
  })
  .prefault({})
  .meta({ description: "TLS towards the clients." });

export type TlsOptions = z.infer<typeof tlsOptions>;
