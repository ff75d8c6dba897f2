/**
 * The load generator. It reads the CPU time of the measured processes itself, in the same tick in which it reads its own
 * counters. Takes jobs from its parent (load.ts), one at a time.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { HandshakeJob, JobName, Jobs, Pids } from "./load.ts";
import { LoadClient } from "./load-client.ts";
import { cpuSeconds } from "./processes.ts";
import { streamHeader } from "./stream-wire.ts";
import { type LoadTarget, openSocket } from "./wire.ts";

const LOGINS_AT_ONCE = 16;
const MESSAGE_BYTES = 350;
const MAX_LATENCIES = 1_000_000;
const STUCK_MS = 20_000;

/** Clients in pairs: the one at index i talks with the one at i ^ 1. */
const groups = new Map<string, LoadClient[]>();
let lost: string | null = null;

function groupOf(name: string): LoadClient[] {
  const group = groups.get(name);
  if (!group) throw new Error(`no clients ${name}`);
  return group;
}

async function inParallel(count: number, width: number, run: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker));
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function address(clients: readonly LoadClient[], bytes: number): void {
  for (const [index, client] of clients.entries()) client.address(clients[index ^ 1]!.jid, bytes);
}

/** Waits until `count` has reached `goal`. Slow is fine, standing still is not. */
async function until(count: () => number, goal: () => number, what: string): Promise<void> {
  let last = count();
  let movedAt = performance.now();
  while (count() < goal()) {
    if (lost !== null) throw new Error(`a client was dropped: ${lost}`);
    const now = performance.now();
    if (count() !== last) movedAt = now;
    last = count();
    if (now - movedAt > STUCK_MS) throw new Error(`${what}: ${goal() - last} of ${goal()} messages do not arrive`);
    await sleep(5);
  }
}

function cpuOf(pids: Pids): Record<string, number> {
  const { user, system } = process.cpuUsage();
  const groups = Object.entries(pids).map(([name, list]) => [name, cpuSeconds(list)] as const);
  return { ...Object.fromEntries(groups), load: (user + system) / 1e6 };
}

function difference(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name]!]));
}

const jobs: Jobs = {
  async login({ group, target, firstUser, count, sm }) {
    const clients: LoadClient[] = new Array(count);
    groups.set(group, clients);
    await inParallel(count, LOGINS_AT_ONCE, async (index) => {
      const client = await LoadClient.login(target, `user${firstUser + index}`, "pw", sm);
      client.onLost = (client, why) => {
        lost ??= `${group} ${client.user}: ${why}`;
      };
      clients[index] = client;
    });
    return null;
  },

  async move({ group, messages, bytes }) {
    const clients = groupOf(group);
    address(clients, bytes);
    let arrived = 0;
    for (const client of clients) client.onMessage = () => arrived++;
    // A few at a time: this is not about a burst.
    await inParallel(clients.length, 50, async (index) => {
      for (let i = 0; i < messages; i++) clients[index]!.send();
      await sleep(10);
    });
    await until(
      () => arrived,
      () => clients.length * messages,
      group,
    );
    return null;
  },

  async traffic({ group, load, warmSeconds, seconds, pids }) {
    const clients = groupOf(group);
    address(clients, MESSAGE_BYTES);
    const latencies = new Float64Array(MAX_LATENCIES);
    let sent = 0;
    let delivered = 0;
    let measured = 0;
    let measuring = false;
    let stopped = false;
    const closedLoop = "window" in load;
    for (const client of clients) {
      client.onMessage = (client, ms) => {
        delivered++;
        if (measuring && measured < MAX_LATENCIES) latencies[measured++] = ms;
        if (!closedLoop || stopped) return;
        sent++;
        client.send();
      };
    }
    const pacing = closedLoop ? null : pace(load.rate, () => clients[sent++ % clients.length]!.send());
    if (closedLoop) {
      for (const client of clients) {
        for (let i = 0; i < load.window; i++) client.send();
        sent += load.window;
      }
    }
    await sleep(warmSeconds * 1000);
    const before = { at: performance.now(), delivered, cpu: cpuOf(pids) };
    measuring = true;
    await sleep(seconds * 1000);
    const after = { at: performance.now(), delivered, cpu: cpuOf(pids) };
    measuring = false;
    stopped = true;
    pacing?.stop();
    await until(
      () => delivered,
      () => sent,
      group,
    );
    const sorted = latencies.subarray(0, measured).sort();
    return {
      seconds: (after.at - before.at) / 1000,
      delivered: after.delivered - before.delivered,
      cpu: difference(after.cpu, before.cpu),
      p50: sorted[Math.floor(measured * 0.5)] ?? 0,
      p99: sorted[Math.floor(measured * 0.99)] ?? 0,
    };
  },

  async handshakes({ target, kind, concurrency, seconds, pids }) {
    const session = kind === "resumed" ? await ticket(target) : undefined;
    let count = 0;
    let stop = false;
    const worker = async () => {
      while (!stop) {
        await handshake(target, kind, session);
        count++;
      }
    };
    const workers = Promise.all(Array.from({ length: concurrency }, worker));
    await Promise.race([workers, sleep(500)]);
    const before = { at: performance.now(), count, cpu: cpuOf(pids) };
    await Promise.race([workers, sleep(seconds * 1000)]);
    const after = { at: performance.now(), count, cpu: cpuOf(pids) };
    stop = true;
    await workers;
    return {
      seconds: (after.at - before.at) / 1000,
      handshakes: after.count - before.count,
      cpu: difference(after.cpu, before.cpu),
    };
  },

  async leave({ group }) {
    const clients = groupOf(group);
    groups.delete(group);
    await inParallel(clients.length, 50, (index) => clients[index]!.end());
    return null;
  },
};

/** Calls `send` so many times a second, late ones too: what was due is sent. */
function pace(rate: number, send: () => void): { stop(): void } {
  const started = performance.now();
  let done = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - started) / 1000) * rate);
    for (; done < due; done++) send();
  }, 1);
  return { stop: () => clearInterval(timer) };
}

async function ticket(target: LoadTarget): Promise<Buffer> {
  const socket = (await openSocket(target)) as TLSSocket;
  const [session] = (await once(socket, "session")) as [Buffer];
  await closed(socket);
  return session;
}

async function handshake(target: LoadTarget, kind: HandshakeJob["kind"], session?: Buffer): Promise<void> {
  const socket = await openSocket(target, session);
  if (kind === "resumed" && !(socket as TLSSocket).isSessionReused()) throw new Error("the ticket was not taken");
  if (kind === "opened") {
    let text = "";
    const features = new Promise<void>((resolve, reject) => {
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (text.includes("</stream:features>")) resolve();
      });
      socket.once("close", () => reject(new Error(`closed before stream features, got: ${text}`)));
    });
    socket.write(streamHeader(target.domain));
    await features;
  }
  await closed(socket);
}

/** Ends politely and waits for the other side: by then its handshake is complete. */
async function closed(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  const close = once(socket, "close");
  socket.resume();
  socket.end();
  await close;
}

async function work({ name, job }: { name: JobName; job: never }): Promise<void> {
  try {
    process.send!({ result: await jobs[name](job) });
  } catch (error) {
    process.send!({ error: error instanceof Error ? error.message : String(error) });
  }
}

process.on("message", (message) => void work(message as never));
process.once("disconnect", () => process.exit(0));
