import { parseArgs } from "node:util";
import { ALL_CORES, type CoreKind } from "../test/support/cores/index.ts";
import { soak } from "../test/support/soak/engine.ts";
import { ensureDebianPackages, MachineError } from "./machine.mjs";

const USAGE = `Usage: npm run soak -- [options]

Clients chat in pairs through edges that are killed, frozen and drained, with a real server and a Redis that break, too.
Prints each fault as it happens, and at the end whether a message was lost, doubled or out of order, or a session ended
that should not have. Exit code 0: all is well, 1: it is not.

  --minutes N      how long, for each server (default 5)
  --core KIND      ${ALL_CORES.join(", ")}; may be given more than once (default: each in turn)
  --seed N         replays the faults of an earlier run (default: a new one, which is printed)
  --clients N      default 400
  --edges N        default 2
  --reattach       edges attach sessions again whose connections to the server were cut (ejabberd only)
  --logs DIR       keep the logs of the edges and of the server there`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    core: { type: "string", multiple: true },
    seed: { type: "string" },
    clients: { type: "string", default: "400" },
    edges: { type: "string", default: "2" },
    reattach: { type: "boolean", default: false },
    logs: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

function refuse(text: string): never {
  console.error(`${text}\n\n${USAGE}`);
  process.exit(2);
}

function number(name: "minutes" | "seed" | "clients" | "edges", text: string, least: number, whole = true): number {
  const value = Number(text);
  if (!(value >= least) || (whole && !Number.isSafeInteger(value)))
    refuse(`--${name} ${text}: expected ${whole ? "a whole number" : "a number"} from ${least} on`);
  return value;
}

if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const kinds = values.core ?? ALL_CORES;
for (const kind of kinds)
  if (!ALL_CORES.includes(kind as CoreKind)) refuse(`--core ${kind}: ${ALL_CORES.join(" or ")}`);
const seconds = number("minutes", values.minutes, 0, false) * 60;
const seed = values.seed === undefined ? Date.now() % 1_000_000 : number("seed", values.seed, 0);
const clients = number("clients", values.clients, 2);
if (clients % 2 === 1) refuse(`--clients ${clients}: they chat in pairs, so give an even number`);
const edges = number("edges", values.edges, 1);

try {
  ensureDebianPackages([...kinds, "redis-server"]);
} catch (error) {
  if (!(error instanceof MachineError)) throw error;
  console.error(error.message);
  process.exit(1);
}
let well = true;
for (const kind of kinds as readonly CoreKind[]) {
  console.log(`\n${kind}: ${clients} clients, ${edges} edges, ${seconds} s, seed ${seed}`);
  const { chat, reasons, faults, stored, violations } = await soak({
    kind,
    seconds,
    seed,
    clients,
    edges,
    reattach: values.reattach && kind === "ejabberd",
    logs: values.logs,
    say: console.log,
  });
  const { sent, delivered, lost, doubled, reordered, reorderedByCore, repeated, cuts, resumes, sleeps, ended } = chat;
  console.log(`\n${faults} faults, ${cuts} cuts, ${sleeps} sleeps, ${resumes} resumes, ${ended.length} sessions ended`);
  console.log(
    `${sent} messages sent, ${delivered} delivered, ${lost} lost, ${doubled} doubled, ${reordered} reordered`,
  );
  if (reorderedByCore > 0) console.log(`${reorderedByCore} left the core out of order already`);
  if (repeated > 0) console.log(`${repeated} came twice, as their senders were not told that they had arrived`);
  console.log(`${stored} stanzas at least were kept in Redis`);
  console.log(`edges let go of sessions: ${JSON.stringify(reasons)}`);
  for (const line of violations) console.log(`WRONG  ${line}`);
  console.log(
    violations.length === 0 ? `${kind}: all is well` : `${kind}: NOT well; --seed ${seed} replays the faults`,
  );
  well &&= violations.length === 0;
}
process.exitCode = well ? 0 : 1;
