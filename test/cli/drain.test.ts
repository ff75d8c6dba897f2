import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { until } from "../support/wire.ts";
import { breakwater, configFile, freePort, MAIN, Running, running } from "./support.ts";

/** So many go in no less than three minutes, at the slowest rate: whatever a busy machine takes for a command. */
const MANY = 20;

/** A running edge with a control socket, and clients that have connected and say nothing. */
async function scene(t: TestContext, { clients = 0, drain = "{}" } = {}) {
  const { file, opsPort, text } = await configFile(t, `drain: ${drain}\nsession: { open_timeout: 300 }\n`);
  const port = await freePort();
  const socket = join(dirname(file), "control.sock");
  const own = text
    .replace("127.0.0.1:0", `127.0.0.1:${port}`)
    .replace(`:${opsPort}" }`, `:${opsPort}", control: control.sock }`);
  writeFileSync(file, own);
  const edge = running(t, "run", "--config", file);
  await edge.logged("breakwater started");
  const sockets = await Promise.all(Array.from({ length: clients }, () => client(t, port)));
  const metric = async (name: string): Promise<number> => {
    const page = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
    return Number(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, "m").exec(page)?.[1]);
  };
  await until(async () => (await metric("breakwater_connections")) === clients, "all are inside");
  const readiness = async () => await (await fetch(`http://127.0.0.1:${opsPort}/readyz`)).text();
  return { file, port, socket, edge, sockets, metric, readiness };
}

async function client(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.on("error", () => {}).resume();
  await once(socket, "connect");
  return socket;
}

test("drain lets all clients go, tells how it goes, and the edge stays until SIGTERM or --abort", async (t) => {
  const { file, port, edge, sockets, readiness } = await scene(t, { clients: 30 });
  const gone = Promise.all(sockets.map((socket) => once(socket, "close")));
  const { code, out, err } = await breakwater("drain", "-c", file, "--rate", "10/s");
  assert.deepEqual({ code, err }, { code: 0, err: "" });
  const lines = out.trimEnd().split("\n");
  // The first goes at once, the others by the clock.
  assert.match(lines[0]!, /^ {2}3 % {2}29 of 30 clients left, 10\/s, about 4 s$/);
  const left = lines.slice(0, -2).map((line) => Number(/(\d+) of 30 clients left/.exec(line)![1]));
  assert.ok(left.length >= 2 && left.every((count, i) => i === 0 || count < left[i - 1]!), out);
  const [, seconds] = /^drained 30 connected clients in (\S+) s\. .* 30 heard of a shutdown\.$/.exec(lines.at(-2)!)!;
  assert.ok(Number(seconds) >= 2.9, `29 gaps of 100 ms and more: ${seconds} s`);
  assert.match(lines.at(-1)!, /^The edge runs and lets nobody in: stop it \(SIGTERM\), or .* --abort\.$/);
  await gone;
  assert.match(await readiness(), /the edge is drained; breakwater drain --abort/);
  await assert.rejects(client(t, port), /ECONNREFUSED/);
  const aborted = await breakwater("drain", "-c", file, "--abort");
  assert.deepEqual(aborted, { code: 0, out: "the drain is aborted: clients are let in again\n", err: "" });
  await client(t, port);
  assert.doesNotMatch(await readiness(), /accepting/);
  const again = await breakwater("drain", "-c", file, "--abort");
  assert.deepEqual(again, { code: 0, out: "no drain is under way, clients are let in\n", err: "" });
  edge.signal("SIGTERM");
  assert.equal((await edge.ended).code, 0);
});

