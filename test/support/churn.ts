import { RawClient, type StreamManagement } from "./clients/raw-client.ts";
import type { Core } from "./cores/index.ts";
import { Random } from "./random.ts";
import { type CutKind, WeakLink } from "./weak-link.ts";

export type Transport = "tcp" | "websocket" | "bosh";

export interface ChurnOptions {
  core: Pick<Core, "domain" | "registerAll">;
  /** Where clients connect: drawn anew for each connection when there are several. */
  edges: readonly { tls: number; all: number; ca: string }[];
  /** What else happens meanwhile. Resolves when everything is whole again, some time behind `until`. */
  faults?: (until: number) => Promise<void>;
  /** What clients connect by, drawn anew for each connection. Default TCP. */
  transports?: readonly Transport[];
  clients: number;
  seconds: number;
  seed: number;
  /** Mean time between two cuts of one client's link, in ms. Default 3000. */
  cutEveryMs?: number;
  /** Mean time between two messages of one client, in ms. Default 500. */
  sendEveryMs?: number;
}

/** What became of the messages: each is counted in exactly one of the first four. */
export interface ChurnResult {
  sent: number;
  delivered: number;
  lost: number;
  doubled: number;
  reordered: number;
  cuts: number;
  resumes: number;
  /** Sessions that could not be resumed, with what the server said. */
  endedSessions: string[];
}

/** Longer than an edge takes to give up a connection to its core that has died without a word. */
const SETTLE_MS = 90_000;
/** How long a client tries to return. */
const RETURN_MS = 60_000;

const CUTS: readonly CutKind[] = ["fin", "rst", "silent", "client-rst", "server-rst"];

/**
 * Pairs of clients that send each other numbered messages while their links are cut at random, in every way that a
 * network has. Each client resumes; none logs in anew. Counts what was lost, doubled or out of order at the end.
 */
export async function churn(options: ChurnOptions): Promise<ChurnResult> {
  const { core, edges, clients, seed } = options;
  const random = new Random(seed);
  const result: ChurnResult = {
    sent: 0,
    delivered: 0,
    lost: 0,
    doubled: 0,
    reordered: 0,
    cuts: 0,
    resumes: 0,
    endedSessions: [],
  };
  const run = `${seed}-${process.pid}-${Date.now().toString(36)}`;
  const accounts = Array.from({ length: clients }, (_, i) => ({ user: `churn-${run}-${i}`, password: "pw" }));
  await core.registerAll(accounts);
  const gates: Gate[] = [];
  for (const { tls, all, ca } of edges) {
    const port = options.transports === undefined ? tls : all;
    gates.push({ relay: await WeakLink.listen({ to: { port }, seed }), ca });
  }
  const { transports = ["tcp"] } = options;
  const phones: Phone[] = [];
  for (const [i, account] of accounts.entries()) {
    phones.push(
      new Phone({
        user: account.user,
        domain: core.domain,
        gates,
        transports,
        random: random.fork(i),
        run,
        result,
      }),
    );
  }
  // A few at a time: the login is not what this is about.
  for (let i = 0; i < phones.length; i += 20) await Promise.all(phones.slice(i, i + 20).map((phone) => phone.login()));
  for (let i = 0; i < phones.length; i += 2) phones[i]!.pairWith(phones[i + 1]!);
  const until = Date.now() + options.seconds * 1000;
  const lives = phones.map((phone) => phone.live(until, options.sendEveryMs ?? 500, options.cutEveryMs ?? 3000));
  await Promise.all([...lives, options.faults?.(until)]);
  await Promise.all(phones.map((phone) => phone.settle()));
  for (const phone of phones) phone.count();
  await Promise.all(phones.map((phone) => phone.logout()));
  await Promise.all(gates.map(({ relay }) => relay.close()));
  return result;
}

interface Gate {
  readonly relay: WeakLink;
  readonly ca: string;
}

interface PhoneInit {
  user: string;
  domain: string;
  gates: readonly Gate[];
  transports: readonly Transport[];
  random: Random;
  run: string;
  result: ChurnResult;
}

class Phone {
  readonly #init: PhoneInit;
  readonly #pending: string[] = [];
  #client: RawClient | null = null;
  #sm: StreamManagement | null = null;
  #online = false;
  #jid = "";
  #partner: Phone | null = null;
  #sent = 0;
  // How often each number of the partner came, and the highest so far.
  readonly #received = new Map<number, number>();
  #highest = 0;
  #wake: (() => void) | null = null;
  #gaveUp = false;

  constructor(init: PhoneInit) {
    this.#init = init;
  }

