import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type {
  Claim,
  Fenced,
  Loaded,
  Lost,
  SessionRecord,
  SessionState,
  Store,
  Unavailable,
} from "../session/stanza-store.ts";
import type { StoreOptions } from "./options.ts";
import { createRedisClient, type RedisClient } from "./redis-client.ts";
import { RedisGuard } from "./redis-guard.ts";
import { SCRIPTS, type ScriptName } from "./redis-scripts.ts";

/** The store that several edges share. Each operation is one script and one round trip. */
export class RedisStore implements Store {
  readonly #options: StoreOptions;
  readonly #clock: Clock;
  readonly #client: RedisClient;
  readonly #guard: RedisGuard;

  constructor(options: StoreOptions, { clock, log }: { clock: Clock; log: Log }) {
    const { redis } = options;
    this.#options = options;
    this.#clock = clock;
    this.#client = createRedisClient(redis, clock);
    const guard = new RedisGuard({
      clock,
      log,
      timeoutMs: redis.timeout * 1000,
      probeMs: redis.probe_interval * 1000,
      place: redis.nodes.map(({ host, port }) => `${host}:${port}`).join(", "),
      probe: () => this.#probe(),
    });
    this.#guard = guard;
    this.#client.on("error", (error) => guard.connectionFailed(error));
    this.#client.on("node error", (error) => guard.connectionFailed(error));
    this.#client.on("close", () => guard.connectionClosed());
    this.#client.on("ready", () => guard.connected());
  }

  async claim(id: string, owner: string, ttlSeconds: number): Promise<Claim | Unavailable> {
    const answer = await this.#run("claim", this.#keysOf(id), [owner, milliseconds(ttlSeconds)]);
    if (answer === "unavailable") return answer;
    const [epoch, before] = answer as [number, Row | null];
    return { epoch, record: before && this.#record(before) };
  }

  async save(id: string, epoch: number, state: SessionState, ttlSeconds: number) {
    const { owner, core, offsets } = state;
    const args = [epoch, milliseconds(ttlSeconds), owner, core, offsets.fromCore >>> 0, offsets.toCore >>> 0];
    return word<"saved" | Fenced | Unavailable>(await this.#run("save", this.#keysOf(id), args));
  }

  async release(id: string, epoch: number) {
    return word<"released" | Fenced | Unavailable>(await this.#run("release", this.#keysOf(id), [epoch]));
  }

  async read(id: string): Promise<SessionRecord | null | Unavailable> {
    const answer = await this.#run("read", this.#keysOf(id), []);
    if (answer === "unavailable") return answer;
    return answer === null ? null : this.#record(answer as Row);
  }

  async append(id: string, epoch: number, firstSequence: number, stanzas: readonly Buffer[], ttlSeconds: number) {
    const { max_session_stanzas, max_session_bytes } = this.#options;
    const args = [epoch, firstSequence, milliseconds(ttlSeconds), max_session_stanzas, max_session_bytes, ...stanzas];
    return word<"stored" | Fenced | "full" | Lost | Unavailable>(await this.#run("append", this.#keysOf(id), args));
  }

  async load(id: string, epoch: number, fromSequence: number, maxBytes: number) {
    const answer = await this.#run("load", this.#keysOf(id), [epoch, fromSequence, maxBytes]);
    if (!Array.isArray(answer)) return word<Fenced | Lost | Unavailable>(answer);
    const [first, more, ...stanzas] = answer as [number, number, ...Buffer[]];
    return { first, stanzas, more: more === 1 } satisfies Loaded;
  }

  async trim(id: string, epoch: number, throughSequence: number) {
    const answer = await this.#run("trim", this.#keysOf(id), [epoch, throughSequence]);
    return word<"trimmed" | Fenced | Lost | Unavailable>(answer);
  }

  readiness(): true | string {
    return this.#guard.readiness();
  }

  close(): void {
    this.#guard.close();
    this.#client.disconnect();
  }

  #run(name: ScriptName, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    const bytes = args.reduce<number>((sum, arg) => sum + (arg instanceof Buffer ? arg.length : 0), 0);
    return this.#guard.run(name, bytes, () => this.#evaluate(name, keys, args));
  }

  async #evaluate(name: ScriptName, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    const { lua, sha } = SCRIPTS[name];
    try {
      return await this.#client.callBuffer("evalsha", [sha, keys.length, ...keys, ...args]);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return await this.#client.callBuffer("eval", [lua, keys.length, ...keys, ...args]);
    }
  }

  /** In a cluster each probe meets another slot. */
  #probe(): Promise<unknown> {
    return this.#evaluate("probe", this.#keysOf(`probe ${randomBytes(9).toString("base64")}`), []);
  }

  /**
   * Both keys of a session carry the same hash tag, so a cluster has them on one node. The id itself does not reach
   * Redis: whoever reads there cannot resume with it.
   */
  #keysOf(id: string): [record: string, stanzas: string] {
    const tag = createHash("sha256").update(id).digest("base64url").slice(0, 24);
    const key = `${this.#options.redis.key_prefix}{${tag}}`;
    return [key, `${key}q`];
  }

  #record([epoch, owner, core, fromCore, toCore, first, next, ttl]: Row): SessionRecord {
    return {
      epoch: Number(epoch),
      owner: String(owner ?? ""),
      core: core === null ? null : String(core),
      offsets: { fromCore: Number(fromCore), toCore: Number(toCore) },
      stanzas: first === null ? null : { first: Number(first), next: Number(next) },
      expiresAt: Math.round(this.#clock.wall() + ttl),
    };
  }
}

type Argument = string | number | Buffer;
/** The hash of a session, and how many milliseconds it has left. */
type Row = [Buffer, Nullable, Nullable, Nullable, Nullable, Nullable, Nullable, number];
type Nullable = Buffer | null;

function milliseconds(seconds: number): number {
  return Math.max(1, Math.round(seconds * 1000));
}

/** The scripts answer one of the words that the port knows. */
function word<Word extends string>(answer: unknown): Word {
  return String(answer) as Word;
}
