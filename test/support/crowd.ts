import { performance } from "node:perf_hooks";
import { type LoginOptions, RawClient, type StreamManagement } from "./clients/raw-client.ts";

/** How long a client goes on trying to return, and how long it waits between two tries. */
const RETURN_MS = 90_000;
const RETRY_MS = 100;
/** Longer than an edge takes to give up a connection to its core that has died without a word. */
const SETTLE_MS = 90_000;

export interface CrowdOptions {
  /** An even number: they write to each other in pairs. */
  readonly clients: number;
  /** Where each of them logs in; asked again when it returns. */
  readonly options: (index: number) => LoginOptions;
  /** How long a try to return may take in all; then the client hangs up and tries again. Default: no limit but `patienceMs`. */
  readonly tryMs?: number;
  /** Logins at a time. Default 50: the first login is not what this is about. */
  readonly atOnce?: number;
}

/** A client's way back: how long it took from the lost link to `<resumed/>`. */
export interface Return {
  /** As `performance.now()` has it. */
  readonly backAt: number;
  readonly tookMs: number;
}

/** What became of the messages: each is counted in exactly one of the last three. */
export interface CrowdCounts {
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly doubled: number;
}

/**
 * Many clients with XEP-0198, in pairs that write each other numbered messages. Whoever loses its link returns at once and
 * resumes its session; nobody ever logs in anew.
 */
export class Crowd {
  readonly returns: Return[] = [];
  /** Sessions that could not be resumed, with what the server said. */
  readonly ended: string[] = [];
  /** Attempts to return that failed, with the reason; each but the last is followed by another. */
  readonly tries: string[] = [];
  readonly tryMs: number | null;
  reordered = 0;
  readonly #members: Member[] = [];
  #writing: NodeJS.Timeout | null = null;
  #ends = false;

  private constructor(members: number, options: CrowdOptions) {
    this.tryMs = options.tryMs ?? null;
    this.#members = Array.from({ length: members }, (_, i) => new Member(this, () => options.options(i)));
  }

  static async login(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options.clients, options);
    const queue = crowd.#members.values();
    const worker = async (): Promise<void> => {
      for (const member of queue) await member.login();
    };
    await Promise.all(Array.from({ length: options.atOnce ?? 50 }, worker));
    for (let i = 0; i < crowd.#members.length; i += 2) crowd.#members[i]!.pairWith(crowd.#members[i + 1]!);
    return crowd;
  }

  /** Those whose link stands. */
  get online(): number {
    return this.#members.filter((member) => member.online).length;
  }

