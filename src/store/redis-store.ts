import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type {
  Claim,
  Fenced,
  Left,
  Loaded,
  Lost,
  SessionRecord,
  Store,
  StoredName,
  Unavailable,
} from "../session/stanza-store.ts";
import type { StoreOptions } from "./options.ts";
import { createRedisClient, type RedisClient } from "./redis-client.ts";
import { RedisGuard } from "./redis-guard.ts";
import { SCRIPTS, type ScriptName } from "./redis-scripts.ts";

/** The store that several edges share. Each operation is one script and one round trip. */
export class RedisStore implements Store {
  readonly #options: StoreOptions;
  readonly #client: RedisClient;
  readonly #guard: RedisGuard;

  constructor(options: StoreOptions, { clock, log }: { clock: Clock; log: Log }) {
    const { redis } = options;
    this.#options = options;
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

  async claim(name: StoredName, owner: string, ttlSeconds: number): Promise<Claim | Unavailable> {
    const answer = await this.#run("claim", this.#keysOf(name), [owner, milliseconds(ttlSeconds), name.session]);
    if (answer === "unavailable") return answer;
    const [epoch, before] = answer as [number, Row | null];
    return { epoch, record: before && recordOf(before) };
  }

  async release(name: StoredName, epoch: number) {
    return word<"released" | Fenced | Unavailable>(
      await this.#run("release", this.#keysOf(name), [epoch, name.session]),
    );
  }

  async append(name: StoredName, epoch: number, firstSequence: number, stanzas: readonly Buffer[], ttlSeconds: number) {
    const { max_session_stanzas: maxStanzas, max_session_bytes: maxBytes, leftover_time } = this.#options;
    const times = [milliseconds(ttlSeconds), Math.round(leftover_time * 1000)];
    const { session, resource } = name;
    const args = [epoch, firstSequence, ...times, maxStanzas, maxBytes, session, resource, ...stanzas];
    return word<"stored" | Fenced | "full" | Lost | Unavailable>(await this.#run("append", this.#keysOf(name), args));
  }

  async load(name: StoredName, epoch: number, fromSequence: number, maxBytes: number) {
    const answer = await this.#run("load", this.#keysOf(name), [epoch, fromSequence, maxBytes]);
    if (!Array.isArray(answer)) return word<Fenced | Lost | Unavailable>(answer);
    const [first, more, ...stanzas] = answer as [number, number, ...Buffer[]];
    return { first, stanzas, more: more === 1 } satisfies Loaded;
  }

  async trim(name: StoredName, epoch: number, throughSequence: number, over = false) {
    const args = [epoch, throughSequence, over ? 1 : 0, name.session];
    return word<"trimmed" | Fenced | Lost | Unavailable>(await this.#run("trim", this.#keysOf(name), args));
  }

  async inherit(account: string, resource: string, shown: string | null, owner: string) {
    const rows = await this.#inherit(account, [owner, resource, shown ?? "", 0]);
    if (rows === "unavailable") return rows;
    return rows.map(([session, its, epoch, first, next]) => {
      const name = { account, resource: String(its), session: String(session) };
      return { name, epoch, first: Number(first), next: Number(next) } satisfies Left;
    });
  }

  async hasLeft(account: string, resource: string, besides: string) {
    const rows = await this.#inherit(account, ["", resource, besides, 1]);
    return rows === "unavailable" ? rows : rows.length > 0;
  }

  async #inherit(account: string, args: readonly Argument[]): Promise<readonly LeftRow[] | Unavailable> {
    const answer = await this.#run("inherit", [this.#keyOf(account)], args);
    return answer === "unavailable" ? answer : (answer as LeftRow[]);
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
    const name = { account: `probe ${randomBytes(9).toString("base64")}`, resource: "", session: "" };
    return this.#evaluate("probe", this.#keysOf(name), []);
  }

  /**
   * All keys of an account carry the same hash tag, so a cluster has them on one node. Resume ids do not reach Redis:
   * whoever reads there cannot resume with what is there.
   */
  #keysOf({ account, session }: StoredName): [record: string, stanzas: string, account: string] {
    const ofAccount = this.#keyOf(account);
    const key = `${ofAccount}${session}`;
    return [key, `${key}q`, ofAccount];
  }

  #keyOf(account: string): string {
    const tag = createHash("sha256").update(account).digest("base64url").slice(0, 24);
    return `${this.#options.redis.key_prefix}{${tag}}`;
  }
}

function recordOf([, owner, first, next]: Row): SessionRecord {
  return {
    owner: String(owner ?? ""),
    stanzas: first === null ? null : { first: Number(first), next: Number(next) },
  };
}

type Argument = string | number | Buffer;
/** The hash of a session. */
type Row = [epoch: Buffer, owner: Nullable, first: Nullable, next: Nullable];
type Nullable = Buffer | null;
type LeftRow = readonly [session: Buffer, resource: Buffer, epoch: number, first: Buffer, next: Buffer];

function milliseconds(seconds: number): number {
  return Math.max(1, Math.round(seconds * 1000));
}

/** The scripts answer one of the words that the port knows. */
function word<Word extends string>(answer: unknown): Word {
  return String(answer) as Word;
}
