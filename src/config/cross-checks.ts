import { nearest } from "./mistakes.ts";
import { type OptionPath, pathText } from "./option-tree.ts";
import type { Sections } from "./schema.ts";
import { workersFit } from "./workers-check.ts";

type Tell = (path: OptionPath, message: string) => void;

/** Of each section what is valid by itself. A domain that is not wholly valid has no `certificates`. */
export interface Draft {
  readonly workers?: number | undefined;
  readonly domains?: readonly Partial<Sections["domains"][number]>[] | undefined;
  readonly listeners?: readonly Partial<Sections["listeners"][number]>[] | undefined;
  readonly cores?: readonly Partial<Sections["cores"][number]>[] | undefined;
  readonly limits?: Partial<Sections["limits"]> | undefined;
  readonly stream_management?: Partial<Sections["stream_management"]> | undefined;
  readonly store?: Partial<Sections["store"]> | undefined;
  readonly ops?: Partial<Sections["ops"]> | undefined;
}

/** What no section can know alone. Where a value is absent because it is wrong, its consequences are not told. */
export function crossCheck(draft: Draft, tell: Tell): void {
  const { domains = [], listeners = [], cores = [] } = draft;
  noneTwice(domains, (i) => ["domains", i, "name"], "the domain", tell);
  noneTwice(cores, (i) => ["cores", i, "name"], "the core", tell);
  domainsHaveCores(domains, cores, tell);
  domainsHaveCertificates(domains, listeners, tell);
  placesAreFree(listeners, draft.ops, tell);
  balancersFit(listeners, tell);
  for (const [i, { tls, connect }] of cores.entries()) {
    if (tls && connect && connect.transport !== "tls")
      tell(["cores", i, "tls"], `has no use: \`connect\` says ${connect.transport}, not tls://`);
  }
  reattachFits(draft, tell);
  boundsFit(draft, tell);
  if (draft.store) storeFits(draft.store, draft.stream_management, tell);
  workersFit(draft, tell);
}

function noneTwice(
  items: readonly { name?: string | undefined }[],
  path: (i: number) => OptionPath,
  what: string,
  tell: Tell,
): void {
  const seen = new Set<string>();
  for (const [i, { name }] of items.entries()) {
    if (name === undefined) continue;
    if (seen.has(name)) tell(path(i), `${what} ${JSON.stringify(name)} is here twice`);
    seen.add(name);
  }
}

function domainsHaveCores(
  domains: NonNullable<Draft["domains"]>,
  cores: NonNullable<Draft["cores"]>,
  tell: Tell,
): void {
  const names = cores.flatMap(({ name }) => name ?? []);
  if (names.length === 0 || names.length < cores.length) return;
  const several = new Set(names).size > 1;
  for (const [i, { core, certificates }] of domains.entries()) {
    if (core === undefined) {
      if (several && certificates)
        tell(["domains", i], `needs \`core\`, as there are several: one of ${names.join(", ")}`);
    } else if (!names.includes(core)) {
      const near = nearest(core, names);
      const hint = near ? `did you mean ${JSON.stringify(near)}?` : `there is ${names.join(", ")}`;
      tell(["domains", i, "core"], `no core is named ${JSON.stringify(core)}; ${hint}`);
    }
  }
}

function domainsHaveCertificates(
  domains: NonNullable<Draft["domains"]>,
  listeners: NonNullable<Draft["listeners"]>,
  tell: Tell,
): void {
  const encrypted = listeners.findIndex(({ kind }) => kind !== undefined && kind !== "plaintext" && kind !== "http");
  if (encrypted < 0) return;
  const why = `as listeners[${encrypted}] is ${listeners[encrypted]?.kind}`;
  for (const [i, { certificates }] of domains.entries()) {
    if (certificates?.length === 0) tell(["domains", i], `needs \`certificate\` and \`key\`, ${why}`);
  }
}

function balancersFit(listeners: NonNullable<Draft["listeners"]>, tell: Tell): void {
  for (const [i, { kind, forwarded, proxy_protocol }] of listeners.entries()) {
    if (forwarded === undefined || kind === undefined) continue;
    if (kind !== "http" && kind !== "https")
      tell(["listeners", i, "forwarded"], `has no use: ${kind} is not for HTTP balancers; they reach http or https`);
    else if (proxy_protocol)
      tell(["listeners", i, "forwarded"], "stands beside `proxy_protocol`: write the one or the other");
  }
}

interface Place {
  readonly path: OptionPath;
  readonly host: string;
  readonly port: number;
}

