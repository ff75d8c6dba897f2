import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { breakwater, configFile, running } from "./support.ts";

test("SIGTERM stops it in order, with exit code 0", async (t) => {
  const { file, opsPort } = await configFile(t);
  const edge = running(t, "run", "--config", file);
  await edge.logged("breakwater started");
  assert.equal((await fetch(`http://127.0.0.1:${opsPort}/healthz`)).status, 200);
  edge.signal("SIGTERM");
  const { code, err } = await edge.ended;
  assert.deepEqual({ code, err }, { code: 0, err: "" });
});

test("SIGHUP takes a new configuration, and a broken one changes nothing", async (t) => {
  const { file, opsPort, text } = await configFile(t);
  const edge = running(t, "run", "--config", file);
  await edge.logged("breakwater started");
  writeFileSync(file, `${text}lgo: {}\n`);
  edge.signal("SIGHUP");
  const { mistakes } = await edge.logged("reload refused, the old configuration stays");
  assert.deepEqual(mistakes, [`${file}:8:1: lgo: unknown key; did you mean \`log\`?`]);
  writeFileSync(file, `${text.replace("127.0.0.1:0", "127.0.0.2:0")}stream_management: { hold_time: 5 }\n`);
  edge.signal("SIGHUP");
  await edge.logged("configuration reloaded");
  assert.deepEqual((await edge.logged("these changes wait for a restart")).options, ["listeners[0].listen"]);
  const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
  assert.match(metrics, /^breakwater_config_reloads_total\{result="refused"\} 1$/m);
  assert.match(metrics, /^breakwater_config_reloads_total\{result="reloaded"\} 1$/m);
});

test("a port that is taken ends the start with 69 and a sentence", async (t) => {
  const { file, opsPort } = await configFile(t);
  const other = createServer().listen(opsPort, "127.0.0.1");
  t.after(() => other.close());
  const { code, err } = await breakwater("run", "--config", file);
  assert.equal(code, 69);
  assert.match(err, /^breakwater: cannot start: ops\.listen 127\.0\.0\.1:\d+ cannot be opened: another program/m);
});
