// A core that dies under its clients and comes back without their sessions: all of them return, at a rate that it stands.
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { spawnEdge } from "../support/edge.ts";
import { until } from "../support/wire.ts";

const CLIENTS = Number(process.env["RESTART_CLIENTS"] ?? 150);
const RATE = 40;
const SECRET = "what all edges know and nobody else";

/** One user, who returns as clients do: at once when the connection is gone, and then every now and then. */
class User {
  readonly name: string;
  sm: StreamManagement | null = null;
  client: RawClient | null = null;
  logins = 0;
  #over = false;
  readonly #connect: (user: string) => Promise<RawClient>;

  constructor(name: string, connect: (user: string) => Promise<RawClient>) {
    this.name = name;
    this.#connect = connect;
  }

  /** Until `stop`. Resolves when the first login is done. */
  async begin(): Promise<void> {
    await this.#login();
    void this.#live();
  }

  stop(): void {
    this.#over = true;
    this.client?.drop();
  }

  async #live(): Promise<void> {
    while (!this.#over) {
      await this.client!.closed;
      while (!this.#over && this.client!.isClosed) {
        await this.#login().catch(() => new Promise((resolve) => setTimeout(resolve, 100 + 400 * Math.random())));
      }
    }
  }

  async #login(): Promise<void> {
    const client = await this.#connect(this.name);
    if (this.sm === null || (await client.resume(this.sm)).name !== "resumed") {
      await client.bind("phone");
      await client.enable();
    }
    this.sm = client.sm;
    this.client = client;
    this.logins++;
  }
}

/** Stands before a core and notes when it accepts a login. (ejabberd's log leaves lines out when many come at once.) */
async function tap(t: TestContext, core: Core): Promise<{ port: number; logins: number[] }> {
  const logins: number[] = [];
  const server = createServer((edge) => {
    const toCore = connect({ host: core.host, port: core.port });
    toCore.on("data", (chunk: Buffer) => {
      if (chunk.includes("<success ")) logins.push(performance.now());
    });
    edge.pipe(toCore).pipe(edge);
    for (const [one, other] of [
      [edge, toCore],
      [toCore, edge],
    ] as const)
      one.on("error", () => {}).on("close", () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0, backlog: 1000 }, resolve));
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, logins };
}

/** The most that came within a second. */
function mostInASecond(at: readonly number[]): number {
  const sorted = [...at].sort((a, b) => a - b);
  let most = 0;
  for (let i = 0, from = 0; i < sorted.length; i++) {
    while (sorted[i]! - sorted[from]! >= 1000) from++;
    most = Math.max(most, i - from + 1);
  }
  return most;
}

for (const kind of ALL_CORES) {
  for (const how of ["kill", "restart"] as const) {
    test(`${CLIENTS} clients return to ${kind} after its ${how === "kill" ? "crash" : "restart"} at the rate that is set`, async (t) => {
      const core = await startCore(kind, kind === "ejabberd" ? { tokens: true } : {});
      t.after(() => core.stop());
      const names = Array.from({ length: CLIENTS }, (_, i) => `u${i}`);
      await core.registerAll(names.map((user) => ({ user, password: "pw" })));
      const { port, logins } = await tap(t, core);
      const edge = await spawnEdge({
        core: { ...core, kind },
        connect: `tcp://127.0.0.1:${port}`,
        config: `stream_management: { resume_secret: "${SECRET}" }\ndrain: { rate: ${RATE} }`,
        coreConfig: `    login_rate: ${RATE}${kind === "ejabberd" ? `\n    reattach: { api: "http://127.0.0.1:${core.httpPort}/api" }` : ""}`,
      });
      t.after(() => edge.stop());
      const login = (user: string) =>
        RawClient.authenticated({
          ...{ port: edge.tls, tls: "direct", ca: edge.ca, domain: core.domain, user, password: "pw" },
          patienceMs: 60_000,
        });
      const users = names.map((name) => new User(name, login));
      t.after(() => {
        for (const user of users) user.stop();
      });
      for (let i = 0; i < users.length; i += 20) await Promise.all(users.slice(i, i + 20).map((user) => user.begin()));
      const before = logins.length;
      assert.equal(before, CLIENTS);
      if (how === "kill") await core.kill();
      await core.restart();
      const from = performance.now();
      await until(
        () => users.every((user) => user.logins >= 2 && !user.client!.isClosed),
        "everybody is back",
        120_000,
      );
      const seconds = (performance.now() - from) / 1000;
      const seen = logins.slice(before);
      const most = mostInASecond(seen);
      t.diagnostic(`${seen.length} logins in ${seconds.toFixed(1)} s, ${most} in a second at most`);
      assert.ok(seen.length >= CLIENTS);
      // A second of a busy machine may hold what belongs into two; all of them together cannot be too early.
      assert.ok(most <= RATE * 2, `${most} logins in a second`);
      assert.ok(seen.at(-1)! - seen[0]! >= ((CLIENTS - 1) / RATE) * 1000 * 0.8, "they came at the rate");
      assert.equal((await core.sessions()).length, CLIENTS);
    });
  }
}
