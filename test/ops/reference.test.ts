import assert from "node:assert/strict";
import { test } from "node:test";
import { staleDocuments } from "../../scripts/docs.ts";
import { meter } from "../../src/base/meter.ts";

test("docs/metrics.md is as the code declares (else: npm run docs)", async () => {
  const stale = await staleDocuments();
  assert.ok(!stale.includes("docs/metrics.md"), "stale");
});

test("every metric has the prefix and a help text, counters end with _total", async () => {
  await staleDocuments(); // imports every room
  const wrong = Array.from(meter.all()).filter(({ name, help, kind }) => {
    const named = name.startsWith("breakwater_") && name.endsWith("_total") === (kind === "counter");
    return !named || help === "";
  });
  assert.deepEqual(
    wrong.map(({ name }) => name),
    [],
  );
});
