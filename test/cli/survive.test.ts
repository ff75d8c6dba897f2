import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { test } from "node:test";
import { Running } from "./support.ts";

const source = (name: string) => JSON.stringify(resolve(import.meta.dirname, "../../src", name));

test("errors that no code caught are logged and counted, and the process goes on", async () => {
  const script = `
    import { createLog } from ${source("base/log.ts")};
    import { meter } from ${source("base/meter.ts")};
    import { surviveErrors } from ${source("cli/survive.ts")};
    surviveErrors(createLog({ level: "info" }));
    for (let i = 0; i < 30; i++) setTimeout(() => { throw new Error("boom"); }, 1);
    Promise.reject("no reason");
    setTimeout(() => {
      const [series] = [...meter.all()].filter((metric) => metric.name === "breakwater_uncaught_errors_total");
      console.log([...series.cells()].map(({ labels, cell }) => labels.kind + " " + cell.value).join(", "));
    }, 100);`;
  const { code, out } = await new Running(spawn(process.execPath, ["--input-type=module", "-e", script])).ended;
  const lines = out.trim().split("\n");
  assert.equal(code, 0);
  assert.equal(lines.at(-1), "rejection 1, exception 30");
  assert.equal(lines.length - 1, 20, "the log is not flooded");
  const boom = JSON.parse(lines.find((line) => line.includes("boom")) ?? "{}");
  assert.equal(boom.error, "boom");
  assert.ok(boom.at.length > 0);
});
