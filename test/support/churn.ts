import type { CoreWitness } from "./core-witness.ts";
import type { Core } from "./cores/index.ts";
import { type Gate, newTally, Phone, type Sleep, type Tally, type Transport, type Trouble } from "./phone.ts";
import { Random } from "./random.ts";
import { WeakLink } from "./weak-link.ts";

export interface ChurnOptions {
  core: Pick<Core, "domain" | "registerAll">;
  /** Where clients connect: drawn anew for each connection when there are several. */
  edges: readonly { tls: number; all: number; ca: string }[];
  /** What else happens until then (`Date.now()`). Resolves when everything is whole again, some time later. */
  faults?: (crowd: Crowd, until: number) => Promise<void>;
  /** What clients connect by, drawn anew for each connection. Default TCP. */
  transports?: readonly Transport[];
  /** Stands between the edges and the core. */
  witness: CoreWitness;
  clients: number;
  seconds: number;
  seed: number;
  /** Mean time between two cuts of one client's link, in ms. Default 3000. */
  cutEveryMs?: number;
  /** Mean time between two messages of one client, in ms. Default 500. */
  sendEveryMs?: number;
  trouble?: Trouble;
  /** Every so many pairs one of the two sleeps at times. */
  sleep?: Sleep & { everyPairs: number };
  /** Whether clients whose session has ended log in anew; otherwise they give up. */
  logInAnew?: boolean;
}

/** The clients while they chat, for those who look on. */
export interface Crowd {
  readonly gates: readonly Gate[];
  readonly tally: Tally;
  /** What has been sent and received so far, and how many are asleep. */
  progress(): { sent: number; received: number; asleep: number };
}

export interface ChurnResult extends Tally {
  /** Which messages are missing, doubled or out of order, a line for each client that misses some. */
  readonly details: string[];
  /** What happened to those and to their partners, and to one pair for comparison; what is missing stands first. */
  readonly journals: string[][];
}

/** How many log in at a time: the login is not what this is about. */
const LOGINS = 20;

/**
 * Pairs of clients that send each other numbered messages while their links are cut at random, in every way that a
 * network has. Each client resumes; none logs in anew, unless told so. Counts what was lost, doubled or out of order at
 * the end.
 */
export async function churn(options: ChurnOptions): Promise<ChurnResult> {
  const { core, edges, witness, clients, seed, sleep } = options;
  const random = new Random(seed);
  const tally = newTally();
  const run = `${seed}-${process.pid}-${Date.now().toString(36)}`;
  const accounts = Array.from({ length: clients }, (_, i) => ({ user: `churn-${run}-${i}`, password: "pw" }));
  await core.registerAll(accounts);
  const gates: Gate[] = [];
  for (const { tls, all, ca } of edges) {
    const port = options.transports === undefined ? tls : all;
    gates.push({ relay: await WeakLink.listen({ to: { port }, seed }), ca, generation: 0, frozen: false });
  }
  const phones = accounts.map(
    ({ user }, i) =>
      new Phone({
        user,
        domain: core.domain,
        gates,
        transports: options.transports ?? ["tcp"],
        random: random.fork(i),
        run,
        tally,
        sendEveryMs: options.sendEveryMs ?? 500,
        cutEveryMs: options.cutEveryMs ?? 3000,
        trouble: options.trouble ?? null,
        sleep,
        sleeps: sleep !== undefined && i % (2 * sleep.everyPairs) === 0,
        logsInAnew: options.logInAnew,
        witness,
      }),
  );
  try {
    for (let i = 0; i < clients; i += LOGINS) await settled(phones.slice(i, i + LOGINS).map((phone) => phone.login()));
    for (let i = 0; i < clients; i += 2) phones[i]!.pairWith(phones[i + 1]!);
    const until = Date.now() + options.seconds * 1000;
    await settled([
      ...phones.map((phone) => phone.live(until)),
      options.faults?.({ gates, tally, progress: () => progressOf(phones) }, until),
    ]);
    await settled(phones.map((phone) => phone.settle()));
    const details = witness.misled.map((what) => `given to the core out of order: ${what}`);
    const journals: string[][] = [];
    for (const phone of phones) {
      const trouble = phone.count();
      if (trouble !== null) details.push(trouble);
      if (trouble !== null || phone === phones[0]) journals.push([trouble ?? "nothing is missing", ...phone.journal]);
    }
    return { ...tally, details, journals };
  } finally {
    await Promise.all(phones.map((phone) => phone.logout()));
    await Promise.all(gates.map(({ relay }) => relay.close()));
  }
}

/** As `Promise.all`, but nothing goes on behind its back when one of them fails. */
async function settled(all: readonly (Promise<unknown> | undefined)[]): Promise<void> {
  const failed = (await Promise.allSettled(all)).find(({ status }) => status === "rejected");
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

function progressOf(phones: readonly Phone[]) {
  const sum = { sent: 0, received: 0, asleep: 0 };
  for (const phone of phones) {
    sum.sent += phone.progress.sent;
    sum.received += phone.progress.received;
    if (phone.asleep) sum.asleep++;
  }
  return sum;
}
