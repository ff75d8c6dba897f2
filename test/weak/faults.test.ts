// Edges are killed, stopped and frozen, and their connections to the core cut, while clients chat over links that break.
import assert from "node:assert/strict";
import { test } from "node:test";
import { churn } from "../support/churn.ts";
import { ALL_CORES, startCore } from "../support/cores/index.ts";
import { spawnEdge } from "../support/edge.ts";
import { play, schedule } from "../support/faults.ts";
import { Random } from "../support/random.ts";
import { WeakLink } from "../support/weak-link.ts";

const seconds = Number(process.env["FAULTS_SECONDS"] ?? 20);
const seeds = (process.env["FAULTS_SEEDS"] ?? "1").split(",").map(Number);
const clients = Number(process.env["FAULTS_CLIENTS"] ?? 100);
const EVERY_MS = 2000;
const EDGES = 2;

for (const kind of ALL_CORES) {
  for (const seed of seeds) {
    test(`${clients} clients lose, double and reorder nothing while edges die for ${seconds} s (${kind}, seed ${seed})`, async (t) => {
      const core = await startCore(kind);
      t.after(() => core.stop());
      const toCore = await WeakLink.listen({ to: { port: core.port } });
      t.after(() => toCore.close());
      const config = `stream_management: { resume_secret: "what all edges know and nobody else" }`;
      const connect = `tcp://127.0.0.1:${toCore.port}`;
      const edges = await Promise.all(
        Array.from({ length: EDGES }, () => spawnEdge({ core: { ...core, kind }, connect, config })),
      );
      t.after(() => Promise.all(edges.map((edge) => edge.stop())));
      const faults = schedule(new Random(seed), seconds, EVERY_MS, EDGES);
      const what = faults
        .map(({ at, kind, edge, cut }) => `${at} ${kind} ${kind === "core-cut" ? cut : edge}`)
        .join(", ");
      t.diagnostic(`seed ${seed}: ${what}`);
      const result = await churn({
        core,
        edges: [...edges],
        clients,
        seconds,
        seed,
        transports: ["tcp", "tcp", "websocket", "bosh"],
        faults: () => play(faults, edges, toCore),
      });
      const { sent, cuts, resumes, ...rest } = result;
      t.diagnostic(`${sent} messages, ${cuts} cuts, ${resumes} resumes`);
      assert.deepEqual(rest, { delivered: sent, lost: 0, doubled: 0, reordered: 0, endedSessions: [] }, `seed ${seed}`);
      assert.ok(resumes > clients, "sessions were resumed");
    });
  }
}
