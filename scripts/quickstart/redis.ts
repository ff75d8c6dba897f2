import { messageOf } from "../../src/base/errors.ts";
import { freePort } from "../../test/support/cores/index.ts";
import { Program, systemAccount } from "../../test/support/cores/program.ts";
import type { Kept } from "./keeper.ts";
import { HOST, Trouble, tail } from "./options.ts";

const START_LIMIT_MS = 10_000;
const ENV = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" };

/** Debian's redis-server on loopback, in a directory of its own. Keeps nothing on disk. */
export class DemoRedis implements Kept {
  readonly name = "Redis";
  readonly port: number;
  readonly #program = new Program("redis", systemAccount("redis"));

  private constructor(port: number) {
    this.port = port;
  }

  /** Resolves when it answers; throws a Trouble that says why it does not, and leaves nothing running. */
  static async start(): Promise<DemoRedis> {
    const redis = new DemoRedis(await freePort());
    try {
      await redis.restart();
    } catch (error) {
      await redis.stop();
      throw error;
    }
    return redis;
  }

  get pid(): number {
    return this.#program.leader;
  }

  get running(): boolean {
    return this.#program.running;
  }

  get logFile(): string {
    return this.#program.path("output.log");
  }

  async restart(): Promise<void> {
    const where = ["--bind", HOST, "--port", String(this.port), "--dir", this.#program.dir];
    this.#program.start("redis-server", [...where, "--save", "", "--appendonly", "no"], ENV);
    const deadline = performance.now() + START_LIMIT_MS;
    for (;;) {
      const answer = await this.#ping();
      if (answer === "PONG") return;
      if (!this.running || performance.now() > deadline) {
        await this.#program.end();
        throw new Trouble(`redis-server does not start (${answer}):\n${tail(await this.#program.logs())}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async stop(): Promise<void> {
    await this.#program.end();
    this.#program.remove();
  }

  async #ping(): Promise<string> {
    try {
      return (await this.#program.run("redis-cli", ["-h", HOST, "-p", String(this.port), "ping"], ENV)).trim();
    } catch (error) {
      return messageOf(error);
    }
  }
}
