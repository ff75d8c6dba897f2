// Several processes behind one supervisor, as an operator runs them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { RawClient } from "../support/clients/raw-client.ts";
import { type EdgeOptions, type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { FakeCore } from "../support/fake-core.ts";
import { Scratch } from "../support/scratch.ts";
import { breakwater } from "./support.ts";

const SECRET = 'stream_management: { resume_secret: "what all workers know and nobody else" }';

interface Crew {
  readonly edge: SpawnedEdge;
  readonly core: FakeCore;
  client(): Promise<RawClient>;
}

async function crew(t: TestContext, workers: number, options: Partial<EdgeOptions> = {}): Promise<Crew> {
  const core = await FakeCore.listen();
  const config = `workers: ${workers}\n${SECRET}\n`;
  const edge = await spawnEdge({ core, config, ...options });
  await until(() => logged(edge, "breakwater started").length === 1, "all workers serve");
  const clients: RawClient[] = [];
  t.after(async () => {
    for (const client of clients) client.drop();
    for (const pid of workersOf(edge)) end(pid);
    end(edge.pid);
    await core.close();
  });
  const client = async (): Promise<RawClient> => {
    const one = await RawClient.connect({ port: edge.plaintext, domain: core.domain });
    clients.push(one);
    await one.open();
    return one;
  };
  return { edge, core, client };
}

/** The process numbers of the workers that run. */
function workersOf({ pid }: SpawnedEdge): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && parentOf(Number(name)) === pid)
    .map(Number);
}

function parentOf(pid: number): number | null {
  return statOf(pid)?.parent ?? null;
}

