// The core's connection is gone and the core is not: sessions go on without their clients (ejabberd, X-OAUTH2).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type LoginOptions, RawClient } from "../support/clients/raw-client.ts";
import { type Ejabberd, startEjabberd } from "../support/cores/index.ts";
import { type EdgeOptions, spawnEdge, startEdge, type TestEdge } from "../support/edge.ts";
import { WeakLink } from "../support/weak-link.ts";
import { until } from "../support/wire.ts";

const SECRET = "what all edges know and nobody else";

/** Time itself is the fact that some tests wait for. */
const past = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The end of a connection to the core, as a restart of the core's machine, a router or its own process may end it. */
const CUTS = ["fin", "rst"] as const;

describe("sessions at ejabberd, whose connections go", () => {
  let core: Ejabberd;
  let toCore: WeakLink;
  let edge: TestEdge;
  let bob: RawClient;
  let toEdge: WeakLink;

  const account = (user: string, from: { tls: number; ca: string } = edge, port = from.tls): LoginOptions => {
    return { port, tls: "direct", ca: from.ca, domain: core.domain, user, password: "pw", resource: "phone" };
  };
  const options = (port: number, more = ""): EdgeOptions => ({
    core: { ...core, kind: "ejabberd" },
    connect: `tcp://127.0.0.1:${port}`,
    coreConfig: `    reattach: { api: "http://127.0.0.1:${core.httpPort}/api"${more} }`,
    config: `stream_management: { resume_secret: "${SECRET}" }\ndrain: { rate: 1000 }`,
  });
  const results = (result: string): Promise<number> => edge.metric("breakwater_core_reattachments_total", { result });
  const parked = (): Promise<number> => edge.metric("breakwater_core_parked_sessions");

  before(async () => {
    core = await startEjabberd({ tokens: true });
    for (const user of ["alice", "bob", "carol"]) await core.register(user, "pw");
    toCore = await WeakLink.listen({ to: { port: core.port } });
    edge = await startEdge(options(toCore.port));
    toEdge = await WeakLink.listen({ to: { port: edge.tls } });
    bob = await RawClient.login({ port: core.port, domain: core.domain, user: "bob", password: "pw" });
    bob.presence();
    await bob.fence();
  });
  after(async () => {
    bob.drop();
    await toEdge.close();
    await edge.stop();
    await toCore.close();
    await core.stop();
  });

  const login = async (port = edge.tls): Promise<RawClient> => {
    const client = await RawClient.login(account("alice", edge, port));
    await client.enable({ resume: true });
    client.presence();
    await client.fence();
    return client;
  };
  const resume = async (client: RawClient, from: { tls: number; ca: string } = edge): Promise<RawClient> => {
    const back = await RawClient.authenticated(account("alice", from));
    back.jid = client.jid;
    assert.equal((await back.resume(client.sm!)).name, "resumed");
    return back;
  };
  const write = async (client: RawClient, ...texts: string[]): Promise<void> => {
    for (const text of texts) bob.message(client.jid!, text);
    await bob.fence();
  };
  const bodies = async (client: RawClient, last: string): Promise<string[]> => {
    client.inbox.items.push(await client.expect(new RegExp(`>${last}<`)));
    return client.takeBodies();
  };
  /** No stream to the core, and none to be had until `mend`. */
  const away = async (cut: (typeof CUTS)[number]): Promise<void> => {
    toCore.refuses = true;
    toCore.cut(cut);
    await until(async () => (await parked()) > 0, "the session is parked");
  };
  const mend = (): void => {
    toCore.refuses = false;
  };

  for (const cut of CUTS) {
    test(`a connected client notices nothing (${cut}): both directions, once and in order`, async () => {
      const attached = await results("attached");
      const client = await login();
      client.autoAck = false; // the core holds everything that she gets
      await write(client, "1", "2", "3");
      await client.expect(/>3</);
      client.inbox.items.length = 0;
      await away(cut);
      for (let i = 0; i < 300; i++) client.message(bob.jid!, `p${i}`);
      await write(client, "4", "5");
      mend();
      assert.deepEqual(await bodies(client, "5"), ["4", "5"]);
      assert.deepEqual(
        await bodies(bob, "p299"),
        Array.from({ length: 300 }, (_, i) => `p${i}`),
      );
      assert.equal(await results("attached"), attached + 1);
      client.ack();
      await client.allAcked();
      await client.fence();
      await write(client, "6");
      assert.deepEqual(await bodies(client, "6"), ["6"]);
      assert.ok(!client.isClosed);
      client.autoAck = true;
      await client.end();
    });
  }

  test("a dormant session is attached without its client, which finds everything when it returns", async () => {
    const attached = await results("attached");
    const client = await login(toEdge.port);
    await write(client, "1");
    assert.deepEqual(await bodies(client, "1"), ["1"]);
    toEdge.cut("fin");
    await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "she is dormant");
    await write(client, "2", "3");
    await away("rst");
    await write(client, "4");
    mend();
    await until(async () => (await results("attached")) === attached + 1, "attached");
    await write(client, "5");
    const back = await resume(client);
    assert.deepEqual(await bodies(back, "5"), ["2", "3", "4", "5"]);
    await back.end();
  });

  test("a client that has gone to another edge meanwhile keeps its session there: nobody takes it back", async () => {
    const elsewhere = await spawnEdge(options(core.port));
    try {
      const client = await login(toEdge.port);
      await write(client, "1");
      assert.deepEqual(await bodies(client, "1"), ["1"]);
      await past(3500); // the core tells a session's age in seconds
      await away("fin");
      toEdge.cut("rst");
      await write(client, "2");
      const back = await resume(client, elsewhere);
      assert.deepEqual(await bodies(back, "2"), ["2"]);
      await write(back, "3");
      const before = await results("elsewhere");
      mend();
      await until(async () => (await results("elsewhere")) === before + 1, "the edge sees that it has lost her");
      await until(async () => (await edge.metric("breakwater_sessions")) === 0, "and forgets her");
      back.message(bob.jid!, "from there");
      assert.deepEqual(await bodies(bob, "from there"), ["from there"]);
      await write(back, "4");
      assert.deepEqual(await bodies(back, "4"), ["3", "4"]);
      assert.ok(!back.isClosed);
      await back.end();
    } finally {
      await elsewhere.stop();
    }
  });

  test("a client that returns by itself while its session is parked gets it by its own login", async () => {
    const client = await login(toEdge.port);
    client.autoAck = false;
    await write(client, "1");
    await client.expect(/>1</);
    client.inbox.items.length = 0;
    await away("fin");
    for (let i = 0; i < 20; i++) client.message(bob.jid!, `q${i}`);
    await until(async () => (await edge.metric("breakwater_core_parked_sessions")) === 1, "parked");
    toEdge.cut("rst");
    mend();
    const back = await resume(client);
    await write(back, "2");
    assert.deepEqual(await bodies(back, "2"), ["2"]);
    assert.deepEqual(
      await bodies(bob, "q19"),
      Array.from({ length: 20 }, (_, i) => `q${i}`),
    );
    await back.end();
  });
});
