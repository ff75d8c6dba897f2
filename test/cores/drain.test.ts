// An edge that is drained hands its sessions to another one while people talk: its core sees no more logins than agreed.
import assert from "node:assert/strict";
import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { test } from "node:test";
import { CATCH_UP_MS } from "../../src/base/pacer.ts";
import { type LoginOptions, RawClient } from "../support/clients/raw-client.ts";
import { startProsody } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { until } from "../support/wire.ts";

const CLIENTS = 120;
const RATE = 50;

test(`${CLIENTS} clients are drained at ${RATE}/s while messages flow: all resume elsewhere, nothing is lost or doubled`, async (t) => {
  const core = await startProsody();
  t.after(() => core.stop());
  const users = Array.from({ length: CLIENTS }, (_, i) => `user${i}`);
  await core.registerAll(["bob", ...users].map((user) => ({ user, password: "pw" })));
  const config = `stream_management: { resume_secret: "what all edges know and nobody else" }\ndrain: { rate: ${RATE} }`;
  const here = await spawnEdge({ core, config });
  const there = await spawnEdge({ core, config });
  t.after(() => there.stop());
  const account = (edge: SpawnedEdge, user: string): LoginOptions => {
    return { port: edge.plaintext, domain: core.domain, user, password: "pw", resource: "phone" };
  };

  const bob = await RawClient.login(account(there, "bob"));
  bob.presence();
  const answers = users.map((): string[] => []);
  bob.onStanza = (stanza) => {
    const [user, text] = stanza.text("body")?.split(" ") ?? [];
    if (text != null) answers[Number(user)]!.push(text);
  };

  const heard = users.map((): string[] => []);
  const logins: number[] = [];
  const returnsMs: number[] = [];
  /** Writes down what comes, and answers it. */
  const talk = (client: RawClient, i: number): void => {
    client.onStanza = (stanza) => {
      const text = stanza.text("body");
      if (text == null) return;
      heard[i]!.push(text);
      client.message(bob.jid!, `${i} ${text}`);
    };
  };
  const jids: string[] = [];
  const moved: Promise<RawClient>[] = [];
  for (const [i, user] of users.entries()) {
    const first = await RawClient.login(account(here, user));
    await first.enable({ resume: true });
    first.presence();
    talk(first, i);
    jids.push(first.jid!);
    moved.push(
      first.closed.then(async (why) => {
        assert.notEqual(why, "stream-end");
        const leftAt = performance.now();
        const second = await RawClient.authenticated(account(there, user));
        logins.push(performance.now());
        returnsMs.push(performance.now() - leftAt);
        talk(second, i);
        assert.equal((await second.resume(first.sm!)).name, "resumed");
        return second;
      }),
    );
  }

  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  let rounds = 0;
  const round = async (): Promise<void> => {
    for (const jid of jids) bob.message(jid, `${rounds}`);
    rounds++;
    await bob.fence();
  };
  await round();
  const ended = once(here.process, "exit");
  here.process.kill("SIGTERM");
  let done = false;
  const all = Promise.all(moved).finally(() => {
    done = true;
  });
  while (!done) await round();
  const clients = await all;
  loop.disable();
  await round();

  const said = Array.from({ length: rounds }, (_, i) => `${i}`);
  await until(() => answers.every((texts) => texts.length >= rounds), "every message is answered");
  await Promise.all(clients.map((client) => client.allAcked()));
  assert.deepEqual(new Set(heard.map(String)), new Set([String(said)]), "each heard all, once and in order");
  assert.deepEqual(new Set(answers.map(String)), new Set([String(said)]), "and bob their answers");
  assert.equal(await there.metric("breakwater_sm_resumes_total", { result: "taken-over" }), CLIENTS);
  assert.deepEqual(await ended, [0, null]);
  const log =
    here
      .log()
      .split("\n")
      .find((line) => line.includes('"event":"drained')) ?? "";
  assert.match(log, new RegExp(`"moved":${CLIENTS},"redirected":0,"shutdown":0`));
  const most = Math.max(...logins.map((from) => logins.filter((at) => at >= from && at < from + 1000).length));
  // They are let go at the rate, and CATCH_UP_MS are made up for; and who was slow to return comes beside who was quick,
  // or was seen late by this process, in which all of them are.
  const slowMs = Math.max(...returnsMs) + loop.max / 1e6;
  const bound = (RATE * (1000 + CATCH_UP_MS + slowMs)) / 1000 + 1;
  t.diagnostic(`${rounds} rounds of ${CLIENTS} messages; at most ${most} logins in any second; ${log}`);
  assert.ok(most <= bound, `${most} logins in one second, the bound is ${bound} (a return took ${slowMs} ms)`);
  assert.ok(logins.at(-1)! - logins[0]! > ((CLIENTS - 1) / RATE) * 1000 - CATCH_UP_MS - slowMs, "as long as it takes");
  for (const client of [...clients, bob]) client.drop();
});
