import assert from "node:assert/strict";
import { test } from "node:test";
import { churn } from "../support/churn.ts";
import { CoreWitness } from "../support/core-witness.ts";
import { ALL_CORES, startCore } from "../support/cores/index.ts";
import { spawnEdge } from "../support/edge.ts";

const seconds = Number(process.env["CHURN_SECONDS"] ?? 60);
const seeds = (process.env["CHURN_SEEDS"] ?? "1").split(",").map(Number);
const clients = Number(process.env["CHURN_CLIENTS"] ?? 200);

const TRANSPORTS = ["tcp", "websocket", "bosh"] as const;
const runs = ALL_CORES.flatMap((kind) => [
  { kind, how: "", clients, seconds },
  // Each connection is another kind: sessions go from TCP to WebSocket to BOSH and back all the time.
  { kind, how: " of any kind", clients: clients / 2, seconds: seconds / 3, transports: TRANSPORTS },
]);

for (const { kind, how, ...options } of runs) {
  for (const seed of seeds) {
    test(`${options.clients} clients whose links${how} are cut at random for ${options.seconds} s lose, double and reorder nothing (${kind}, seed ${seed})`, async (t) => {
      const core = await startCore(kind);
      t.after(() => core.stop());
      const witness = await CoreWitness.listen({ port: core.port });
      t.after(() => witness.close());
      const edge = await spawnEdge({ core: { ...core, kind }, connect: witness.connect });
      t.after(() => edge.stop());
      const result = await churn({ core, edges: [edge], witness, ...options, seed });
      const { sent, cuts, resumes, delivered, lost, doubled, reordered, reorderedByCore, bounced, ended, details } =
        result;
      t.diagnostic(`${sent} messages, ${cuts} cuts, ${resumes} resumes, ${reorderedByCore} out of order at the core`);
      assert.deepEqual({ ended, details }, { ended: [], details: [] }, `seed ${seed}`);
      const well = { delivered: sent, lost: 0, doubled: 0, reordered: 0, bounced: 0 };
      assert.deepEqual({ delivered, lost, doubled, reordered, bounced }, well, `seed ${seed}`);
      assert.ok(cuts > options.clients, "links were cut");
      assert.equal(await edge.metric("breakwater_internal_errors_total"), 0);
    });
  }
}