  async login(): Promise<void> {
    const client = await RawClient.login({ ...this.#options(), resource: "phone" });
    this.#adopt(client);
    await client.enable({ resume: true });
    this.#sm = client.sm;
    this.#jid = client.jid!;
    client.presence();
    await client.fence();
    this.#online = true;
  }

  pairWith(other: Phone): void {
    this.#partner = other;
    other.#partner = this;
  }

  async live(until: number, sendEveryMs: number, cutEveryMs: number): Promise<void> {
    const { random } = this.#init;
    let nextSend = Date.now() + random.exponential(sendEveryMs);
    let nextCut = Date.now() + random.exponential(cutEveryMs);
    while (Date.now() < until && !this.#gaveUp) {
      await pause(Math.max(0, Math.min(nextSend, nextCut, until) - Date.now()));
      if (Date.now() >= nextSend) {
        this.#send();
        nextSend = Date.now() + random.exponential(sendEveryMs);
      }
      if (Date.now() >= nextCut) {
        await this.#cutAndReturn();
        nextCut = Date.now() + random.exponential(cutEveryMs);
      }
    }
  }

  /**
   * Until everything that the two sent each other has come, or long enough to say that it never will. A connection that
   * broke at the very end may have taken what this one sent: it returns for the partner's sake, too.
   */
  async settle(): Promise<void> {
    const until = Date.now() + SETTLE_MS;
    while (Date.now() < until && !this.#gaveUp && !(this.#hasAll && this.#partner!.#hasAll)) {
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), pause(250)]);
      if (this.#client?.isClosed) await this.#return();
    }
    // What comes after the last one would be a double: ask for everything that is still on its way.
    if (!this.#gaveUp) await this.#client!.fence().catch(() => {});
  }

  get #hasAll(): boolean {
    return this.#received.size >= this.#partner!.#sent;
  }

  count(): void {
    const { result } = this.#init;
    const due = this.#partner!.#sent;
    result.sent += due;
    for (let n = 1; n <= due; n++) {
      const times = this.#received.get(n) ?? 0;
      if (times === 0) result.lost++;
      else if (times > 1) result.doubled++;
      else result.delivered++;
    }
  }

  async logout(): Promise<void> {
    await this.#client?.end().catch(() => {});
  }

  #options() {
    const { user, domain, gates, transports, random } = this.#init;
    const { relay, ca } = random.pick(gates);
    const { host, port } = relay;
    const account = { ca, user, password: "pw", domain };
    switch (random.pick(transports)) {
      case "tcp":
        return { ...account, host, port, tls: "direct" as const };
      case "websocket":
        return { ...account, webSocket: `wss://${host}:${port}/ws` };
      default:
        return { ...account, bosh: { port, ca, domain } };
    }
  }

  #send(): void {
    const n = ++this.#sent;
    const body = `<message type='chat' to='${this.#partner!.#jid}' id='n${n}'><body>${this.#init.run} ${n}</body></message>`;
    if (this.#online) this.#client!.send(body);
    else this.#pending.push(body);
  }

  #adopt(client: RawClient): void {
    this.#client = client;
    client.onStanza = (stanza) => {
      const body = stanza.name === "message" ? stanza.text("body") : null;
      if (!body?.startsWith(`${this.#init.run} `)) return;
      const n = Number(body.split(" ")[1]);
      if (this.#received.has(n)) this.#received.set(n, this.#received.get(n)! + 1);
      else {
        if (n < this.#highest) this.#init.result.reordered++;
        this.#received.set(n, 1);
      }
      this.#highest = Math.max(this.#highest, n);
      this.#wake?.();
    };
  }

  async #cutAndReturn(): Promise<void> {
    const { random, gates, result } = this.#init;
    const client = this.#client!;
    const kind = random.pick(CUTS);
    const ports = client.localPorts;
    result.cuts++;
    for (const { relay } of gates) {
      for (const link of relay.links) if (ports.includes(link.client.remotePort!)) link.cut(kind);
    }
    // What the phone writes into a dead link is not known to be lost yet.
    if (random.chance(0.5)) this.#send();
    await pause(random.integer(0, 400));
    this.#online = false;
    client.drop();
    await this.#return();
  }

  async #return(): Promise<void> {
    const sm = this.#sm!;
    const until = Date.now() + RETURN_MS;
    for (;;) {
      try {
        const client = await RawClient.authenticated(this.#options());
        this.#adopt(client);
        // Nothing is sent between <resume/> and <resumed/> but what the session still owes.
        sm.unacked.push(...this.#pending.splice(0));
        const answer = await client.resume(sm);
        if (answer.name === "failed") return this.#giveUp(answer.xml);
        if (answer.name === "error") throw new Error(answer.xml); // of this stream: the session may live
        this.#init.result.resumes++;
        this.#online = true;
        if (this.#pending.length > 0) client.send(...this.#pending.splice(0));
        return;
      } catch (error) {
        if (Date.now() > until) return this.#giveUp(error instanceof Error ? error.message : String(error));
        await pause(this.#init.random.integer(20, 200));
      }
    }
  }

  #giveUp(why: string): void {
    this.#init.result.endedSessions.push(`${this.#jid}: ${why}`);
    this.#gaveUp = true;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
