import { RawClient, type StreamManagement } from "./clients/raw-client.ts";
import type { CoreWitness } from "./core-witness.ts";
import type { Random } from "./random.ts";
import type { CutKind, WeakLink } from "./weak-link.ts";

export type Transport = "tcp" | "websocket" | "bosh";

/** One edge as phones see it. */
export interface Gate {
  readonly relay: WeakLink;
  readonly ca: string;
  /** Counts what ends the edge's hold on sessions: its process, or its connections to the core. */
  generation: number;
  /** It neither runs nor has ended: nothing is taken off the core's hands meanwhile. */
  frozen: boolean;
}

/** When phones sleep, and how much they are sent meanwhile. */
export interface Sleep {
  /** Mean time awake, ms. */
  readonly everyMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Mean time between two messages of the partner to one that sleeps, ms. */
  readonly sendEveryMs: number;
  /**
   * What the core alone must keep for one that sleeps: its edge is gone, and no other one knows of the phone until it
   * returns. The partner falls silent before the core's own limit does it (docs/session.md, Takeover).
   */
  readonly maxWithoutEdge: number;
  /**
   * And what it may be sent once the store may have been away: its session may have ended, and what a core has stored for
   * the next one comes all at once, past its own limit as well (ejabberd then ends that session, too).
   */
  readonly maxWithoutStore: number;
}

/** What phones cannot know and take into account all the same. */
export interface Trouble {
  /** Whether the store may have been away at any time since then (`Date.now()`). */
  storeWasAwaySince(then: number): boolean;
}

export interface PhoneInit {
  readonly user: string;
  readonly domain: string;
  readonly gates: readonly Gate[];
  /** What it connects by, drawn anew for each connection. */
  readonly transports: readonly Transport[];
  readonly random: Random;
  /** First word of every message of this run. */
  readonly run: string;
  readonly tally: Tally;
  /** Mean times, ms. */
  readonly sendEveryMs: number;
  readonly cutEveryMs: number;
  /** Null: there is none. */
  readonly trouble: Trouble | null;
  /** How phones sleep here, and whether this one does. */
  readonly sleep: Sleep | undefined;
  readonly sleeps: boolean;
  /** Whether it logs in anew when its session has ended; otherwise it gives up. */
  readonly logsInAnew?: boolean | undefined;
  /** Stands between the edges and the core. */
  readonly witness: CoreWitness;
}

/** What became of the messages: each is counted in exactly one of the second to fourth. */
export interface Tally {
  sent: number;
  delivered: number;
  lost: number;
  doubled: number;
  reordered: number;
  /** Delivered, in the order in which the core sent them, which was not that in which it had got them. */
  reorderedByCore: number;
  /**
   * Came twice around the end of a session, as XEP-0198 has it: nobody could tell its sender any more that it had
   * arrived, and so it was sent again in the next session.
   */
  repeated: number;
  /** Came back to its sender as an error. */
  bounced: number;
  cuts: number;
  resumes: number;
  sleeps: number;
  /** Sessions that could not be resumed. */
  ended: EndedSession[];
}

