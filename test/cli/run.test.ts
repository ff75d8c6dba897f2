import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { breakwater, configFile, freePort, running } from "./support.ts";

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

test("what keeps workers from starting is told once, and ends the start with the code that one process has", async (t) => {
  const several = 'workers: 3\nstream_management: { resume_secret: "what all workers know and nobody else" }\n';
  const { file, text } = await configFile(t, several);
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.after(() => taken.close());
  const { port } = taken.address() as { port: number };
  writeFileSync(file, text.replace("127.0.0.1:0", `127.0.0.1:${port}`));
  const busy = await breakwater("run", "--config", file);
  assert.equal(busy.code, 69);
  assert.match(busy.err, /^breakwater: worker 1 cannot start: 127\.0\.0\.1:\d+ is in use by another program: .*\n$/);
  const bare = text.replace("plaintext", "tls").replace("127.0.0.1:0", `127.0.0.1:${await freePort()}`);
  writeFileSync(file, bare.replace("name: example.org", "name: example.org\n    certificate: none\n    key: none"));
  const { code, err } = await breakwater("run", "--config", file);
  assert.equal(code, 78);
  assert.equal(err.match(/cannot start/g)?.length, 1, err);
});

test("a worker that nobody supervises says how workers are started", async () => {
  const { code, err } = await breakwater("worker");
  assert.equal(code, 64);
  assert.match(err, /^breakwater: workers are started by `breakwater run` /);
});
