// The command line of the quickstart. Plain JavaScript: it is read before anything is installed.

import { accessSync, constants, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EDGE_STEP } from "./ports.mjs";

/** The command line is wrong; the message says how it would be right. */
export class UsageError extends Error {}

const STARTABLE = ["prosody", "ejabberd"];
const KINDS = [...STARTABLE, "tigase", "openfire", "mongooseim", "other"];
const DEFAULT_PORTS = { starttls: 5222, tls: 5223, https: 5443, ops: 9090 };
const MAX_ACCOUNTS = 100_000;
const MAX_EDGES = 4;
const MAX_PORT = 65_535;

export const HELP = `npm run quickstart -- [options]

Starts an XMPP server (the core) on loopback, Breakwater in front of it with a development certificate, makes accounts
to try, and shows what goes on. https://localhost:5443/ lets the first two chat in a browser. Installs what is missing
first. Ctrl-C stops all that it started.

  --core KIND        the core to start: prosody (default) or ejabberd, from Debian's package, with data of its own
  --upstream ADDRESS start no core: front the one at tcp://HOST:PORT, tls://HOST:PORT or unix:/PATH. Needs --domain.
                     --core then tells what it is: ${KINDS.join(", ")}
  --domain NAME      the domain of the accounts (default: localhost)
  --accounts N       make user1 … userN, all with the password "pw" (default: 2). With --upstream nothing is made:
                     N accounts of that kind must be there
  --ports LIST       where Breakwater listens, on 127.0.0.1; 0 is any free port. Default:
                     starttls=5222,tls=5223,https=5443,ops=9090 (https: WebSocket at /ws, BOSH at /http-bind, and the
                     page, which takes BOSH with /?transport=bosh)
  --edges N          start N edges beside each other (default: 1, at most ${MAX_EDGES}) with a Redis from Debian, each at the ports of
                     the one before + ${EDGE_STEP}. Kill one with kill -9 while accounts chat: its clients go on at another,
                     and it is started again
  --json FILE        once everything is ready, write domain, endpoints, accounts, authority, metrics address,
                     edges, Redis and process ids to FILE, and again whenever one of them has been started again
  --help             this text

Examples:
  npm run quickstart
  npm run quickstart -- --core ejabberd --accounts 10
  npm run quickstart -- --edges 2
  npm run quickstart -- --upstream tcp://127.0.0.1:14322 --domain example.org --core prosody
  npm run quickstart -- --ports starttls=15222,tls=15223,https=15443,ops=19090 --json demo.json`;

const OPTIONS = ["core", "upstream", "domain", "accounts", "ports", "edges", "json"];

/** What is asked for, complete and checked as far as that is possible without a look at the machine; or "help". */
export function readOptions(args) {
  const given = valuesOf(args);
  if (given.help) return "help";
  const upstream = given.upstream === undefined ? null : upstreamOf(given.upstream);
  if (upstream !== null && given.domain === undefined) {
    throw new UsageError(`--upstream needs --domain: which domain does the core at ${upstream} serve?`);
  }
  return {
    core: coreOf(given.core, upstream),
    upstream,
    domain: given.domain === undefined ? "localhost" : domainOf(given.domain),
    accounts: accountsOf(given.accounts, upstream),
    edges: portsOfEdges(portsOf(given.ports ?? ""), edgesOf(given.edges)),
    json: given.json === undefined ? null : fileOf(given.json),
  };
}

function valuesOf(args) {
  const options = Object.fromEntries(OPTIONS.map((name) => [name, { type: "string" }]));
  options.help = { type: "boolean", short: "h" };
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true });
  const values = {};
  for (const token of tokens) {
    if (token.kind === "positional") throw new UsageError(`"${token.value}" belongs to no option. ${SEE_HELP}`);
    if (token.kind !== "option") continue;
    if (!(token.name in options))
      throw new UsageError(`there is no ${token.rawName}${hint(token.name, OPTIONS, "--")}`);
    // A value that begins like an option is a forgotten value: none of ours does.
    const missing = token.name !== "help" && (!token.value || token.value.startsWith("--"));
    if (missing) throw new UsageError(`${token.rawName} needs a value. ${SEE_HELP}`);
    values[token.name] = token.value ?? true;
  }
  return values;
}

