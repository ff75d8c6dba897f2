import { z } from "zod";
import { certificateOptions } from "../tls/options.ts";
import { coreName } from "../upstream/options.ts";

const pair = certificateOptions.shape;

/** A domain as it is written: one certificate beside the name, or a list of them. */
const written = z.strictObject({
  name: z
    .string()
    .max(1023)
    .regex(/^[^\s@/:"'&<>]+$/u)
    .transform((name) => name.normalize("NFC").toLowerCase().replace(/\.$/, ""))
    .meta({
      description: "The domain in the addresses of its users, `user@example.org`. Clients name it in SNI and in `to`.",
      expected: 'a domain name such as "example.org"',
      reload: true,
    }),
  core: coreName.optional().meta({
    description: "The `name` of the core that serves it. May be absent when there is only one.",
    expected: "the name of a core",
    reload: true,
  }),
  certificate: pair.certificate.optional(),
  key: pair.key.optional(),
  key_passphrase: pair.key_passphrase,
  certificates: z.array(certificateOptions).min(1).optional().meta({
    description: "Several certificates, for example ECDSA and RSA, in place of `certificate` and `key`.",
    reload: true,
  }),
});

/** A domain as the program reads it: `certificates` holds all of them, whichever way they were written. */
export const domainOptions = written.transform((domain, context) => {
  const { certificate, key, key_passphrase, certificates = [], ...rest } = domain;
  const wrong = (key: string, message: string) => context.addIssue({ code: "custom", message, path: [key] });
  if (certificate && !key) wrong("certificate", "needs `key` beside it");
  if (key && !certificate) wrong("key", "needs `certificate` beside it");
  if (key_passphrase && !key) wrong("key_passphrase", "needs `key` beside it");
  if ((certificate || key) && certificates.length > 0)
    wrong("certificates", "stands beside `certificate` and `key`: write the one or the other");
  const one = certificate && key ? [{ certificate, key, ...(key_passphrase && { key_passphrase }) }] : [];
  return { ...rest, certificates: [...one, ...certificates] };
});

export const domainsOptions = z
  .array(domainOptions)
  .min(1)
  .meta({ description: "The domains whose users connect here. Several may share a port." });
