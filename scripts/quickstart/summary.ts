import { renameSync, writeFileSync } from "node:fs";
import type { Core } from "../../test/support/cores/index.ts";
import type { DemoEdge } from "./edge.ts";
import { HOST, PASSWORD, type QuickstartOptions, userNames } from "./options.ts";

const CORE_NAME = { prosody: "Prosody", ejabberd: "ejabberd" };

/** What runs, for people: endpoints, accounts, what to try. */
export function table(options: QuickstartOptions, core: Core | null, edge: DemoEdge): string {
  const { domain, upstream } = options;
  const front = core === null ? upstream : `${CORE_NAME[core.kind]}, which listens on ${HOST}:${core.port}`;
  const rows: [string, string][] = [
    ["STARTTLS", `${HOST}:${edge.starttls}`],
    ["Direct TLS", `${HOST}:${edge.tls}`],
    ["WebSocket", edge.websocketUrl],
    ["BOSH", edge.boshUrl],
    ["domain", core === null ? domain : `${domain}, rooms at conference.${domain}`],
    ["accounts", accountText(options)],
    ["authority", `${edge.ca} (clients must trust it)`],
    ["metrics", edge.metricsUrl],
    ["log", edge.logFile],
  ];
  if (core !== null) rows.push(["core's files", core.dir]);
  const lines = rows.map(([what, text]) => `  ${what.padEnd(13)}${text}`);
  return [`Breakwater is up, in front of ${front}.`, "", ...lines, "", ...tryIt(options, edge)].join("\n");
}

function accountText({ accounts, domain }: QuickstartOptions): string {
  const jids = userNames(accounts).map((user) => `${user}@${domain}`);
  if (jids.length === 0) return "those of the core";
  const shown = jids.length <= 3 ? jids.join(", ") : `${jids[0]} … ${jids.at(-1)}`;
  return `${shown}, password "${PASSWORD}"`;
}

function tryIt(options: QuickstartOptions, edge: DemoEdge): string[] {
  return [...inBrowser(options, edge), ...inTerminals(options, edge)];
}

function inBrowser({ accounts }: QuickstartOptions, edge: DemoEdge): string[] {
  return [
    `Try it in a browser: ${edge.pageUrl} ${accounts > 1 ? "is a chat of two" : "logs you in"}. The browser will warn of the`,
    "certificate, which is made anew for each run: Advanced, then Proceed (Firefox: Accept the Risk). Its SHA-256 is",
    `  ${edge.fingerprint}`,
    "",
  ];
}

function inTerminals({ accounts, domain }: QuickstartOptions, edge: DemoEdge): string[] {
  const [me, peer] = accounts > 0 ? userNames(2) : ["USER", "OTHER"];
  const port = edge.starttls === 5222 ? "" : ` --port ${edge.starttls}`;
  const password = accounts > 0 ? "" : " --password PASSWORD";
  const command = (from: string, to: string) =>
    `  node scripts/chat.mjs ${from}@${domain} ${to}@${domain}${port}${password}`;
  if (accounts === 1) return ["Or in another terminal, in this folder:", ...trusting(edge), command(me!, me!), ""];
  return [
    "Or in two other terminals, in this folder:",
    ...trusting(edge),
    command(me!, peer!),
    command(peer!, me!),
    "",
  ];
}

function trusting(edge: DemoEdge): string[] {
  return [`  export NODE_EXTRA_CA_CERTS=${edge.ca}`];
}

/** The same for programs. The file appears complete or not at all. */
export function writeJson(options: QuickstartOptions, core: Core | null, edge: DemoEdge): void {
  if (options.json === null) return;
  const { domain, accounts } = options;
  const facts = {
    domain,
    starttls: { host: HOST, port: edge.starttls },
    tls: { host: HOST, port: edge.tls },
    https: { host: HOST, port: edge.https, websocket: edge.websocketUrl, bosh: edge.boshUrl },
    accounts: userNames(accounts).map((user) => ({ jid: `${user}@${domain}`, password: PASSWORD })),
    ca: edge.ca,
    metrics: edge.metricsUrl,
    pids: { edge: edge.pid, core: core?.pid ?? null },
  };
  const draft = `${options.json}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(facts, null, 2)}\n`);
  renameSync(draft, options.json);
}
