import type { SocketHandle } from "../base/socket-handle.ts";
import { estateOf, type SessionEstate } from "./estate.ts";
import type { Departure, Host, Leaving } from "./host.ts";
import type { CoreStream } from "./ports.ts";
import { Session } from "./session.ts";

/** The process that takes this one's place. */
export interface Heir {
  /** Sends a session, which the heir holds and does not touch. False: it cannot go on with it. Rejects when it is gone. */
  hold(number: number, estate: SessionEstate, handle: SocketHandle): Promise<boolean>;
  /** Sends what the feature of this name knows beside its sessions. Rejects when the heir is gone. */
  remember(feature: string, memory: unknown): Promise<void>;
  /** From now on the heir goes on with those that it holds. */
  begin(numbers: readonly number[] | "all"): void;
}

/** Sessions on their way at a time: each waits for the heir's answer. */
const WINDOW = 32;
/** How long a core may take to read what was written to it before its session can go. */
const EMPTY_MS = 2000;
const LOOK_MS = 20;

/**
 * Gives this process's sessions to another one, each with its core's socket. The client notices nothing, or a lost
 * connection; the core nothing at all. What cannot go (a core over TLS, a client without XEP-0198) is let go as when the
 * process stops.
 */
export class Handover {
  readonly #host: Host;
  readonly #heir: Heir;
  readonly #find: (id: string) => Session | null;
  #number = 0;
  #handedOver = 0;
  // Sent, and not the heir's yet: they go on here when it ends.
  readonly #offered = new Map<number, Session>();
  readonly #pending = new Map<Session, Promise<boolean>>();
  // The dormant ones are the heir's, or stay.
  readonly #decided: Promise<void>;
  #decide = () => {};
  #isAlone = false;

  /** `find`: the session that a resume id belongs to. */
  constructor(host: Host, heir: Heir, find: (id: string) => Session | null) {
    this.#host = host;
    this.#heir = heir;
    this.#find = find;
    this.#decided = new Promise((resolve) => {
      this.#decide = resolve;
    });
  }

  /** Sessions that are the heir's. */
  get handedOver(): number {
    return this.#handedOver;
  }

  /** Sends all dormant sessions. They wait until `commit` or `rollBack`. Rejects when the heir is gone. */
  async offerDormant(): Promise<number> {
    await this.#tellMemories(false);
    const dormant = [...this.#host.sessions].filter((session) => session.phase === "dormant" && mayGo(session));
    const next = dormant.values();
    const carry = async (): Promise<void> => {
      for (const session of next) if (session.phase === "dormant") await this.#offer(session);
    };
    const carried = await Promise.allSettled(Array.from({ length: WINDOW }, carry));
    const failed = carried.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return this.#offered.size;
  }

  /** What was sent is the heir's now. */
  commit(): void {
    this.#heir.begin("all");
    for (const number of [...this.#offered.keys()]) this.#forget(number);
    this.#decide();
  }

  /** The heir is gone: what it only held goes on here. */
  rollBack(): void {
    for (const [number, session] of this.#offered) {
      this.#offered.delete(number);
      keep(session);
    }
    this.#decide();
  }

  /** The same when its ports are not this process's: whoever is still here is let go as in any drain. */
  alone(): void {
    this.#isAlone = true;
    this.rollBack();
  }

  /** A client's turn. Null: it cannot go to the heir. */
  letGo(client: Leaving): Departure | null {
    if (this.#isAlone || !(client instanceof Session) || !mayGo(client)) return null;
    void this.#move(client);
    return "handed-over";
  }

  /** The heir has a client that wants this session. True: it is the heir's now. */
  async claim(id: string): Promise<boolean> {
    const session = this.#find(id);
    if (session === null) return false;
    await this.#decided;
    return await (this.#pending.get(session) ?? (mayGo(session) ? this.#move(session) : session.phase === "closed"));
  }

  /** Resolves when nothing is on its way, and all is told. Rejects when the heir is gone. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending.values());
    if (!this.#isAlone) await this.#tellMemories(true);
  }

  async #tellMemories(isMore: boolean): Promise<void> {
    for (const feature of this.#host.features)
      for (const memory of feature.memories?.(isMore) ?? []) await this.#heir.remember(feature.name, memory);
  }

  #move(session: Session): Promise<boolean> {
    const moving = this.#carry(session).finally(() => this.#pending.delete(session));
    this.#pending.set(session, moving);
    return moving;
  }

  async #carry(session: Session): Promise<boolean> {
    if (session.phase !== "dormant") session.cut("handed-over");
    try {
      const number = await this.#offer(session);
      if (number === null) {
        session.leave(null);
        return false;
      }
      this.#heir.begin([number]);
      this.#forget(number);
      return true;
    } catch {
      if (this.#isAlone) session.leave(null);
      return false; // the heir is gone: whoever watches it rolls back
    }
  }

  /** The number under which the heir holds it; null: it stays. */
  async #offer(session: Session): Promise<number | null> {
    session.core.pause();
    session.flushCore();
    session.on("offered", "handed-over");
    const { core } = session;
    const handle = (await this.#isEmpty(core)) ? core.handle : null;
    const estate = handle === null ? null : estateOf(session);
    if (handle === null || estate === null) return keep(session);
    const number = ++this.#number;
    this.#offered.set(number, session);
    let isHeld = false;
    try {
      isHeld = await this.#heir.hold(number, estate, handle);
    } finally {
      if (!isHeld) {
        this.#offered.delete(number);
        keep(session);
      }
    }
    return isHeld ? number : null;
  }

  #forget(number: number): void {
    const session = this.#offered.get(number);
    this.#offered.delete(number);
    this.#handedOver++;
    if (session?.phase === "leaving") session.on("taken", "handed-over");
  }

  // Bytes that the kernel has not taken cannot be given to anybody else.
  async #isEmpty(core: CoreStream): Promise<boolean> {
    const { clock } = this.#host;
    const until = clock.now() + EMPTY_MS;
    while (core.pendingBytes > 0 && clock.now() < until) {
      await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
    }
    return core.pendingBytes === 0;
  }
}

function mayGo({ resumable, phase, core }: Session): boolean {
  return resumable && phase !== "draining" && phase !== "leaving" && phase !== "closed" && core.handle !== null;
}

function keep(session: Session): null {
  if (session.phase === "leaving") session.on("kept", "handed-over");
  session.core.resume();
  return null;
}
