// Clients that log in to a core at the rate that it stands.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AtTheGate, Gate } from "../../src/session/gate.ts";
import type { RawClient } from "../support/clients/raw-client.ts";
import { TurnedClock } from "../support/clock.ts";
import { until, Wire } from "../support/wire.ts";

test("clients are let in one after the other, in order, and nobody makes up for a standstill", () => {
  const clock = new TurnedClock();
  const gate = new Gate(clock, () => 10);
  clock.advance({ seconds: 1000 });
  const inside: number[] = [];
  const client = (id: number): AtTheGate => ({ letIn: () => void inside.push(id) });
  const verdicts = Array.from({ length: 30 }, (_, i) => gate.enter("main", client(i)));
  const now = verdicts.filter((verdict) => verdict === "now").length;
  assert.ok(now >= 1 && now <= 2, `${now} at once`);
  assert.ok(verdicts.slice(now).every((verdict) => verdict === "wait"));
  for (let ms = 10; ms <= 3000; ms += 10) {
    clock.advance({ ms: 10 });
    assert.ok(now + inside.length <= ms / 100 + 2, `${inside.length} after ${ms} ms`);
  }
  assert.deepEqual(
    inside,
    Array.from({ length: 30 - now }, (_, i) => now + i),
  );
});

test("who has left is not let in, who would wait too long is told so, and each core has its own", () => {
  const clock = new TurnedClock();
  const gate = new Gate(clock, (core) => (core === "free" ? Number.POSITIVE_INFINITY : 2));
  const inside: string[] = [];
  const client = (id: string): AtTheGate => ({ letIn: () => void inside.push(id) });
  for (let i = 0; i < 100; i++) assert.equal(gate.enter("free", client("x")), "now");
  while (gate.enter("main", client("first")) === "now");
  const gone = client("gone");
  assert.equal(gate.enter("main", gone), "wait");
  assert.equal(gate.enter("main", client("second")), "wait");
  assert.equal(gate.enter("other", client("y")), "now");
  gate.leave(gone);
  for (let i = 2; i < 20; i++) assert.equal(gate.enter("main", client("later")), "wait");
  assert.equal(gate.enter("main", client("last")), "full");
  clock.advance({ seconds: 1 });
  assert.deepEqual(inside, ["first", "second"]);
  gate.stop();
});

test("a client that waits for its turn is not read, gets its features when it comes, and the core sees no more than the rate", async (t) => {
  const wire = await Wire.start(t, { turned: true, coreConfig: "    login_rate: 2" });
  const waiting = () => wire.edge.metric("breakwater_logins_waiting");
  const first = await wire.connect();
  await first.open();
  const clients = [await wire.connect(), await wire.connect(), await wire.connect()];
  const opening = clients.map((client) => client.open());
  await until(async () => (await waiting()) === 3, "three wait");
  assert.equal(wire.core.streams.length, 1);
  clients[1]!.drop();
  opening[1]!.catch(() => {});
  await until(async () => (await waiting()) === 2, "one has left");
  wire.clock.advance({ ms: 500 });
  await opening[0];
  assert.equal(wire.core.streams.length, 2);
  wire.clock.advance({ ms: 500 });
  await opening[2];
  assert.equal(wire.core.streams.length, 3);
  await clients[2]!.authenticate({ user: "alice", password: "pw" });
  await clients[2]!.open();
  assert.match(await clients[2]!.bind("phone"), /phone$/);
});

test("who comes when too many wait is told to come later", async (t) => {
  const wire = await Wire.start(t, { turned: true, coreConfig: "    login_rate: 0.1" });
  const [first, second, third] = [await wire.connect(), await wire.connect(), await wire.connect()] as [
    RawClient,
    RawClient,
    RawClient,
  ];
  await first.open();
  second.open().catch(() => {});
  await until(async () => (await wire.edge.metric("breakwater_logins_waiting")) === 1, "one waits");
  await assert.rejects(third.open(), /resource-constraint/);
  assert.equal(await third.closed, "stream-end");
});

test("while half as many wait at the core as may, those who come next wait before their handshake, and none is sent away", async (t) => {
  const wire = await Wire.start(t, { turned: true, coreConfig: "    login_rate: 2" });
  const waiting = () => wire.edge.metric("breakwater_logins_waiting");
  const outside = () => wire.edge.metric("breakwater_handshakes_waiting", { state: "ready" });
  const handshakes = async () => (await wire.edge.metric("breakwater_tls_handshakes_total")) - before;
  const before = await wire.edge.metric("breakwater_tls_handshakes_total");
  const behindABalancer = await Promise.all(Array.from({ length: 11 }, () => wire.connect()));
  const opening = behindABalancer.map((client) => client.open());
  await until(async () => (await waiting()) === 10, "half of twenty wait");
  const direct = { port: wire.edge.tls, ca: wire.edge.ca, tls: "direct" } as const;
  const coming = Array.from({ length: 3 }, async () => (await wire.connect(direct)).open());
  await until(async () => (await outside()) === 3, "three wait outside");
  assert.equal(await handshakes(), 0);
  wire.clock.advance({ ms: 500 });
  await until(async () => {
    wire.clock.advance({ ms: 100 }); // the turnstile looks again
    return (await outside()) === 0;
  }, "they have come in, as there was room again");
  await until(async () => (await handshakes()) === 3, "they have shaken hands");
  let done = false;
  const all = Promise.all([...opening, ...coming]).then(() => (done = true));
  await until(async () => {
    if ((await waiting()) > 0) wire.clock.advance({ ms: 100 });
    return done;
  }, "all have been let in");
  await all;
});
