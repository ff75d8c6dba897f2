// Everything breaks while clients chat: links, edges, their connections to the core, their store. See test/support/soak.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ALL_CORES } from "../support/cores/index.ts";
import { soak } from "../support/soak/engine.ts";

const seconds = Number(process.env["FAULTS_SECONDS"] ?? 60);
const seeds = (process.env["FAULTS_SEEDS"] ?? "1").split(",").map(Number);
const clients = Number(process.env["FAULTS_CLIENTS"] ?? 400);

for (const kind of ALL_CORES) {
  for (const seed of seeds) {
    test(`${clients / 2} pairs lose, double and reorder nothing while edges, links and Redis break for ${seconds} s (${kind}, seed ${seed})`, async (t) => {
      const { chat, faults, reasons, stored, violations } = await soak({
        kind,
        seconds,
        seed,
        clients,
        say: (line) => t.diagnostic(line),
      });
      const { sent, delivered, lost, doubled, reordered, reorderedByCore, cuts, resumes, sleeps, ended } = chat;
      t.diagnostic(
        `${sent} messages, ${faults} faults, ${cuts} cuts, ${sleeps} sleeps, ${resumes} resumes, ${stored} stored, ${reorderedByCore} out of order at the core`,
      );
      t.diagnostic(`edges let go of sessions: ${JSON.stringify(reasons)}; ${ended.length} had to log in anew`);
      assert.deepEqual(violations, [], `seed ${seed}`);
      assert.deepEqual({ delivered, lost, doubled, reordered }, { delivered: sent, lost: 0, doubled: 0, reordered: 0 });
      assert.ok(resumes > clients / 4, "sessions were resumed");
      assert.ok(sleeps > 0, "clients slept");
      assert.ok(stored > 0, "some were sent more than their core keeps");
    });
  }
}
