// A worker is killed while clients chat: each of them resumes its session at another one.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { churn } from "../support/churn.ts";
import { CoreWitness } from "../support/core-witness.ts";
import { ALL_CORES, startCore } from "../support/cores/index.ts";
import { spawnEdge } from "../support/edge.ts";
import { until } from "../support/wire.ts";

const CLIENTS = 40;
const WORKERS = 3;
const KILLS = 3;

for (const kind of ALL_CORES) {
  test(`workers are killed under ${CLIENTS} clients: nothing is lost, doubled or out of order (${kind})`, async (t) => {
    const core = await startCore(kind);
    t.after(() => core.stop());
    const witness = await CoreWitness.listen({ port: core.port });
    t.after(() => witness.close());
    const config = `workers: ${WORKERS}\nstream_management: { resume_secret: "what all workers know and nobody else" }`;
    const edge = await spawnEdge({ core: { ...core, kind }, connect: witness.connect, config });
    t.after(() => edge.stop());
    await until(() => edge.log().includes('"event":"breakwater started"'), "all workers serve");
    const kill = async (): Promise<void> => {
      for (let n = 1; n <= KILLS; n++) {
        // A worker lives long enough to have clients, then is gone without a word to them or to the core.
        await new Promise((resolve) => setTimeout(resolve, 3000));
        const pids = execFileSync("pgrep", ["-P", String(edge.pid)], { encoding: "utf8" })
          .trim()
          .split("\n");
        process.kill(Number(pids[n % pids.length]), "SIGKILL");
        const started = (): number => edge.log().match(/"event":"worker started"/g)?.length ?? 0;
        await until(() => started() === WORKERS + n, "another one has its place");
      }
    };
    const result = await churn({
      core,
      edges: [edge],
      witness,
      clients: CLIENTS,
      seconds: 15,
      seed: 4,
      cutEveryMs: 4000,
      transports: ["tcp", "tcp", "websocket", "bosh"],
      faults: kill,
    });
    const { sent, cuts, resumes, delivered, lost, doubled, reordered, reorderedByCore, bounced, ended, details } =
      result;
    t.diagnostic(`${sent} messages, ${cuts} cuts, ${resumes} resumes, ${reorderedByCore} out of order at the core`);
    assert.deepEqual({ ended, details }, { ended: [], details: [] });
    const well = { delivered: sent, lost: 0, doubled: 0, reordered: 0, bounced: 0 };
    assert.deepEqual({ delivered, lost, doubled, reordered, bounced }, well);
    const takenOver = await edge.metric("breakwater_sm_resumes_total", { result: "taken-over" });
    // Those whose worker was killed, and of those whose link was cut the ones that came to another worker.
    assert.ok(takenOver > CLIENTS / 2, `${takenOver} sessions were taken over`);
    assert.ok((await edge.metric("breakwater_bosh_relayed_total")) > 0, "requests were handed on");
  });
}
