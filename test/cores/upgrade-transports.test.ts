// An upgrade under clients on every transport, in front of a core that is reached by a unix socket.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import {
  type LoginOptions,
  RawClient,
  type RawClientOptions,
  type StreamManagement,
} from "../support/clients/raw-client.ts";
import { XmppJs } from "../support/clients/xmpp-js.ts";
import { ALL_CORES, type Core, startCore } from "../support/cores/index.ts";
import { Crowd } from "../support/crowd.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { Scratch } from "../support/scratch.ts";
import { event, heirOf } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const TRANSPORTS = ["tcp", "websocket", "bosh"] as const;
type Transport = (typeof TRANSPORTS)[number];

/** Where the core can be reached by a unix socket: its own, or one that leads to its port. */
async function unixPathOf(t: TestContext, core: Core): Promise<string> {
  if (core.unixPath !== undefined) return core.unixPath;
  const scratch = new Scratch("unix-core");
  const sockets = new Set<Socket>();
  const server = createServer((here) => {
    const there = connect(core.port, "127.0.0.1");
    for (const socket of [here, there]) sockets.add(socket.on("error", () => {}));
    here.pipe(there).pipe(here);
  });
  server.listen(scratch.path("core.sock"));
  await once(server, "listening");
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await scratch.remove();
  });
  return scratch.path("core.sock");
}

function by(transport: Transport, edge: SpawnedEdge): RawClientOptions {
  if (transport === "websocket") return { webSocket: { url: `wss://localhost:${edge.https}/ws`, ca: edge.ca } };
  if (transport === "bosh") return { bosh: { port: edge.https, ca: edge.ca } };
  return { port: edge.plaintext };
}

for (const kind of ALL_CORES) {
  test(`clients on TCP, WebSocket and BOSH, awake and asleep, over a unix socket to ${kind}: all go on`, async (t) => {
    const core = await startCore(kind);
    t.after(() => core.stop());
    const names = Array.from({ length: 18 }, (_, i) => `user${i}`);
    await core.registerAll(names.map((user) => ({ user, password: "pw" })));
    const connectTo = `unix:${await unixPathOf(t, core)}`;
    // So soon a BOSH client is known to sleep.
    const config = "drain: { rate: 5 }\nhttp: { bosh: { inactivity: 5 } }";
    const edge = await spawnEdge({ core: { ...core, kind }, connect: connectTo, config });
    t.after(() => void edge.process.kill("SIGKILL"));
    const account = (i: number): LoginOptions => {
      const who = { domain: core.domain, user: names[i]!, password: "pw", resource: "phone", patienceMs: 60_000 };
      return { ...by(TRANSPORTS[i % 3]!, edge), ...who };
    };

    const crowd = await Crowd.login({ clients: 6, options: account });
    t.after(() => crowd.leave());
    const asleep: { sm: StreamManagement; jid: string; i: number }[] = [];
    for (const i of [6, 7, 8]) {
      const client = await RawClient.login(account(i));
      await client.enable({ resume: true });
      asleep.push({ sm: client.sm!, jid: client.jid!, i });
      client.drop();
    }
    // Without XEP-0198, so that each has to log in anew.
    const plain: RawClient[] = [];
    for (const i of [9, 10, 11]) plain.push(await RawClient.login(account(i)));
    // A library: it has its own mind about what a lost connection is.
    const webSocket = `wss://localhost:${edge.https}/ws`;
    const library = await XmppJs.login({
      ...{ webSocket, port: edge.https, ca: edge.ca },
      ...{ domain: core.domain, user: names[12]!, password: "pw" },
    });
    await library.presence();
    const bob = await RawClient.login({ port: core.port, domain: core.domain, user: names[13]!, password: "pw" });
    const dormant = async () => await edge.metric("breakwater_sessions", { phase: "dormant" });
    await until(async () => (await dormant()) >= asleep.length, "they sleep");
    const before = await core.sessions();
    crowd.write(20);

    const ended = once(edge.process, "exit");
    edge.process.kill("SIGUSR2");
    const next = await heirOf(edge);
    for (const { jid } of asleep) bob.message(jid, "while you slept");
    assert.deepEqual(await ended, [0, null]);
    const { handedOver, ...over } = await event(edge, "took the place of the process before");
    // Six that talk, three that sleep and the library's.
    assert.equal(handedOver, 10, JSON.stringify(over));

    await until(() => crowd.returns.length >= 6 && crowd.online === 6, "all who talk are back", 60_000);
    await crowd.settle();
    const { sent, ...rest } = crowd.counts();
    assert.deepEqual({ ...rest, reordered: crowd.reordered }, { delivered: sent, lost: 0, doubled: 0, reordered: 0 });
    assert.deepEqual(crowd.ended, []);
    for (const { sm, i } of asleep) {
      const back = await RawClient.authenticated(account(i));
      const answer = await back.resume(sm);
      assert.equal(answer.name, "resumed", answer.xml);
      await back.expect(/while you slept/);
      await back.fence();
      back.drop();
    }
    assert.equal(await library.reconnect(webSocket), "resumed");
    await library.fence();
    const anew: string[] = [];
    for (const [n, client] of plain.entries()) {
      await client.closed;
      const again = await RawClient.login(account(9 + n));
      await again.fence();
      anew.push(again.jid!);
    }
    const kept = before.filter((jid) => !plain.some((client) => client.jid === jid));
    const now = await core.sessions();
    assert.deepEqual(
      kept.filter((jid) => !now.includes(jid)),
      [],
      "the core has the sessions that it had",
    );
    assert.equal(await edge.metric("breakwater_sm_resumes_total", { result: "taken-over" }), 0);
    await library.stop().catch(() => {});
    bob.drop();
    await next.stop();
  });
}
