import { type RedisServer, startRedis, until } from "../redis.ts";

const MASTER = "main";
const MAX_MEMORY = 64 * 1024 * 1024;

/**
 * A Redis that keeps what it was told, and its replica, watched by a Sentinel. Its faults lose nothing that was answered:
 * its file is written before each answer, and a failover waits for the replica, as an operator does it. What an
 * unplanned failover loses (docs/store.md) is no question of these tests.
 */
export class RedisPair {
  readonly sentinel: RedisServer;
  #master: RedisServer;
  #replica: RedisServer;

  private constructor(master: RedisServer, replica: RedisServer, sentinel: RedisServer) {
    this.#master = master;
    this.#replica = replica;
    this.sentinel = sentinel;
  }

  static async start(): Promise<RedisPair> {
    const config = ["appendonly yes", "appendfsync always", `maxmemory ${MAX_MEMORY}`, "repl-diskless-sync-delay 0"];
    const master = await startRedis({ config });
    const replica = await startRedis({ config: [...config, `replicaof ${master.host} ${master.port}`] });
    await until(() => replicates(replica), "the replica follows its master");
    // It only does what it is told: a master that is away for a moment comes back.
    const patient = [`sentinel down-after-milliseconds ${MASTER} 600000`];
    const sentinel = await startRedis({ sentinelOf: master, config: patient });
    const pair = new RedisPair(master, replica, sentinel);
    await pair.#sentinelKnows(replica);
    return pair;
  }

  /** For the configuration of an edge. */
  get storeConfig(): string {
    const nodes = `[${this.sentinel.address}]`;
    return `{ driver: redis, redis: { mode: sentinel, master_name: ${MASTER}, nodes: ${nodes} } }`;
  }

  get master(): RedisServer {
    return this.#master;
  }

  /** kill -9, and started again with what its file holds. */
  async crash(ms: number): Promise<void> {
    await this.#master.kill();
    await pause(ms);
    await this.#master.start();
    await until(async () => (await tell(this.#master, "ping")) === "PONG", "it has read its file");
  }

  async freeze(ms: number): Promise<void> {
    this.#master.freeze();
    await pause(ms);
    this.#master.thaw();
  }

  /** Every connection of an edge is closed. */
  async disconnect(): Promise<void> {
    await tell(this.#master, "client", "kill", "type", "normal");
  }

  /** Somebody else's data takes all memory, for a while. */
  async fill(ms: number): Promise<void> {
    await tell(this.#master, "setrange", "somebody-else", String(MAX_MEMORY), "x");
    await pause(ms);
    await tell(this.#master, "del", "somebody-else");
  }

  /** It believes to be a replica, for a while. */
  async readOnly(ms: number): Promise<void> {
    await tell(this.#master, "replicaof", "127.0.0.1", "1");
    await pause(ms);
    await tell(this.#master, "replicaof", "no", "one");
  }

  /** The replica becomes the master, and has everything. */
  async failOver(): Promise<void> {
    const [from, to] = [this.#master, this.#replica];
    await until(() => replicates(to), "the replica follows its master");
    await this.#sentinelKnows(to);
    await tell(from, "client", "pause", "60000", "write");
    await until(async () => (await offsetOf(from)) === (await offsetOf(to)), "the replica has everything");
    // It refuses while it has not yet seen the end of the one before.
    const obeys = async () => (await tell(this.sentinel, "sentinel", "failover", MASTER)) === "OK";
    await until(obeys, "the Sentinel takes the order");
    await until(async () => (await tell(to, "role")).startsWith("master"), "the replica is the master");
    [this.#master, this.#replica] = [to, from];
    // The Sentinel would do it as well, ten seconds later. What waits there for the end of the pause is refused then.
    await tell(from, "replicaof", to.host, String(to.port));
    await tell(from, "client", "unpause");
    // What befalls the new master before the Sentinel has finished makes it take the old one for the master for ever.
    await until(() => this.#sentinelHasFinished(to), "the Sentinel has finished");
  }

  async stop(): Promise<void> {
    await this.sentinel.stop();
    await this.#master.stop();
    await this.#replica.stop();
  }

  async #sentinelHasFinished(master: RedisServer): Promise<boolean> {
    const told = await tell(this.sentinel, "sentinel", "master", MASTER);
    return told.includes(`port\n${master.port}\n`) && !told.includes("failover_in_progress");
  }

  async #sentinelKnows(replica: RedisServer): Promise<void> {
    const knows = async () => {
      const told = await tell(this.sentinel, "sentinel", "replicas", MASTER);
      return told.includes(String(replica.port)) && !/s_down|disconnected|master_link_status\nerr/.test(told);
    };
    await until(knows, "the Sentinel knows the replica");
  }
}

/**
 * What `redis-cli` prints. A Sentinel closes all connections of a server whose role it changes, at a moment of its own: the order, which may
 * be given twice, is given again then.
 */
async function tell(server: RedisServer, ...order: string[]): Promise<string> {
  let printed: string | null = null;
  const obeys = async () => {
    printed = await server.cli(...order).catch((error: Error) => {
      if (/Connection reset|closed the connection/.test(error.message)) return null;
      throw error;
    });
    return printed !== null;
  };
  await until(obeys, `redis takes ${order.join(" ")}`);
  return printed!;
}

async function replicates(replica: RedisServer): Promise<boolean> {
  return (await tell(replica, "info", "replication")).includes("master_link_status:up");
}

async function offsetOf(server: RedisServer): Promise<string | undefined> {
  const told = await tell(server, "info", "replication");
  return /(?:slave_repl_offset|master_repl_offset):(\d+)/.exec(told)?.[1];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