const SEE_HELP = "See npm run quickstart -- --help";

function coreOf(text, upstream) {
  const choice = upstream === null ? STARTABLE : KINDS;
  if (text === undefined) return upstream === null ? "prosody" : "other";
  if (choice.includes(text)) return text;
  if (KINDS.includes(text)) {
    throw new UsageError(`--core ${text}: the quickstart can start ${choice.join(" or ")}; name yours with --upstream`);
  }
  throw new UsageError(`there is no --core ${text}${hint(text, choice)}`);
}

function upstreamOf(text) {
  if (/^(?:tcp|tls):\/\/(?:\[[0-9A-Fa-f:.]+\]|[^/:[\]\s]+):\d+$/.test(text) || /^unix:./.test(text)) return text;
  throw new UsageError(`--upstream ${text}: write it as tcp://HOST:PORT, tls://HOST:PORT or unix:/PATH`);
}

function domainOf(text) {
  if (/^[^\s@/"'<>&:]{1,255}$/u.test(text)) return text;
  throw new UsageError(`--domain ${text}: write a domain name such as example.org`);
}

function accountsOf(text, upstream) {
  if (text === undefined) return upstream === null ? 2 : 0;
  const count = Number(text);
  if (/^\d+$/.test(text) && count <= MAX_ACCOUNTS) return count;
  throw new UsageError(`--accounts ${text}: write a number from 0 to ${MAX_ACCOUNTS}`);
}

function portsOf(text) {
  const ports = { ...DEFAULT_PORTS };
  const names = Object.keys(ports);
  for (const item of text.split(",").filter((part) => part !== "")) {
    const [name, port, ...more] = item.split("=");
    if (!names.includes(name)) throw new UsageError(`--ports has no "${name}"${hint(name, names)}`);
    if (more.length > 0 || !/^\d{1,5}$/.test(port ?? "") || Number(port) > MAX_PORT) {
      throw new UsageError(`--ports ${item}: write it as ${name}=${DEFAULT_PORTS[name]}`);
    }
    ports[name] = Number(port);
  }
  return ports;
}

function edgesOf(text = "1") {
  const count = Number(text);
  if (/^\d$/.test(text) && count >= 1 && count <= MAX_EDGES) return count;
  throw new UsageError(`--edges ${text}: write a number from 1 to ${MAX_EDGES}`);
}

/** The ports of each edge. Throws when there are not enough, or when two are the same. */
function portsOfEdges(first, count) {
  const owners = new Map();
  return Array.from({ length: count }, (_, i) => {
    const ports = Object.entries(first).map(([name, port]) => [name, port && port + i * EDGE_STEP]);
    for (const [name, port] of ports) {
      const owner = count === 1 ? name : `${name} of edge ${i + 1}`;
      if (port > MAX_PORT) {
        const highest = MAX_PORT - (count - 1) * EDGE_STEP;
        throw new UsageError(
          `--ports ${name}=${first[name]}: there is no port ${port} for edge ${i + 1}; ${highest} is the last`,
        );
      }
      const twin = owners.get(port);
      if (twin) throw new UsageError(`--ports gives port ${port} to both ${twin} and ${owner}: choose another one`);
      if (port !== 0) owners.set(port, owner);
    }
    return Object.fromEntries(ports);
  });
}

function fileOf(text) {
  // npm changes to the folder of the package; INIT_CWD is where the user was.
  const here = process.env.npm_lifecycle_event ? process.env.INIT_CWD : undefined;
  const file = resolve(here ?? process.cwd(), text);
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch {
    throw new UsageError(`--json ${text}: ${dirname(file)} is no folder that can be written`);
  }
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`--json ${text} is a folder`);
  return file;
}

function hint(word, known, prefix = "") {
  const ranked = known.map((name) => [distance(word, name), name]).sort(([a], [b]) => a - b);
  const [best, name] = ranked[0];
  if (best <= Math.max(1, Math.floor(name.length / 2))) return `; did you mean ${prefix}${name}?`;
  return `; there is ${known.map((each) => prefix + each).join(", ")}`;
}

/** Insertions, deletions and replacements between two words (Levenshtein). */
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[other.length];
}