test("the log tells the beginning, every tenth and the end", async (t) => {
  const { file, edge } = await scene(t, { clients: 20, drain: "{ rate: 1000, to: other.example }" });
  assert.equal((await breakwater("drain", "-c", file)).code, 0);
  edge.signal("SIGTERM");
  const lines = (await edge.ended).out.split("\n").filter((line) => /"event":"drain/.test(line));
  const [first, ...rest] = lines.map((line) => JSON.parse(line));
  assert.deepEqual([first.event, first.clients, first.rate, first.to], ["drain begins", 20, 1000, "other.example"]);
  const end = rest.pop();
  assert.deepEqual(
    rest.map(({ event, percent, left }) => [event, percent, left]),
    [10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((percent) => ["drain goes on", percent, 20 - percent / 5]),
  );
  assert.deepEqual([end.event, end.redirected], ["drained, nobody is let in", 20]);
  const seconds = (Date.parse(end.time) - Date.parse(first.time)) / 1000;
  assert.ok(Math.abs(end.took_s - seconds) <= 1, `${end.took_s} s: ${seconds} s lie between the lines`);
});

test("an abort ends the command that shows the drain, and those who are left stay", async (t) => {
  const { file, sockets, metric } = await scene(t, { clients: MANY });
  const shown = running(t, "drain", "-c", file, "--rate", "0.1");
  await until(async () => (await metric("breakwater_drain_clients_left")) > 0, "it has begun");
  const second = running(t, "drain", "-c", file, "--rate", "100");
  await until(() => second.err.includes("already"), "the second command shows it, too");
  assert.match(second.err, /^breakwater: a drain is under way already; --rate and --to have no effect on it$/m);
  assert.equal((await breakwater("drain", "-c", file, "--abort")).code, 0);
  for (const { ended } of [shown, second]) {
    const { code, err } = await ended;
    assert.equal(code, 69);
    assert.match(err, /^breakwater: the drain was aborted: clients are let in again$/m);
  }
  const stay = await metric("breakwater_connections");
  assert.ok(stay > MANY / 2, `${stay} of ${MANY}`);
  await until(() => sockets.filter(({ closed }) => !closed).length === stay, "they stay");
});

test("a command that is interrupted leaves the drain alone and says so", async (t) => {
  const { file, metric } = await scene(t, { clients: MANY });
  const shown = running(t, "drain", "-c", file, "--rate", "0.1");
  await until(() => shown.out.includes(`${MANY - 1} of ${MANY}`), "it shows the drain");
  shown.signal("SIGINT");
  const { code, err } = await shown.ended;
  assert.equal(code, 130);
  assert.match(err, /the drain goes on: breakwater drain shows it, breakwater drain --abort lets clients in again/);
  const left = await metric("breakwater_drain_clients_left");
  assert.ok(left > MANY / 2 && left < MANY, `${left} of ${MANY} are left: it was neither aborted nor hurried`);
});

test("on a terminal there is a bar, and Ctrl-C asks whether to abort", async (t) => {
  const { file, metric } = await scene(t, { clients: MANY });
  const command = `exec ${process.execPath} ${MAIN} drain -c ${file} --rate 0.1`;
  const terminal = spawn("script", ["-qec", command, "/dev/null"]);
  t.after(() => terminal.kill("SIGKILL"));
  const shown = new Running(terminal);
  await until(() => shown.out.includes(`${MANY - 1} of ${MANY}`), "it shows the drain");
  assert.match(shown.out, /\[#\.{29}\] {2} 5 % {2}19 of 20 clients left/);
  terminal.stdin.write("\u0003");
  await until(() => shown.out.includes("[y/N]"), "it asks");
  terminal.stdin.write("n\r");
  const before = shown.out.length;
  await until(() => shown.out.slice(before).includes(`of ${MANY} clients left`), "it goes on");
  terminal.stdin.write("\u0003");
  await until(() => shown.out.slice(before).includes("[y/N]"), "it asks again");
  terminal.stdin.write("y\r");
  await until(() => shown.out.includes("the drain is aborted"), "it aborts");
  terminal.stdin.end();
  assert.equal((await shown.ended).code, 0);
  assert.equal(await metric("breakwater_drain_clients_left"), 0);
});

test("SIGTERM in the middle of a drain ends it in drain.timeout", async (t) => {
  const { file, edge, metric } = await scene(t, { clients: MANY, drain: "{ timeout: 1 }" });
  const shown = running(t, "drain", "-c", file, "--rate", "0.1");
  await until(async () => (await metric("breakwater_drain_clients_left")) > 0, "it has begun");
  edge.signal("SIGTERM");
  assert.equal((await edge.ended).code, 0);
  assert.notEqual((await shown.ended).code, null);
});

test("the control socket is its user's alone, and goes with the process", async (t) => {
  const { file, socket, edge } = await scene(t);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  if (process.getuid?.() === 0) {
    chmodSync(dirname(file), 0o755);
    const stranger = new Running(spawn(process.execPath, [MAIN, "drain", "-c", file], { uid: 65_534, gid: 65_534 }));
    const { code, err } = await stranger.ended;
    assert.equal(code, 77);
    assert.match(
      err,
      /control\.sock is for the user of the edge only: run this command as that user \(sudo -u\), or as root$/m,
    );
  }
  edge.signal("SIGTERM");
  await edge.ended;
  assert.equal(existsSync(socket), false);
  const { code, err } = await breakwater("drain", "-c", file);
  assert.equal(code, 69);
  assert.match(err, /^breakwater: no edge listens at .*control\.sock: is it running/);
});

test("a socket that a killed edge left is replaced; another edge's, and any other file, is not", async (t) => {
  const { file, socket, edge } = await scene(t);
  const second = await breakwater("run", "-c", file);
  assert.equal(second.code, 69);
  edge.signal("SIGKILL");
  await edge.ended;
  assert.equal(existsSync(socket), true);
  const next = running(t, "run", "-c", file);
  await next.logged("breakwater started");
  next.signal("SIGTERM");
  await next.ended;
  const other = createServer().listen(socket);
  await once(other, "listening");
  const taken = await breakwater("run", "-c", file);
  assert.deepEqual([taken.code, /ops\.control .* is in use by another process/.test(taken.err)], [69, true]);
  other.close();
  await once(other, "close");
  writeFileSync(socket, "a letter");
  const refused = await breakwater("run", "-c", file);
  assert.deepEqual([refused.code, /is there already and no socket/.test(refused.err)], [69, true]);
  assert.equal(readFileSync(socket, "utf8"), "a letter");
});

test("without ops.control, and with values that cannot be, it says what to write", async (t) => {
  const { file } = await configFile(t);
  const without = await breakwater("drain", "-c", file);
  assert.equal(without.code, 78);
  assert.match(without.err, /has no ops\.control, by which commands reach the edge: add ops: \{ control: /);
  const { file: other } = await scene(t);
  for (const [args, message] of [
    [["--rate", "fast"], /--rate fast: expected clients a second, such as 50\/s/],
    [["--rate", "0"], /--rate: .*0\.1/],
    [["--to", "no place"], /--to: expected "host", "host:port"/],
    [["--abort", "--rate", "5"], /mutually exclusive/],
  ] as const) {
    const { code, err } = await breakwater("drain", "-c", other, ...args);
    assert.equal(code, 64, err);
    assert.match(err, message);
  }
});