export interface EndedSession {
  readonly jid: string;
  /** What the server said. */
  readonly why: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export function newTally(): Tally {
  const counts = {
    sent: 0,
    delivered: 0,
    lost: 0,
    doubled: 0,
    reordered: 0,
    reorderedByCore: 0,
    repeated: 0,
    bounced: 0,
  };
  return { ...counts, cuts: 0, resumes: 0, sleeps: 0, ended: [] };
}

/** Longer than an edge takes to give up a connection to its core that has died without a word. */
const SETTLE_MS = 120_000;
/** How long a client tries to return: on a machine that others use, an edge takes its time to start. */
const RETURN_MS = 180_000;
/** By then the server has asked whether a message has come, and been told. Longer than an edge may be frozen. */
const ACK_MS = 8000;
/** While nothing comes. */
const LOOK_MS = 250;
const ASK_EVERY_MS = 5000;
/** Between two attempts. */
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1600;
const RESOURCE = "phone";
const CUTS: readonly CutKind[] = ["fin", "rst", "silent", "client-rst", "server-rst"];

/**
 * A client that sends its partner numbered messages while its link is cut at random, in every way that a network has;
 * it resumes its session each time. It may sleep for long, and is written to more than ever then.
 */
export class Phone {
  readonly #init: PhoneInit;
  readonly #pending: string[] = [];
  #client: RawClient | null = null;
  // Null between a session that has ended and the next one.
  #sm: StreamManagement | null = null;
  #online = false;
  #jid = "";
  #partner: Phone | null = null;
  #sent = 0;
  // Numbers that were sent again without knowing whether they had arrived.
  readonly #sentAgain = new Set<number>();
  // Numbers of the partner that came when it was too late to say so: its session has ended since, and nobody knew.
  readonly #untold = new Set<number>();
  // When which of them came on this link, as long as that is not told by a resume.
  readonly #fresh = new Map<number, number>();
  #cutAt = 0;
  // How often each number of the partner came, and the highest so far.
  readonly #received = new Map<number, number>();
  #highest = 0;
  // Messages that came behind later ones of the same session.
  readonly #late: string[] = [];
  // Messages before it were sent to an earlier session, and may come in between from where the core stored them.
  #firstOfSession = 1;
  #wake: (() => void) | null = null;
  #gaveUp = false;
  // The edge that it is, or was last, connected to, as it was then.
  #gate: Gate;
  #generation = 0;
  #asleep = false;
  #sentWithoutEdge = 0;
  #sentWithoutStore = 0;
  #sleptAt = 0;
  /** What happened to it, a line each: to find out what became of a message. */
  readonly #journal: string[] = [];

  constructor(init: PhoneInit) {
    this.#init = init;
    this.#gate = init.gates[0]!;
  }

  /** With its partner's, in the order of time. */
  get journal(): string[] {
    return [...this.#journal, ...this.#partner!.#journal].sort();
  }

  #write(text: string): void {
    this.#journal.push(`${new Date().toISOString()} ${this.#init.user.replace(/.*-/, "")} ${text}`);
  }

  get asleep(): boolean {
    return this.#asleep;
  }

