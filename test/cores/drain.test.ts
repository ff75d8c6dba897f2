// An edge that is drained hands its sessions to another one while people talk: its core sees no more logins than agreed.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { CATCH_UP_MS } from "../../src/base/pacer.ts";
import { type LoginOptions, RawClient } from "../support/clients/raw-client.ts";
import { startProsody } from "../support/cores/index.ts";
import { type SpawnedEdge, spawnEdge } from "../support/edge.ts";
import { loginsPerSecond, mostWithin } from "../support/prosody-logins.ts";
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
  // Clients may be slow or quick to return: what the core sees, the edge bounds where they return to.
  const there = await spawnEdge({ core, config, coreConfig: `    login_rate: ${RATE}` });
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
        const second = await RawClient.authenticated(account(there, user));
        talk(second, i);
        assert.equal((await second.resume(first.sm!)).name, "resumed");
        return second;
      }),
    );
  }

  let rounds = 0;
  const round = async (): Promise<void> => {
    for (const jid of jids) bob.message(jid, `${rounds}`);
    rounds++;
    await bob.fence();
  };
  await round();
  const ended = once(here.process, "exit");
  // The core's log has whole seconds: no login of before may share one with the drain.
  const beganAt = (Math.floor(Date.now() / 1000) + 1) * 1000;
  await until(() => Date.now() >= beganAt, "the next second begins");
  here.process.kill("SIGTERM");
  let done = false;
  const all = Promise.all(moved).finally(() => {
    done = true;
  });
  while (!done) await round();
  const clients = await all;
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
  const seen = loginsPerSecond(await core.log(), beganAt);
  const most = mostWithin(1, seen);
  t.diagnostic(`${rounds} rounds of ${CLIENTS} messages; logins in each second: ${seen}; ${log}`);
  assert.ok(mostWithin(seen.length, seen) >= CLIENTS, "the core has logged them");
  assert.ok(most <= RATE * (1 + CATCH_UP_MS / 1000) + 1, `${most} logins in one second`);
  for (const client of [...clients, bob]) client.drop();
});