function placesAreFree(listeners: NonNullable<Draft["listeners"]>, ops: Draft["ops"], tell: Tell): void {
  const places: Place[] = listeners.flatMap(({ listen }, i) =>
    listen ? { path: ["listeners", i, "listen"], ...listen } : [],
  );
  // first, as it may be a default: the mistake is then told at the listener, which is written
  if (ops?.listen) places.unshift({ path: ["ops", "listen"], ...ops.listen });
  for (const [i, place] of places.entries()) {
    const other = places.slice(0, i).find((earlier) => collide(earlier, place));
    if (other) tell(place.path, `port ${place.port} is taken by ${pathText(other.path)}`);
  }
}

/** Whether the kernel would refuse the second of the two. Port 0 is any free one. */
function collide(a: Place, b: Place): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  if (a.host === b.host || a.host === "::" || b.host === "::") return true;
  const v4 = (host: string) => /^[\d.]+$/.test(host);
  return (a.host === "0.0.0.0" && v4(b.host)) || (b.host === "0.0.0.0" && v4(a.host));
}

function boundsFit({ limits = {}, stream_management: sm = {} }: Draft, tell: Tell): void {
  const [before, after] = [limits.before_login?.max_bytes ?? 0, limits.after_login?.max_bytes ?? Infinity];
  if (before > after)
    tell(["limits", "before_login", "max_bytes"], `may not exceed limits.after_login.max_bytes (${after})`);
  const [each, all] = [sm.max_queue_bytes ?? 0, sm.max_total_bytes ?? Infinity];
  if (each > all) tell(["stream_management", "max_queue_bytes"], `may not exceed max_total_bytes (${all})`);
}

function reattachFits({ cores = [], stream_management: sm }: Draft, tell: Tell): void {
  for (const [i, { reattach }] of cores.entries()) {
    if (reattach === undefined) continue;
    const path = ["cores", i, "reattach"];
    const { api, username, password, bearer, ca } = reattach;
    if (sm && sm.resume_secret === undefined)
      tell(path, "needs `stream_management.resume_secret`: only such sessions are counted as the core counts them");
    if ((username === undefined) !== (password === undefined))
      tell([...path, username ? "username" : "password"], `needs \`${username ? "password" : "username"}\` beside it`);
    else if (username !== undefined && bearer !== undefined)
      tell([...path, "bearer"], "stands beside `username`: write the one or the other");
    if (ca !== undefined && api?.startsWith("http:")) tell([...path, "ca"], "has no use: `api` says http, not https");
  }
}

function storeFits(store: Partial<Sections["store"]>, sm: Draft["stream_management"], tell: Tell): void {
  if (store.driver === "redis" && sm?.enabled && sm.resume_secret === undefined)
    tell(
      ["store", "driver"],
      "redis needs `stream_management.resume_secret`: without it nobody could find what is stored",
    );
  const redis: Partial<Sections["store"]["redis"]> = store.redis ?? {};
  const { mode, nodes, master_name, db, username, password, sentinel_username, sentinel_password } = redis;
  const wrong = (key: string, message: string) => tell(["store", "redis", ...key.split(".")], message);
  if (mode === "single" && nodes && nodes.length > 1)
    wrong("nodes", "has several, as for `mode: sentinel` or `mode: cluster`; a single Redis is one");
  if (mode === "sentinel" && !master_name) wrong("mode", "needs `master_name`: how the Sentinels call the master");
  if (mode === "cluster" && db) wrong("db", `a Redis Cluster has only 0, not ${db}`);
  if (mode && mode !== "sentinel") {
    const stray = { master_name, sentinel_username, sentinel_password };
    for (const [key, value] of Object.entries(stray))
      if (value !== undefined) wrong(key, `has no use: the mode is ${mode}, not sentinel`);
  }
  if (username !== undefined && !password) wrong("username", "needs `password` beside it");
  if (sentinel_username !== undefined && !sentinel_password)
    wrong("sentinel_username", "needs `sentinel_password` beside it");
  const tls: Partial<Sections["store"]["redis"]["tls"]> = redis.tls ?? {};
  const { enabled, certificate, key, ca, servername } = tls;
  if (enabled === false) {
    for (const [name, value] of Object.entries({ ca, servername, certificate, key }))
      if (value !== undefined) wrong(`tls.${name}`, "has no use: `enabled` beside it is false");
  } else if ((certificate === undefined) !== (key === undefined))
    wrong(certificate ? "tls.certificate" : "tls.key", `needs \`${certificate ? "key" : "certificate"}\` beside it`);
}