  async login(): Promise<void> {
    const client = await RawClient.authenticated(this.#options());
    await this.#bind(client);
    await client.fence();
    this.#online = true;
  }

  pairWith(other: Phone): void {
    this.#partner = other;
    other.#partner = this;
  }

  /** Chats until then (`Date.now()`). */
  async live(until: number): Promise<void> {
    const { random, cutEveryMs, sleep, sleeps } = this.#init;
    const now = Date.now();
    let nextSend = now + this.#untilNextSend();
    let nextCut = now + random.exponential(cutEveryMs);
    let nextSleep = sleep && sleeps ? now + random.exponential(sleep.everyMs) : Number.POSITIVE_INFINITY;
    while (Date.now() < until && !this.#gaveUp) {
      await pause(Math.max(0, Math.min(nextSend, nextCut, nextSleep, until) - Date.now()));
      if (Date.now() >= nextSend) {
        if (this.#maySend()) this.#send();
        nextSend = Date.now() + this.#untilNextSend();
      }
      if (Date.now() >= nextSleep) {
        await this.#sleep(until);
        nextSleep = Date.now() + random.exponential(sleep!.everyMs);
        nextCut = Date.now() + random.exponential(cutEveryMs);
      } else if (Date.now() >= nextCut) {
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
    const { random } = this.#init;
    const until = Date.now() + SETTLE_MS;
    while (Date.now() < until && !this.#gaveUp && !(this.#hasAll && this.#partner!.#hasAll)) {
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), pause(LOOK_MS)]);
      if (this.#client?.isClosed) await this.#return();
      else if (random.chance(LOOK_MS / ASK_EVERY_MS)) this.#ask();
    }
    // What comes after the last one would be a double: ask for everything that is still on its way.
    if (!this.#gaveUp) await this.#client!.fence().catch(() => {});
  }

  get #hasAll(): boolean {
    return this.#received.size >= this.#partner!.#sent;
  }

  /** What this one was sent, into the tally; and which numbers are missing or doubled, if any. */
  count(): string | null {
    const { tally } = this.#init;
    const partner = this.#partner!;
    const missing: number[] = [];
    const twice: number[] = [];
    tally.sent += partner.#sent;
    for (let n = 1; n <= partner.#sent; n++) {
      const times = this.#received.get(n) ?? 0;
      if (times === 0) missing.push(n);
      else if (times > 1 && !partner.#sentAgain.has(n) && !this.#untold.has(n)) twice.push(n);
      else {
        tally.delivered++;
        if (times > 1) tally.repeated++;
      }
    }
    tally.lost += missing.length;
    tally.doubled += twice.length;
    const of = `of ${partner.#sent} to ${this.#jid}`;
    const told = [
      ...(missing.length > 0 ? [`lost: ${missing.slice(0, 20).join(" ")}`] : []),
      ...(twice.length > 0 ? [`doubled: ${twice.slice(0, 20).join(" ")}`] : []),
      ...(this.#late.length > 0 ? [`out of order: ${this.#late.slice(0, 20).join(", ")}`] : []),
    ];
    return told.length > 0 ? `${told.join(", ")} ${of}` : null;
  }

  /** How many have come and gone so far. */
  get progress(): { sent: number; received: number } {
    return { sent: this.#sent, received: this.#received.size };
  }

  async logout(): Promise<void> {
    await this.#client?.end().catch(() => {});
  }

  #options() {
    const { user, domain, gates, transports, random } = this.#init;
    this.#gate = random.pick(gates);
    this.#generation = this.#gate.generation;
    const { relay, ca } = this.#gate;
    const { host, port } = relay;
    const account = { ca, user, password: "pw", domain };
    const transport = random.pick(transports);
    this.#write(`connects to edge ${gates.indexOf(this.#gate)} by ${transport}`);
    switch (transport) {
      case "tcp":
        return { ...account, host, port, tls: "direct" as const };
      case "websocket":
        return { ...account, webSocket: `wss://${host}:${port}/ws` };
      default:
        return { ...account, bosh: { port, ca, domain } };
    }
  }

  // ---- sending

  #untilNextSend(): number {
    const { random, sendEveryMs, sleep } = this.#init;
    return random.exponential(this.#partner?.asleep && sleep ? sleep.sendEveryMs : sendEveryMs);
  }

  #maySend(): boolean {
    const { sleep, trouble } = this.#init;
    const partner = this.#partner!;
    // Between two sessions of the partner nobody keeps what comes: not even the core, once it is bound and has not enabled.
    if (partner.#sm === null) return false;
    if (!partner.#asleep || !sleep) return true;
    if (trouble?.storeWasAwaySince(partner.#sleptAt) && partner.#sentWithoutStore++ >= sleep.maxWithoutStore)
      return false;
    if (!partner.#gate.frozen && partner.#gate.generation === partner.#generation) return true;
    return partner.#sentWithoutEdge++ < sleep.maxWithoutEdge;
  }

  #send(): void {
    const { run, random } = this.#init;
    const n = ++this.#sent;
    const padding = "x".repeat(random.integer(0, 300));
    const body = `<message type='chat' to='${this.#partner!.#jid}' id='n${n}'><body>${run} ${n} ${padding}</body></message>`;
    this.#write(`sends ${n}${this.#online ? "" : " later"}`);
    if (!this.#online) return void this.#pending.push(body);
    this.#client!.send(body);
    this.#ask();
  }

  /** As clients do it, so that the edge in its turn asks the core: else nobody notices that it is not there. */
  #ask(): void {
    this.#client!.write(`<r xmlns='${this.#sm!.ns}'/>`);
  }

  #adopt(client: RawClient): void {
    this.#client = client;
    client.onStanza = (stanza) => {
      const body = stanza.name === "message" ? stanza.text("body") : null;
      const { run, tally, witness } = this.#init;
      if (!body?.startsWith(`${run} `)) return;
      if (stanza.attrs["type"] === "error") {
        tally.bounced++;
        this.#write(`bounced ${stanza.xml.slice(0, 1000)}`);
        return;
      }
      const n = Number(body.split(" ")[1]);
      const times = this.#received.get(n) ?? 0;
      this.#write(`received ${n}${times > 0 ? " again" : ""}${stanza.child("delay") ? ", delayed" : ""}`);
      this.#received.set(n, times + 1);
      this.#fresh.set(n, Date.now());
      if (n >= this.#firstOfSession) {
        if (times === 0 && n < this.#highest) {
          if (witness.saw(this.#jid.split("/")[0]!, run, this.#highest, n)) tally.reorderedByCore++;
          else {
            tally.reordered++;
            this.#late.push(`${n} after ${this.#highest}`);
          }
        }
        this.#highest = Math.max(this.#highest, n);
      }
      this.#wake?.();
    };
  }

  // ---- leaving and returning

  #cut(): void {
    const { random, tally } = this.#init;
    const kind = random.pick(CUTS);
    const ports = this.#client!.localPorts;
    tally.cuts++;
    this.#cutAt = Date.now();
    this.#write(`is cut: ${kind}`);
    // At its own relay only: to another one the kernel gives the same port to another client.
    for (const link of this.#gate.relay.links) if (ports.includes(link.client.remotePort!)) link.cut(kind);
  }

  async #cutAndReturn(): Promise<void> {
    const { random } = this.#init;
    const client = this.#client!;
    this.#cut();
    // What the phone writes into a dead link is not known to be lost yet.
    if (random.chance(0.5) && this.#maySend()) this.#send();
    await pause(random.integer(0, 400));
    this.#online = false;
    client.drop();
    await this.#return();
  }

  async #sleep(until: number): Promise<void> {
    const { random, sleep, tally } = this.#init;
    this.#cut();
    this.#online = false;
    this.#client!.drop();
    this.#sentWithoutEdge = this.#sentWithoutStore = 0;
    this.#sleptAt = Date.now();
    this.#asleep = true;
    this.#write("sleeps");
    tally.sleeps++;
    await pause(Math.min(random.integer(sleep!.minMs, sleep!.maxMs), Math.max(0, until - Date.now())));
    this.#asleep = false;
    this.#write("wakes");
    await this.#return();
  }

  async #return(): Promise<void> {
    const until = Date.now() + RETURN_MS;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      try {
        const client = await RawClient.authenticated(this.#options());
        if (this.#sm === null || !(await this.#resume(client, this.#sm))) {
          if (this.#gaveUp) return;
          await this.#bind(client);
        }
        this.#online = true;
        if (this.#pending.length > 0) client.send(...this.#pending.splice(0));
        return;
      } catch (error) {
        this.#write(`fails: ${error instanceof Error ? error.message : String(error)}`);
        if (Date.now() > until) return this.#giveUp(error instanceof Error ? error.message : String(error));
        await pause(this.#init.random.integer(wait / 2, wait));
      }
    }
  }

  async #resume(client: RawClient, sm: StreamManagement): Promise<boolean> {
    this.#adopt(client);
    // Nothing is sent between <resume/> and <resumed/> but what the session still owes.
    sm.unacked.push(...this.#pending.splice(0));
    const { handled, unacked } = sm;
    const answer = await client.resume(sm);
    this.#write(`resumes with h=${handled} and ${unacked.length} unacked: ${answer.xml}`);
    if (answer.name === "error") throw new Error(answer.xml); // of this stream: the session may live
    if (answer.name === "resumed") {
      this.#fresh.clear(); // the server knows our h
      this.#init.tally.resumes++;
      return true;
    }
    if (!this.#init.logsInAnew) {
      this.#giveUp(answer.xml);
      return false;
    }
    this.#note(answer.xml);
    this.#sm = null;
    for (const [n, at] of this.#fresh) if (this.#cutAt - at < ACK_MS) this.#untold.add(n);
    this.#fresh.clear();
    const h = answer.attrs["h"];
    if (h !== undefined) sm.unacked.splice(0, (Number(h) - sm.acked) >>> 0);
    const again = sm.unacked.filter((stanza) => stanza.startsWith("<message"));
    if (h === undefined) for (const stanza of again) this.#sentAgain.add(Number(/ id='n(\d+)'/.exec(stanza)![1]));
    this.#pending.unshift(...again);
    return false;
  }

  // A new session: its messages have an order of their own.
  async #bind(client: RawClient): Promise<void> {
    this.#jid = await client.bind(RESOURCE);
    this.#write("is bound anew");
    this.#highest = 0;
    this.#firstOfSession = (this.#partner === null ? 0 : this.#partner.#sent) + 1;
    this.#adopt(client);
    await client.enable({ resume: true });
    this.#sm = client.sm;
    client.presence();
  }

  #note(why: string): void {
    this.#init.tally.ended.push({ jid: this.#jid, why, at: Date.now() });
  }

  #giveUp(why: string): void {
    this.#note(why);
    this.#gaveUp = true;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
