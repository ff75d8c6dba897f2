// Three workers are replaced one after the other while clients write to each other. In the suite there are few of them:
// RESTART_CLIENTS=1000 RESTART_CURVE=curve.json node --test test/cores/restart-workers.test.ts
// is what docs/workers.md tells of, and scripts/login-curve.ts draws.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { test } from "node:test";
import { CATCH_UP_MS } from "../../src/base/pacer.ts";
import { startProsody } from "../support/cores/index.ts";
import { Crowd, when } from "../support/crowd.ts";
import { spawnEdge } from "../support/edge.ts";
import { loginsPerSecond, mostWithin } from "../support/prosody-logins.ts";

const CLIENTS = Number(process.env["RESTART_CLIENTS"] ?? 150);
const WORKERS = 3;
/** Logins a second that the core shall see at most. */
const RATE = 50;
const MESSAGES_PER_SECOND = 100;

// At ejabberd 23.01 messages that arrive while it resumes a session may be lost, doubled or late, without an edge, too.
test(`${WORKERS} workers are restarted under ${CLIENTS} clients: nobody logs in anew, nothing is lost, and the core is not stormed`, async (t) => {
  const core = await startProsody();
  t.after(() => core.stop());
  await core.registerAll(Array.from({ length: CLIENTS }, (_, i) => ({ user: `user${i}`, password: "pw" })));
  const secret = 'stream_management: { resume_secret: "what all workers know and nobody else" }';
  const config = `workers: ${WORKERS}\ndrain: { rate: ${RATE} }\n${secret}`;
  // Clients may be slow or quick to return: what the core sees, the edge bounds.
  const edge = await spawnEdge({ core, config, coreConfig: `    login_rate: ${RATE}` });
  t.after(() => edge.stop());
  const account = { port: edge.tls, tls: "direct", ca: edge.ca, domain: core.domain, password: "pw" } as const;
  const crowd = await Crowd.login({
    clients: CLIENTS,
    options: (i) => ({ ...account, user: `user${i}`, resource: "phone", patienceMs: 60_000 }),
  });
  t.after(() => crowd.leave());
  const sessions = (await core.sessions()).sort();
  crowd.write(MESSAGES_PER_SECOND);

  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  const logged = (event: string): number => edge.log().split(`"event":"${event}"`).length - 1;
  // It is ready with its first worker, and restarts none before it has all.
  assert.ok(await when(() => logged("breakwater started") > 0, 120_000), "all workers have started");
  // The core's log has whole seconds: no login of before may share one with the restart.
  const beganAt = (Math.floor(Date.now() / 1000) + 1) * 1000;
  await when(() => Date.now() >= beganAt, 2000);
  process.kill(edge.pid, "SIGUSR1");
  const givenUp = "the restart of the workers is given up: one is not replaced";
  await when(() => logged("all workers are new") + logged(givenUp) > 0, 300_000);
  const tookSeconds = (Date.now() - beganAt) / 1000;
  await crowd.settle();
  loop.disable();

  const logins = loginsPerSecond(await core.log(), beganAt);
  const longest = Math.max(...crowd.returns.map(({ tookMs }) => tookMs)) / 1000;
  const lag = loop.max / 1e9;
  const { sent, ...rest } = crowd.counts();
  const total = mostWithin(logins.length, logins);
  t.diagnostic(
    `${sent} messages, ${total} logins in ${tookSeconds.toFixed(1)} s, ${Math.max(...logins)} in one second at most`,
  );
  t.diagnostic(
    `the slowest return took ${longest.toFixed(2)} s, the clients' process lagged ${lag.toFixed(2)} s at most`,
  );
  const { clients, into } = { clients: CLIENTS, into: process.env["RESTART_CURVE"] };
  const facts = { core: core.kind, clients, workers: WORKERS, rate: RATE, messages: sent, tookSeconds, longest, lag };
  if (into !== undefined) writeFileSync(into, JSON.stringify({ ...facts, logins }));

  assert.equal(logged("all workers are new"), 1);
  assert.equal(await edge.metric("breakwater_workers_lost_total"), 0);
  assert.deepEqual(crowd.ended, []);
  assert.deepEqual({ ...rest, reordered: crowd.reordered }, { delivered: sent, lost: 0, doubled: 0, reordered: 0 });
  assert.equal(logged("session bound"), CLIENTS, "logins that began a session");
  assert.deepEqual((await core.sessions()).sort(), sessions);
  assert.ok(crowd.returns.length >= CLIENTS && total >= crowd.returns.length, `${crowd.returns.length} returns`);
  // Each worker has its share and makes up for CATCH_UP_MS.
  for (const seconds of [1, 5, 10]) {
    const bound = RATE * (seconds + CATCH_UP_MS / 1000) + WORKERS;
    const most = mostWithin(seconds, logins);
    assert.ok(most <= bound, `${most} logins within ${seconds} s, the bound is ${bound}`);
  }
});
