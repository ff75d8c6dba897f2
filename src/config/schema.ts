import type { z } from "zod";
import { logOptions } from "../base/options.ts";
import { workersOptions } from "../cli/options.ts";
import { httpOptions, limitsOptions, listenersOptions } from "../edge/options.ts";
import { keepaliveOptions } from "../features/keepalive/options.ts";
import { streamManagementOptions } from "../features/stream-management/options.ts";
import { opsOptions } from "../ops/options.ts";
import { drainOptions, sessionOptions } from "../session/options.ts";
import { storeOptions } from "../store/options.ts";
import { tlsOptions } from "../tls/options.ts";
import { coresOptions } from "../upstream/options.ts";
import { domainsOptions } from "./domains.ts";

/** Every section of the file, in the order of docs/config.md. Each room brings its own. */
export const SECTIONS = {
  domains: domainsOptions,
  listeners: listenersOptions,
  cores: coresOptions,
  tls: tlsOptions,
  limits: limitsOptions,
  session: sessionOptions,
  stream_management: streamManagementOptions,
  keepalive: keepaliveOptions,
  http: httpOptions,
  store: storeOptions,
  drain: drainOptions,
  ops: opsOptions,
  log: logOptions,
  workers: workersOptions,
} as const;

export type SectionName = keyof typeof SECTIONS;

/** What the sections hold before they have been compared with each other. */
export type Sections = { [Name in SectionName]: z.infer<(typeof SECTIONS)[Name]> };

/** A domain whose core is known: the one that it names, or the only one. */
export type DomainConfig = Sections["domains"][number] & { core: string };

/** The whole configuration, valid and complete: defaults filled in, secrets fetched, paths absolute. */
export type Config = Omit<Sections, "domains"> & { domains: DomainConfig[] };
