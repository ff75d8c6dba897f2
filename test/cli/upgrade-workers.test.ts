// `breakwater upgrade` where a supervisor has several workers, in front of a core that is this test.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { askControl } from "../../src/cli/control-client.ts";
import type { UpgradeState } from "../../src/ops/control.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { FakeCore, type FakeStream } from "../support/fake-core.ts";
import { event, heir, heirOf, linesOf, otherVersion, script, upgradeCommand } from "../support/upgrade.ts";
import { until } from "../support/wire.ts";

const SECRET = 'stream_management: { resume_secret: "what all workers know and nobody else" }';
const FAILED = "upgrade failed, this process goes on";
const WORKERS = 2;

interface Sleeper {
  readonly client: RawClient;
  readonly stream: FakeStream;
}

async function scene(t: TestContext): Promise<{ core: FakeCore; edge: SpawnedEdge; sleepers: Sleeper[] }> {
  const core = await FakeCore.listen();
  const edge = await spawnEdge({ core, config: `workers: ${WORKERS}\n${SECRET}`, opsConfig: "control: control.sock" });
  t.after(async () => {
    edge.process.kill("SIGKILL");
    await core.close();
  });
  await event(edge, "breakwater started");
  core.forget();
  const sleepers: Sleeper[] = [];
  // Chance deals them to the workers: that one gets none happens once in 30,000 times, and then less is tried.
  for (let i = 0; i < 16; i++) {
    const account = { port: edge.plaintext, domain: core.domain, user: `u${i}`, password: "pw", resource: "phone" };
    const client = await RawClient.login(account);
    await client.enable({ resume: true });
    sleepers.push({ client, stream: await core.nextBound() });
    client.hangUp();
  }
  const dormant = async () => await edge.metric("breakwater_sessions", { phase: "dormant" });
  await until(async () => (await dormant()) === sleepers.length, "all sleep");
  return { core, edge, sleepers };
}

function ask(edge: SpawnedEdge, method: string, query = ""): Promise<{ status: number; answer: UpgradeState }> {
  return askControl(join(edge.dir, "control.sock"), method, `/upgrade?${query}`);
}

test("a new version that cannot start, or ends before all workers are through, changes nothing for any of them", async (t) => {
  const { core, edge, sleepers } = await scene(t);
  let failures = 0;
  const fails = async (program: string, reason: RegExp): Promise<void> => {
    // Half of a stanza is with each worker when the attempt begins; the rest comes when it has failed.
    for (const { stream } of sleepers)
      stream.write(`<message from='bob@localhost/x' type='chat'><body>${failures}</bo`);
    const query = new URLSearchParams(program === "" ? {} : { launcher: program }).toString();
    assert.equal((await ask(edge, "POST", query)).status, 202);
    failures++;
    const lines = (): Record<string, unknown>[] => linesOf(edge).filter((line) => line["event"] === FAILED);
    await until(() => lines().length === failures, `failure ${failures}`, 60_000);
    assert.match(String(lines().at(-1)!["reason"]), reason);
    for (const { stream } of sleepers) stream.write("dy></message>");
    await until(async () => (await ask(edge, "GET")).answer.phase === "failed", "it may be tried again");
    const readiness = () => fetch(`http://127.0.0.1:${edge.ops}/readyz`).catch(() => null); // until the port is open again
    await until(async () => (await readiness())?.status === 200, "it serves again");
  };
  await fails("/nowhere/breakwater", /\/nowhere\/breakwater cannot be started: .*ENOENT/);
  await fails(script(edge, "crashes", "#!/bin/sh\nexit 3\n"), /the new process ended \(code 3\)/);
  await fails(otherVersion(edge, "foreign", 999, ""), /version 9\.9\.9 does not know the sessions of this one/);

  // What a new supervisor says for each of its workers, up to where it ends.
  const forAll = (word: string): string =>
    `for (const number of [1, 2]) process.send({ said: "worker", number, word: ${word} });`;
  const meets = `if (word.do === "meet") { ${forAll('{ said: "hello", format: 1, version: "9.9.9" }')} }
    const of = word.do === "worker" ? word.word : {};
    const answer = (word2) => process.send({ said: "worker", number: word.number, word: word2 });
    globalThis.met ??= 0;
    if (of.do === "meet") { answer({ said: "ready" }); if (++met === 2) process.send({ said: "ready" }); }`;
  const holds = `${meets} if (of.do === "hold") answer({ said: "held", number: of.number, ok: true });`;
  await fails(
    otherVersion(edge, "dies-holding", 1, `${meets} if (of.do === "hold") process.kill(process.pid, "SIGKILL");`),
    /SIGKILL/,
  );
  await fails(
    otherVersion(
      edge,
      "opens-one",
      1,
      // Number 1 has said that it serves when all of it ends.
      `${holds} globalThis.opens ??= 0;
       if (of.do === "open" && ++opens === 2)
         process.send({ said: "worker", number: 1, word: { said: "serving" } }, () => process.exit(4));`,
    ),
    /code 4/,
  );
  await fails(
    otherVersion(
      edge,
      "loses-one",
      1,
      `${holds} if (of.do === "open" && word.number === 1) process.send({ said: "worker-gone", number: 2 });`,
    ),
    /the new worker ended/,
  );
  await fails(
    otherVersion(
      edge,
      "one-refuses",
      1,
      `${meets} if (of.do === "meet") answer({ said: "refuses", why: "the moon" }); if (met === 2) process.exit(69);`,
    ),
    /the moon/,
  );

  const good = readFileSync(edge.configFile, "utf8");
  writeFileSync(edge.configFile, `${good}\nnonsense: 1\n`);
  await fails("", /the configuration is wrong: .*nonsense/);
  writeFileSync(edge.configFile, good.replace("workers: 2", "workers: 3"));
  await fails("", /breakwater\.yaml:\d+:10: workers: the running edge has 2, .* keep it for the upgrade/);
  writeFileSync(edge.configFile, good);
  const certificate = readFileSync(`${edge.dir}/edge.crt`);
  rmSync(`${edge.dir}/edge.crt`);
  await fails("", /worker 1: .*edge\.crt/);
  writeFileSync(`${edge.dir}/edge.crt`, certificate);

  assert.equal(await edge.metric("breakwater_sessions", { phase: "dormant" }), sleepers.length);
  assert.equal(await edge.metric("breakwater_workers"), WORKERS);
  assert.equal(await edge.metric("breakwater_workers_lost_total"), 0);
  assert.equal(await edge.metric("breakwater_upgrades_total", { result: "failed" }), failures);
  assert.equal(core.bound.items.length, 0, "the core saw no new session");

  // And then it works: each of them is the same session still, at whose core each stanza came once.
  const { code, out, err } = await upgradeCommand(edge);
  assert.equal(code, 0, err);
  assert.match(out, new RegExp(`after .* s: ${sleepers.length} sessions handed over, 0 can resume`));
  const next = await heirOf(edge);
  assert.equal(await edge.metric("breakwater_sessions", { phase: "dormant" }), sleepers.length);
  assert.equal(await edge.metric("breakwater_stanzas_total", { direction: "from_core" }), 0);
  for (const { stream } of sleepers) stream.message("now");
  const all = sleepers.length;
  await until(
    async () => (await edge.metric("breakwater_stanzas_total", { direction: "from_core" })) === all,
    "they are read",
  );
  assert.equal(core.bound.items.length, 0, "the core saw no new session");
  assert.equal(readFileSync(edge.pidFile, "utf8"), `${next.pid}\n`);
  await heir(next.pid).stop();
});