  /** Why those whose link does not stand are not back, and how many of them: what they are at, and how their last try ended. */
  get away(): Readonly<Record<string, number>> {
    return counted(this.#members.filter((member) => !member.online).map((member) => member.trouble));
  }

  get ends(): boolean {
    return this.#ends;
  }

  /** So many messages a second in all, of one client after the other. */
  write(perSecond: number): void {
    const beganAt = performance.now();
    let written = 0;
    this.#writing = setInterval(() => {
      const due = ((performance.now() - beganAt) / 1000) * perSecond;
      for (; written < due; written++) this.#members[written % this.#members.length]!.say();
    }, 20);
  }

  /** No more messages; resolves when all have come, or it is plain that they never will. */
  async settle(): Promise<void> {
    if (this.#writing !== null) clearInterval(this.#writing);
    const all = () => this.ended.length > 0 || this.#members.every((member) => member.online && member.hasAll);
    await when(all, SETTLE_MS);
    // What comes after the last one would be a double: ask for everything that is still on its way.
    await Promise.all(this.#members.map((member) => member.fence()));
  }

  counts(): CrowdCounts {
    const counts = { sent: 0, delivered: 0, lost: 0, doubled: 0 };
    for (const { due, received } of this.#members) {
      counts.sent += due;
      for (let n = 1; n <= due; n++) counts[outcomeOf(received.get(n) ?? 0)]++;
    }
    return counts;
  }

  /** Each link, at once and without a word. Each client returns at once, too. */
  cutAll(): void {
    for (const member of this.#members) member.cut();
  }

  /** All links go, and nobody returns. */
  leave(): void {
    this.#ends = true;
    if (this.#writing !== null) clearInterval(this.#writing);
    for (const member of this.#members) member.cut();
  }
}

/** Looks now and then, as the look costs a crowd something: true when it has come about, false when patience ends. */
export async function when(fact: () => boolean, patienceMs: number): Promise<boolean> {
  const until = performance.now() + patienceMs;
  while (!fact()) {
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return true;
}

/** How often each of them occurs, the most frequent first. */
export function counted(reasons: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}

// What differs from client to client is of no interest.
function inShort(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replace(/ \(\d+ ms\)/, "")
    .replace(/;? ?unread: .*/s, "")
    .replace(/(id|from)='[^']*' ?/g, "")
    .slice(0, 160);
}

function outcomeOf(times: number): "lost" | "delivered" | "doubled" {
  if (times === 0) return "lost";
  return times === 1 ? "delivered" : "doubled";
}

class Member {
  /** How often each number of the partner came. */
  readonly received = new Map<number, number>();
  online = false;
  readonly #crowd: Crowd;
  readonly #options: () => LoginOptions;
  #step = "";
  #lastTry = "";
  #client: RawClient | null = null;
  #sm: StreamManagement | null = null;
  #jid = "";
  #partner: Member | null = null;
  #said = 0;
  #highest = 0;
  readonly #pending: string[] = [];

  constructor(crowd: Crowd, options: () => LoginOptions) {
    this.#crowd = crowd;
    this.#options = options;
  }

  /** How many the partner has sent. */
  get due(): number {
    return this.#partner!.#said;
  }

  get hasAll(): boolean {
    return this.received.size >= this.due;
  }

  get trouble(): string {
    return `is at: ${this.#step}${this.#lastTry === "" ? "" : `; before that: ${this.#lastTry}`}`;
  }

  async login(): Promise<void> {
    const client = await RawClient.login(this.#options());
    this.#adopt(client);
    await client.enable();
    this.#sm = client.sm;
    this.#jid = client.jid!;
    client.presence();
    await client.fence();
    this.#live(client);
  }

  pairWith(other: Member): void {
    this.#partner = other;
    other.#partner = this;
  }

  say(): void {
    const n = ++this.#said;
    const stanza = `<message type='chat' to='${this.#partner!.#jid}' id='n${n}'><body>n ${n}</body></message>`;
    if (this.online) this.#client!.send(stanza);
    else this.#pending.push(stanza);
  }

  cut(): void {
    this.#client?.drop();
  }

  async fence(): Promise<void> {
    if (this.online) await this.#client!.fence().catch(() => {});
  }

  #adopt(client: RawClient): void {
    this.#client = client;
    client.onStanza = (stanza) => {
      const body = stanza.name === "message" ? stanza.text("body") : null;
      if (!body?.startsWith("n ")) return;
      const n = Number(body.slice(2));
      if (n < this.#highest && !this.received.has(n)) this.#crowd.reordered++;
      this.received.set(n, (this.received.get(n) ?? 0) + 1);
      this.#highest = Math.max(this.#highest, n);
    };
  }

  #live(client: RawClient): void {
    this.online = true;
    if (this.#pending.length > 0) client.send(...this.#pending.splice(0));
    void client.closed.then(() => {
      this.online = false;
      if (!this.#crowd.ends) void this.#return();
    });
  }

  async #return(): Promise<void> {
    const lostAt = performance.now();
    this.#lastTry = "";
    for (;;) {
      try {
        return await this.#try(lostAt);
      } catch (error) {
        if (this.#crowd.ends) return;
        this.#lastTry = `${this.#step}: ${inShort(error)}`;
        this.#crowd.tries.push(this.#lastTry);
        if (performance.now() - lostAt > RETURN_MS) {
          this.#step = "nothing any more";
          return void this.#crowd.ended.push(`${this.#jid}: ${error}`);
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS * (0.5 + Math.random())));
      }
    }
  }

  /** Resolves when it is back, or its session has ended. */
  async #try(lostAt: number): Promise<void> {
    const { tryMs } = this.#crowd;
    const giveUp = new AbortController();
    const patience = tryMs === null ? null : setTimeout(() => giveUp.abort(), tryMs);
    try {
      const onStep = (step: string): void => {
        this.#step = step;
      };
      const client = await RawClient.authenticated({ ...this.#options(), signal: giveUp.signal, onStep });
      this.#adopt(client);
      const answer = await client.resume(this.#sm!);
      if (answer.name === "failed") return void this.#crowd.ended.push(`${this.#jid}: ${answer.xml}`);
      if (answer.name === "error") throw new Error(answer.xml); // of this stream: the session may live
      const backAt = performance.now();
      this.#crowd.returns.push({ backAt, tookMs: backAt - lostAt });
      this.#live(client);
    } catch (error) {
      const impatient = giveUp.signal.aborted;
      giveUp.abort();
      throw impatient ? new Error(`gave up after ${tryMs} ms`) : error;
    } finally {
      if (patience !== null) clearTimeout(patience);
    }
  }
}
