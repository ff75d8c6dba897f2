import { renameSync, writeFileSync } from "node:fs";
import type { Core } from "../../test/support/cores/index.ts";
import { BOSH_PATH, type DemoEdge, WEBSOCKET_PATH } from "./edge.ts";
import { type DemoOptions, HOST, PASSWORD, userNames } from "./options.ts";
import type { DemoRedis } from "./redis.ts";

const CORE_NAME = { prosody: "Prosody", ejabberd: "ejabberd" };

/** What the quickstart has started. */
export interface Started {
  /** Null: a core of somebody else. */
  readonly core: Core | null;
  /** At least one. */
  readonly edges: readonly DemoEdge[];
  /** Null beside one edge. */
  readonly redis: DemoRedis | null;
}

/** What runs, for people: endpoints, accounts, what to try. */
export function table(options: DemoOptions, started: Started): string {
  const { domain, upstream } = options;
  const { core, edges, redis } = started;
  const front = core === null ? upstream : `${CORE_NAME[core.kind]}, which listens on ${HOST}:${core.port}`;
  const rows: [string, string][] = [
    ...(edges.length === 1 ? rowsOfOne(edges[0]!) : []),
    ["domain", core === null ? domain : `${domain}, rooms at conference.${domain}`],
    ["accounts", accountText(options)],
    ["authority", `${edges[0]!.ca} (clients must trust it)`],
    ...(edges.length === 1 ? ownFilesOfOne(edges[0]!) : []),
  ];
  if (redis !== null) rows.push(["Redis", `${HOST}:${redis.port}, process ${redis.pid}`]);
  if (core !== null) rows.push(["core's files", core.dir]);
  const lines = rows.map(([what, text]) => `  ${what.padEnd(13)}${text}`);
  const several = edges.length === 1 ? [] : [...rowsOfSeveral(edges), ""];
  const up = edges.length === 1 ? "Breakwater is up" : `${edges.length} edges of Breakwater are up`;
  return [`${up}, in front of ${front}.`, "", ...several, ...lines, "", ...tryIt(options, edges)].join("\n");
}

function rowsOfOne(edge: DemoEdge): [string, string][] {
  return [
    ["STARTTLS", `${HOST}:${edge.starttls}`],
    ["Direct TLS", `${HOST}:${edge.tls}`],
    ["WebSocket", edge.websocketUrl],
    ["BOSH", edge.boshUrl],
  ];
}

function ownFilesOfOne(edge: DemoEdge): [string, string][] {
  return [
    ["metrics", edge.metricsUrl],
    ["log", edge.logFile],
  ];
}

function rowsOfSeveral(edges: readonly DemoEdge[]): string[] {
  const head = ["edge", "process", "STARTTLS", "Direct TLS", "HTTPS", "metrics", "log"];
  const rows = edges.map((edge, i) => [i + 1, edge.pid, edge.starttls, edge.tls, edge.https, edge.ops, edge.logFile]);
  const lines = [head, ...rows].map(
    (cells) =>
      `  ${cells
        .map((cell) => String(cell).padEnd(12))
        .join("")
        .trimEnd()}`,
  );
  return [...lines, `  ports of ${HOST}; HTTPS has WebSocket at ${WEBSOCKET_PATH} and BOSH at ${BOSH_PATH}`];
}

function accountText({ accounts, domain }: DemoOptions): string {
  const jids = userNames(accounts).map((user) => `${user}@${domain}`);
  if (jids.length === 0) return "those of the core";
  const shown = jids.length <= 3 ? jids.join(", ") : `${jids[0]} … ${jids.at(-1)}`;
  return `${shown}, password "${PASSWORD}"`;
}

function tryIt(options: DemoOptions, edges: readonly DemoEdge[]): string[] {
  return [...inBrowser(options, edges[0]!), ...inTerminals(options, edges), ...killIt(edges)];
}

function inBrowser({ accounts }: DemoOptions, edge: DemoEdge): string[] {
  return [
    `Try it in a browser: ${edge.pageUrl} ${accounts > 1 ? "is a chat of two" : "logs you in"}. The browser will warn of the`,
    "certificate, which is made anew for each run: Advanced, then Proceed (Firefox: Accept the Risk). Its SHA-256 is",
    `  ${edge.fingerprint}`,
    "",
  ];
}

function inTerminals({ accounts, domain }: DemoOptions, edges: readonly DemoEdge[]): string[] {
  const [me, peer] = accounts > 0 ? userNames(2) : ["USER", "OTHER"];
  const password = accounts > 0 ? "" : " --password PASSWORD";
  const command = (from: string, to: string, first: number) =>
    `  node scripts/chat.mjs ${from}@${domain} ${to}@${domain}${portOption(edges, first)}${password}`;
  const trust = `  export NODE_EXTRA_CA_CERTS=${edges[0]!.ca}`;
  if (accounts === 1) return ["Or in another terminal, in this folder:", trust, command(me!, me!, 0), ""];
  return ["Or in two other terminals, in this folder:", trust, command(me!, peer!, 0), command(peer!, me!, 1), ""];
}

/** The edge to begin with, then the others. */
function portOption(edges: readonly DemoEdge[], first: number): string {
  const ports = edges.map((_, i) => edges[(first + i) % edges.length]!.starttls);
  return ports.length === 1 && ports[0] === 5222 ? "" : ` --port ${ports}`;
}

function killIt(edges: readonly DemoEdge[]): string[] {
  if (edges.length === 1) return [];
  const kills = edges.map((edge) => `kill -9 ${edge.pid}`);
  return [
    `Then, while both write: ${kills.join(", or ")}. Whoever was on that edge goes on at another one with the`,
    "same session, and nothing is missing. The edge is started again; a page of it in a browser waits for that.",
    "",
  ];
}

/** The same for programs. The file appears complete or not at all. */
export function writeJson(options: DemoOptions, { core, edges, redis }: Started): void {
  if (options.json === null) return;
  const { domain, accounts } = options;
  const [edge] = edges as readonly [DemoEdge];
  const facts = {
    domain,
    ...endpoints(edge),
    accounts: userNames(accounts).map((user) => ({ jid: `${user}@${domain}`, password: PASSWORD })),
    ca: edge.ca,
    metrics: edge.metricsUrl,
    edges: edges.map((each) => ({ ...endpoints(each), metrics: each.metricsUrl, pid: each.pid })),
    redis: redis && { host: HOST, port: redis.port, pid: redis.pid },
    pids: { edge: edge.pid, core: core?.pid ?? null },
  };
  const draft = `${options.json}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(facts, null, 2)}\n`);
  renameSync(draft, options.json);
}

function endpoints(edge: DemoEdge) {
  return {
    starttls: { host: HOST, port: edge.starttls },
    tls: { host: HOST, port: edge.tls },
    https: { host: HOST, port: edge.https, websocket: edge.websocketUrl, bosh: edge.boshUrl },
  };
}
