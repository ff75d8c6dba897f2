// `breakwater upgrade` and SIGUSR2 with real processes, in front of a core that is this test.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { askControl } from "../../src/cli/control-client.ts";
import type { UpgradeState } from "../../src/ops/control.ts";
import { type LoginOptions, RawClient, type StreamManagement } from "../support/clients/raw-client.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { FakeCore, type FakeStream } from "../support/fake-core.ts";
import { event, heir, heirOf, linesOf, otherVersion, script, upgradeCommand } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

interface Scene {
  readonly core: FakeCore;
  readonly edge: SpawnedEdge;
  account(user: string): LoginOptions;
  /** A bound client with stream management, and its stream at the core. `said`: before it enables XEP-0198. */
  managed(user: string, said?: string): Promise<{ client: RawClient; stream: FakeStream }>;
  returns(user: string, sm: StreamManagement, before?: (client: RawClient) => void): Promise<RawClient>;
}

async function scene(t: TestContext, { rate = 50, config = "" } = {}): Promise<Scene> {
  const core = await FakeCore.listen();
  const edge = await spawnEdge({
    core,
    config: `drain: { rate: ${rate} }\n${config}`,
    opsConfig: "control: control.sock",
  });
  t.after(async () => {
    edge.process.kill("SIGKILL");
    await core.close();
  });
  core.forget();
  const clients: RawClient[] = [];
  t.after(() => {
    for (const client of clients) client.drop();
  });
  const account = (user: string): LoginOptions => ({
    ...{ port: edge.plaintext, domain: core.domain, user, password: "pw", resource: "phone", patienceMs: 60_000 },
  });
  return {
    core,
    edge,
    account,
    managed: async (user, said = "") => {
      const client = await RawClient.login(account(user));
      clients.push(client);
      client.write(said);
      await client.enable({ resume: true });
      return { client, stream: await core.nextBound() };
    },
    returns: async (user, sm, before = () => {}) => {
      const client = await RawClient.authenticated(account(user));
      before(client);
      clients.push(client);
      const answer = await client.resume(sm);
      assert.equal(answer.name, "resumed", answer.xml);
      return client;
    },
  };
}

/** Asks by the control socket, as the command does. */
function ask(edge: SpawnedEdge, method: string, query = ""): Promise<{ status: number; answer: UpgradeState }> {
  return askControl(join(edge.dir, "control.sock"), method, `/upgrade?${query}`);
}

test("a new version that cannot start, or dies before it has all, changes nothing: sleeping sessions stay where they are", async (t) => {
  const { edge, managed, returns } = await scene(t, { config: "" });
  const { client, stream } = await managed("alice");
  client.hangUp();
  await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "she sleeps");
  let failures = 0;
  let said = 0;
  const fails = async (program: string, reason: RegExp): Promise<void> => {
    // Half of a stanza is with the edge when the attempt begins; the rest comes when it has failed.
    stream.write(`<message from='bob@localhost/x' type='chat'><body>${said}</bo`);
    const launcher = program === "" ? {} : { launcher: program };
    const query = new URLSearchParams(launcher).toString();
    const { status } = await ask(edge, "POST", query);
    assert.equal(status, 202);
    failures++;
    await until(
      () =>
        linesOf(edge).filter((line) => line["event"] === "upgrade failed, this process goes on").length === failures,
      `failure ${failures}`,
    );
    assert.match(
      String(
        linesOf(edge)
          .filter((line) => line["event"] === "upgrade failed, this process goes on")
          .at(-1)!["reason"],
      ),
      reason,
    );
    stream.write("dy></message>");
    said++;
    const readiness = () => fetch(`http://127.0.0.1:${edge.ops}/readyz`).catch(() => null); // until the port is open again
    await until(async () => (await readiness())?.status === 200, "it serves again");
  };
  await fails("/nowhere/breakwater", /\/nowhere\/breakwater cannot be started: .*ENOENT/);
  await fails(script(edge, "crashes", "#!/bin/sh\nexit 3\n"), /the new process ended \(code 3\)/);
  await fails(otherVersion(edge, "foreign", 999, ""), /version 9\.9\.9 does not know the sessions of this one/);
  await fails(
    otherVersion(edge, "refuses", 1, 'process.send({ said: "refuses", why: "the moon" }, () => process.exit(69));'),
    /the moon/,
  );
  const ready = 'if (word.do === "meet") process.send({ said: "ready" });';
  await fails(
    otherVersion(edge, "dies-holding", 1, `${ready} if (word.do === "hold") process.kill(process.pid, "SIGKILL");`),
    /SIGKILL/,
  );
  await fails(
    otherVersion(
      edge,
      "takes-nothing",
      1,
      `${ready} if (word.do === "hold") process.send({ said: "held", number: word.number, ok: true }, () => process.exit(4));`,
    ),
    /code 4/,
  );
  const good = readFileSync(edge.configFile, "utf8");
  writeFileSync(edge.configFile, `${good}\nnonsense: 1\n`);
  await fails("", /the configuration is wrong: .*nonsense/);
  const redis = "{ driver: redis, redis: { nodes: ['127.0.0.1:1'] } }";
  const secret = "stream_management: { resume_secret: what all edges know and nobody else }";
  writeFileSync(edge.configFile, `${good}\n${secret}\nstore: ${redis}\n`);
  await fails("", /breakwater\.yaml:\d+:\d+: store\.driver: the running edge has "memory", .* keep it for the upgrade/);
  writeFileSync(edge.configFile, good);

  const back = await returns("alice", client.sm!);
  back.inbox.items.push(await back.expect(new RegExp(`>${said - 1}<`)));
  assert.deepEqual(
    back.takeBodies(),
    Array.from({ length: said }, (_, i) => `${i}`),
  );
  back.message("bob@localhost", "here");
  await stream.expect(/>here</);
  assert.equal(await edge.metric("breakwater_upgrades_total", { result: "failed" }), failures);
  assert.equal(edge.process.exitCode, null);
  assert.equal(await edge.stop(), 0);
});

