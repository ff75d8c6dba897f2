import assert from "node:assert/strict";
import { test } from "node:test";
import { startEjabberd, startProsody } from "../support/cores/index.ts";
import { startEdge } from "../support/edge.ts";
import { until } from "../support/wire.ts";

test("an ejabberd that offers channel binding and EXTERNAL is refused with the settings that mend it", async (t) => {
  const core = await startEjabberd({ tls: true, channelBinding: true });
  t.after(() => core.stop());
  const options = {
    core: { ...core, kind: "ejabberd" },
    connect: `tls://127.0.0.1:${core.tlsPort}`,
    coreConfig: `    tls: { ca: ${core.ca}, servername: ${core.domain} }`,
  };
  await assert.rejects(startEdge(options), (error: Error) => {
    assert.match(error.message, /core "main".*channel binding.*SCRAM-SHA-[0-9]+-PLUS.*disable_sasl_mechanisms/);
    return true;
  });
});

test("an ejabberd listener that requires STARTTLS is refused with the setting that mends it", async (t) => {
  const core = await startEjabberd({ tls: true });
  t.after(() => core.stop());
  const connect = `tcp://127.0.0.1:${core.starttlsRequiredPort}`;
  await assert.rejects(startEdge({ core: { ...core, kind: "ejabberd" }, connect }), /wants STARTTLS.*starttls: false/);
});

for (const tls of [true, false]) {
  const has = tls ? "with" : "without";
  test(`a Prosody that requires encryption (${has} TLS of its own) is refused with the setting that mends it`, async (t) => {
    const core = await startProsody({ requireEncryption: true, tls });
    t.after(() => core.stop());
    await assert.rejects(startEdge({ core: { ...core, kind: "prosody" } }), /c2s_require_encryption = false/);
  });
}

test("a core that does not serve the domain is refused by name", async (t) => {
  const core = await startProsody({});
  t.after(() => core.stop());
  await assert.rejects(startEdge({ core, domains: ["elsewhere.example"] }), /does not serve elsewhere\.example/);
});

test("a core that is down does not keep the edge from starting; it is not ready, and says which core", async (t) => {
  const core = await startProsody({});
  t.after(() => core.stop());
  await core.kill();
  const edge = await startEdge({ core, coreConfig: "    probe_interval: 1" });
  t.after(() => edge.stop());
  const ready = () => fetch(`http://127.0.0.1:${edge.breakwater.ops.port}/readyz`);
  const answer = await ready();
  assert.equal(answer.status, 503);
  assert.match(await answer.text(), /core \\"main\\" \(tcp:.*cannot be reached/);
  await core.restart();
  await until(async () => (await ready()).status === 200, "the edge finds the core again by itself");
});