/** Null: it has ended. */
function statOf(pid: number): { state: string; parent: number } | null {
  try {
    // Behind the name of the program, which may have any characters: the state, then the parent.
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return state === "Z" ? null : { state: state!, parent: Number(parent) };
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  return parentOf(pid) !== null;
}

function end(pid: number): void {
  if (isAlive(pid)) process.kill(pid, "SIGKILL");
}

function logged(edge: SpawnedEdge, event: string): Record<string, unknown>[] {
  const lines = edge
    .log()
    .split("\n")
    .filter((line) => line.includes(`"event":"${event}"`));
  return lines.map((line) => JSON.parse(line));
}

/** Looks now and then: these are processes, and each look costs one of them something. */
async function until(fact: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; !(await fact()); tries++) {
    assert.ok(tries < 1200, `patience ended while waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** `count` workers have been replaced, and as many as there should be accept clients. */
async function replaced(edge: SpawnedEdge, count: number, workers: number): Promise<void> {
  await until(async () => (await edge.metric("breakwater_workers_lost_total")) === count, "their end is noticed");
  await until(async () => (await edge.metric("breakwater_workers")) === workers, "others have their places");
}

test("a worker that is killed while it starts is replaced when another one serves", async (t) => {
  const core = await FakeCore.listen();
  // The second of all workers stands still before it has begun; those after it do not.
  const scratch = new Scratch("second-worker");
  const preload = scratch.path("preload.mjs");
  const seats = JSON.stringify(scratch.path("seat"));
  writeFileSync(
    preload,
    `import { mkdirSync } from "node:fs";
const takes = (n) => {
  try {
    mkdirSync(${seats} + n);
    return true;
  } catch {
    return false;
  }
};
if (process.argv.includes("worker") && !takes(1) && takes(2)) process.kill(process.pid, "SIGSTOP");
`,
  );
  const env = { NODE_OPTIONS: `--import=${preload}` };
  const edge = await spawnEdge({ core, config: `workers: 2\n${SECRET}\n`, env });
  t.after(async () => {
    for (const pid of workersOf(edge)) end(pid);
    end(edge.pid);
    await core.close();
    scratch.remove();
  });
  const first = logged(edge, "worker started").map(({ pid }) => pid);
  assert.equal(first.length, 1, "the second has just begun");
  // One that is killed before it has its seat leaves it to the next.
  const stoppedOf = () => workersOf(edge).find((pid) => statOf(pid)?.state === "T");
  await until(() => stoppedOf() !== undefined, "the second stands still");
  const second = stoppedOf()!;
  end(second);
  await until(() => logged(edge, "breakwater started").length === 1, "the edge has started");
  await replaced(edge, 1, 2);
  assert.ok(!logged(edge, "worker started").some(({ pid }) => pid === second));
  assert.ok(isAlive(first[0] as number));
});

test("the kernel deals connections out to all workers alike", async (t) => {
  const { edge, client } = await crew(t, 2);
  const clients: RawClient[] = [];
  for (let i = 0; i < 10; i++) clients.push(...(await Promise.all(Array.from({ length: 20 }, client))));
  await until(async () => (await edge.metric("breakwater_connections")) === 200, "all are counted");
  const [one] = workersOf(edge);
  end(one!);
  await until(() => clients.some(({ isClosed }) => isClosed), "its clients are gone");
  await replaced(edge, 1, 2);
  const left = clients.filter(({ isClosed }) => !isClosed).length;
  // Half of 200; that chance alone leads beyond these happens once in 100 million times.
  assert.ok(left > 60 && left < 140, `${left} of 200`);
  assert.equal(await edge.metric("breakwater_connections"), left);
});

test("metrics are those of all workers, and counters do not fall when a worker is gone", async (t) => {
  const { edge, client } = await crew(t, 3);
  await Promise.all(Array.from({ length: 30 }, client));
  const total = "breakwater_connections_total";
  assert.equal(await edge.metric(total, { kind: "plaintext" }), 30);
  assert.equal(await edge.metric("breakwater_connections"), 30);
  const text = await edge.metrics();
  for (const worker of ["1", "2", "3"]) {
    assert.match(text, new RegExp(`^breakwater_start_time_seconds\\{worker="${worker}"\\} \\d`, "m"));
    assert.match(text, new RegExp(`^process_cpu_seconds_total\\{worker="${worker}"\\} \\d`, "m"));
  }
  assert.match(text, /^process_cpu_seconds_total\{worker="supervisor"\} \d/m);
  assert.equal(text.match(/^# TYPE breakwater_connections_total /gm)?.length, 1);
  end(workersOf(edge)[0]!);
  await replaced(edge, 1, 3);
  assert.equal(await edge.metric(total, { kind: "plaintext" }), 30);
});

test("SIGTERM ends all workers in order, and the supervisor after them with 0", async (t) => {
  const { edge, client } = await crew(t, 3);
  const one = await client();
  const workers = workersOf(edge);
  assert.equal(workers.length, 3);
  assert.equal(await edge.stop(), 0);
  assert.equal(await one.closed, "stream-end");
  assert.deepEqual(workers.filter(isAlive), []);
});

test("a signal for every process of a group, as a terminal and systemd send it, ends them in order, too", async (t) => {
  const { edge, client } = await crew(t, 2);
  const one = await client();
  const exited = new Promise((resolve) => edge.process.once("exit", resolve));
  for (const pid of [...workersOf(edge), edge.pid]) process.kill(pid, "SIGINT");
  assert.equal(await exited, 0);
  assert.equal(await one.closed, "stream-end");
  assert.deepEqual(
    logged(edge, "a worker has ended; its clients resume at the others, and another one takes its place"),
    [],
  );
});

test("workers whose supervisor is killed stop, too: nobody keeps the ports", async (t) => {
  const { edge, client } = await crew(t, 2);
  const one = await client();
  const workers = workersOf(edge);
  assert.equal(workers.length, 2);
  process.kill(edge.pid, "SIGKILL");
  assert.equal(await one.closed, "stream-end");
  await until(() => !workers.some(isAlive), "the workers have ended");
  await assert.rejects(client());
});

test("SIGHUP: all workers take a new configuration, and one that cannot be used is refused once for all", async (t) => {
  const { edge } = await crew(t, 3);
  const text = readFileSync(edge.configFile, "utf8");
  const reload = async (config: string, event: string, times: number): Promise<void> => {
    writeFileSync(edge.configFile, config);
    process.kill(edge.pid, "SIGHUP");
    await until(() => logged(edge, event).length === times, event);
  };
  const REFUSED = "reload refused, the old configuration stays";
  await reload(`${text}\nlgo: {}\n`, REFUSED, 1);
  await reload(text.replace("certificate: edge.crt", "certificate: none.crt"), REFUSED, 2);
  assert.match(String(logged(edge, REFUSED)[1]?.["mistakes"]), /^worker 1: .*none\.crt/);
  await reload(text.replace("localhost", "other.example"), "configuration reloaded", 1);
  assert.equal(await edge.metric("breakwater_config_reloads_total", { result: "refused" }), 2);
  assert.equal(await edge.metric("breakwater_config_reloads_total", { result: "reloaded" }), 1);
  // Whoever is asked: the old domain is served by none.
  for (let i = 0; i < 12; i++) {
    const asked = await RawClient.connect({ port: edge.plaintext, domain: "localhost" });
    await assert.rejects(asked.open(), /host-unknown/);
    asked.drop();
  }
});

test("a worker that takes the place of another has what was reloaded, and what waits for a restart is as it was", async (t) => {
  const { edge } = await crew(t, 2);
  const text = readFileSync(edge.configFile, "utf8");
  const moved = text.replace("localhost", "other.example").replace(`:${edge.plaintext}`, ":1");
  writeFileSync(edge.configFile, moved);
  process.kill(edge.pid, "SIGHUP");
  await until(() => logged(edge, "configuration reloaded").length === 1, "reloaded");
  writeFileSync(edge.configFile, "not: what counts\n");
  for (const pid of workersOf(edge)) end(pid);
  await replaced(edge, 2, 2);
  for (let i = 0; i < 12; i++) {
    const asked = await RawClient.connect({ port: edge.plaintext, domain: "localhost" });
    await assert.rejects(asked.open(), /host-unknown/);
    asked.drop();
  }
});

test("SIGUSR1: each worker lets its clients go and is replaced, one after the other, and none counts as lost", async (t) => {
  const { edge, client } = await crew(t, 2);
  const old = workersOf(edge);
  const clients = await Promise.all(Array.from({ length: 6 }, client));
  // A terminal's or systemd's signal for the whole group changes nothing.
  for (const pid of [edge.pid, ...old]) process.kill(pid, "SIGUSR1");
  await until(() => logged(edge, "all workers are new").length === 1, "all workers are new");
  await Promise.all(clients.map(({ closed }) => closed));
  assert.equal(workersOf(edge).length, 2);
  assert.deepEqual(old.filter(isAlive), []);
  assert.equal(await edge.metric("breakwater_workers"), 2);
  assert.equal(await edge.metric("breakwater_workers_lost_total"), 0);
  const replaced = logged(edge, "a worker has let its clients go and is replaced");
  assert.deepEqual(
    replaced.map(({ worker }) => worker),
    [1, 2],
  );
  // One at a time, and so at the rate of all.
  assert.deepEqual(
    logged(edge, "drain begins").map(({ rate }) => rate),
    [50, 50],
  );
  await client();
});

test("a restart of the workers ends with the first that cannot be replaced, and changes nothing", async (t) => {
  const { edge } = await crew(t, 3);
  const old = workersOf(edge);
  rmSync(`${edge.dir}/edge.crt`);
  process.kill(edge.pid, "SIGUSR1");
  await until(
    () => logged(edge, "the restart of the workers is given up: one is not replaced").length === 1,
    "given up",
  );
  assert.deepEqual(workersOf(edge), old);
  assert.equal(await edge.metric("breakwater_workers"), 3);
});

test("breakwater drain lets the clients of all workers go, at the rate of all, until --abort", async (t) => {
  const { edge, client } = await crew(t, 3, { opsConfig: "control: control.sock" });
  const clients = await Promise.all(Array.from({ length: 30 }, client));
  const { code, out, err } = await breakwater("drain", "-c", edge.configFile, "--rate", "15/s");
  assert.deepEqual({ code, err }, { code: 0, err: "" });
  assert.match(out, /of 30 clients left, 15\/s, about/);
  assert.match(out, /^drained 30 connected clients in \S+ s\. .* 30 heard of a shutdown\.$/m);
  assert.deepEqual(
    logged(edge, "drain begins").map(({ rate }) => rate),
    [5, 5, 5],
  );
  await Promise.all(clients.map(({ closed }) => closed));
  assert.equal((await fetch(`http://127.0.0.1:${edge.ops}/readyz`)).status, 503);
  await assert.rejects(client());
  // Nothing else begins meanwhile, and a worker that takes the place of another drains, too.
  process.kill(edge.pid, "SIGUSR1");
  await until(() => logged(edge, "no restart of the workers is begun").length === 1, "that is refused");
  const upgrade = await breakwater("upgrade", "-c", edge.configFile);
  assert.match(upgrade.err, /breakwater drain --abort lets clients in again/);
  end(workersOf(edge)[0]!);
  await until(() => logged(edge, "drained, nobody is let in").length === 4, "it drains");
  const aborted = await breakwater("drain", "-c", edge.configFile, "--abort");
  assert.deepEqual(aborted, { code: 0, out: "the drain is aborted: clients are let in again\n", err: "" });
  await Promise.all(Array.from({ length: 12 }, client));
  assert.equal((await fetch(`http://127.0.0.1:${edge.ops}/readyz`)).status, 200);
});

test("a TLS ticket of one worker opens at every other", async (t) => {
  const { edge } = await crew(t, 3);
  const ca = readFileSync(edge.ca);
  const visit = (session?: Buffer): Promise<{ reused: boolean; session: Buffer }> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({
        port: edge.tls,
        host: "127.0.0.1",
        servername: "localhost",
        ca,
        ALPNProtocols: ["xmpp-client"],
        ...(session && { session }),
      });
      socket.on("error", reject);
      const done = (ticket: Buffer): void => {
        resolve({ reused: socket.isSessionReused(), session: ticket });
        socket.destroy();
      };
      // A resumed connection gets no new ticket.
      socket.once("session", done);
      socket.once("secureConnect", () => socket.isSessionReused() && done(session!));
    });
  const { session } = await visit();
  // All ten at the worker that made it: chance alone does that once in 59,000 times.
  for (let i = 0; i < 10; i++) assert.equal((await visit(session)).reused, true);
});

test("each log line of a worker tells its number", async (t) => {
  const { edge } = await crew(t, 2);
  const started = logged(edge, "worker started");
  assert.deepEqual(started.map(({ worker }) => worker).sort(), [1, 2]);
  assert.equal(logged(edge, "breakwater started")[0]?.["workers"], 2);
});