/**
 * So many sessions have their turns before that of the last one, which so is a minute away at the slowest rate: what happens in
 * between may take its time on a busy machine.
 */
async function others(managed: Scene["managed"]): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let i = 0; i < 6; i++) clients.push((await managed(`other${i}`)).client);
  return clients;
}

test("connected clients go one after the other while they talk, or when they come by themselves; then it can be done again", async (t) => {
  const { core, edge, managed, returns } = await scene(t, { rate: 1 });
  const users = ["u0", "u1", "u2", "u3", "early"];
  const heard = users.map((): string[] => []);
  const streams: FakeStream[] = [];
  const clients: RawClient[] = [];
  let resumes = 0;
  /** Writes down what comes, and resumes whenever its connection is gone. */
  const listen = (i: number, client: RawClient): void => {
    clients[i] = client;
    client.onStanza = (stanza) => {
      const text = stanza.text("body");
      if (text != null) heard[i]!.push(text);
    };
    void client.closed.then(async () => {
      if (over) return;
      await returns(users[i]!, client.sm!, (back) => listen(i, back));
      resumes++;
    });
  };
  let over = false;
  t.after(() => {
    over = true;
  });
  for (const [i, user] of users.entries()) {
    const { client, stream } = await managed(user, "<presence/>".repeat(i));
    streams.push(stream);
    listen(i, client);
  }
  let said = 0;
  const talking = (async () => {
    while (!over) {
      for (const [i, stream] of streams.entries()) {
        stream.message(`${said}`);
        if (!clients[i]!.isClosed) clients[i]!.message("bob@localhost", `${i}`);
      }
      said++;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  })();

  let pid = edge.pid;
  for (const round of [1, 2]) {
    const ended = round === 1 ? once(edge.process, "exit") : null;
    const done = upgradeCommand(edge);
    const next = await heirOf(edge, pid);
    clients[4]!.hangUp(); // its turn would be the last
    if (round === 1) {
      edge.process.kill("SIGUSR2");
      process.kill(next.pid, "SIGUSR2");
      await event(edge, "no upgrade is begun", ({ reason }) => /^an upgrade is under way/.test(String(reason)));
      await event(edge, "no upgrade is begun", ({ reason }) => /still lets its clients go/.test(String(reason)));
    }
    const { code, out, err } = await done;
    assert.equal(code, 0, err);
    assert.match(
      out,
      new RegExp(`process ${next.pid} serves in place of ${pid}, after .* s: 5 sessions handed over, 0 can resume`),
    );
    assert.match(out, /0 clients log in anew/);
    if (ended !== null) assert.deepEqual(await ended, [0, null]);
    assert.equal(readFileSync(edge.pidFile, "utf8"), `${next.pid}\n`);
    await until(() => resumes === round * 5, "all are back");
    pid = next.pid;
  }
  over = true;
  await talking;
  const all = Array.from({ length: said }, (_, i) => `${i}`);
  await until(() => heard.every((texts) => texts.length >= said), "all is heard");
  await Promise.all(clients.map((client) => client.allAcked()));
  for (const texts of heard) assert.deepEqual(texts, all, "each heard all, once and in order");
  for (const [i, stream] of streams.entries()) {
    const ids = stream.elements.filter(({ name }) => name === "message").map(({ attrs }) => attrs["id"]);
    assert.equal(new Set(ids).size, ids.length, "nothing came twice");
    // The core counts what came before, too: the edge stood in until then.
    assert.equal(ids.length + i, stream.handled, `and all is counted (${i})`);
  }
  assert.equal(core.bound.items.length, 0, "the core saw no new session");
  assert.equal(await edge.metric("breakwater_inherited_sessions_total", { result: "taken" }), 5);
  await heir(pid).stop();
  assert.throws(() => readFileSync(edge.pidFile), /ENOENT/);
});

test("the old process is killed halfway: the new one has what had come, and takes commands", async (t) => {
  const { edge, managed, returns, account } = await scene(t, { rate: 0.1 });
  const asleep = await managed("asleep");
  asleep.client.hangUp();
  const first = await managed("first");
  await others(managed);
  const second = await managed("second");
  await until(async () => (await edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "one sleeps");
  edge.process.kill("SIGUSR2");
  const next = await heirOf(edge);
  await first.client.closed;
  const back = await returns("first", first.client.sm!);
  edge.process.kill("SIGKILL");
  await second.client.closed;
  await event(edge, "the process before this one ended before it was through");
  asleep.stream.message("good morning");
  const awake = await returns("asleep", asleep.client.sm!);
  await awake.expect(/good morning/);
  first.stream.message("still here");
  await back.expect(/still here/);
  await RawClient.login(account("new"));
  await until(async () => (await ask(edge, "GET").catch(() => null))?.answer.phase === "done", "commands are taken");
  assert.equal(readFileSync(edge.pidFile, "utf8"), `${next.pid}\n`);
  next.kill(); // its drain would take as long as it is slow
});

test("the new process is killed halfway: the old one lets clients in again and keeps those who had not gone", async (t) => {
  const { edge, managed, returns } = await scene(t, { rate: 0.1 });
  const first = await managed("first");
  const between = await others(managed);
  const second = await managed("second");
  edge.process.kill("SIGUSR2");
  const next = await heirOf(edge);
  await first.client.closed;
  process.kill(next.pid, "SIGKILL");
  await event(edge, "upgrade failed, this process goes on");
  second.stream.message("you stay");
  await second.client.expect(/you stay/);
  await until(async () => (await fetch(`http://127.0.0.1:${edge.ops}/readyz`)).status === 200, "it is ready");
  second.client.hangUp();
  const back = await returns("second", second.client.sm!);
  assert.equal(readFileSync(edge.pidFile, "utf8"), `${edge.pid}\n`);
  back.message("bob@localhost", "here");
  await second.stream.expect(/>here</);
  const { answer } = await ask(edge, "GET");
  assert.deepEqual([answer.phase, answer.pid], ["failed", edge.pid]);
  for (const client of [back, ...between]) client.drop(); // its drain would take as long as it is slow
  await until(async () => (await edge.metric("breakwater_connections")) === 0, "nobody is left");
  assert.equal(await edge.stop(), 0);
});

test("who comes back too late hears from the new process how much was handled, whenever its session ended", async (t) => {
  const { edge, managed, account } = await scene(t, { rate: 0.1, config: "stream_management: { hold_time: 1 }" });
  const gone = await managed("gone");
  for (const text of ["1", "2", "3"]) gone.client.message("bob@localhost", text);
  await gone.client.allAcked();
  gone.client.hangUp();
  await until(async () => (await edge.metric("breakwater_sm_resumable_sessions")) === 0, "its session is over");
  const first = await managed("first");
  const between = await others(managed);
  const late = await managed("late");
  late.client.message("bob@localhost", "1");
  await late.client.allAcked();
  const ended = once(edge.process, "exit");
  edge.process.kill("SIGUSR2");
  const next = await heirOf(edge);
  /** Asks in vain: `h` is the number that the edge tells. */
  const asks = async (user: string, sm: StreamManagement): Promise<string | undefined> => {
    const client = await RawClient.authenticated(account(user));
    const answer = await client.resume(sm);
    client.drop();
    assert.equal(answer.name, "failed", answer.xml);
    return answer.attrs["h"];
  };
  assert.equal(await asks("gone", gone.client.sm!), "3");
  assert.equal(await asks("late", gone.client.sm!), undefined, "nobody else hears it");
  await first.client.closed;
  // Before their turns: they end in the old process.
  for (const client of [late.client, ...between]) await client.end();
  assert.deepEqual(await ended, [0, null]);
  await event(edge, "took the place of the process before");
  assert.equal(await asks("late", late.client.sm!), "1");
  await next.stop();
});
