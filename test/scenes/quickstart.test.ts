// The command that the README opens with, as a new user types it: with real cores and a real client.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, freePort, freePorts, startCore } from "../support/cores/index.ts";
import { Scratch } from "../support/scratch.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PATIENCE_MS = 90_000;
const FREE_PORTS = "starttls=0,tls=0,https=0,ops=0";

interface Endpoints {
  starttls: { host: string; port: number };
  tls: { host: string; port: number };
  https: { host: string; port: number; websocket: string; bosh: string };
}

interface Facts extends Endpoints {
  domain: string;
  edges: (Endpoints & { metrics: string; pid: number })[];
  redis: { host: string; port: number; pid: number } | null;
  accounts: { jid: string; password: string }[];
  ca: string;
  metrics: string;
  pids: { edge: number; core: number | null };
}

/** A command that talks, and that is killed with the test at the latest. */
class Talk {
  readonly child: ChildProcess;
  output = "";
  readonly ended: Promise<number | null>;

  constructor(t: TestContext, command: string, ...args: string[]) {
    this.child = spawn(command, args, { cwd: ROOT });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.child.stdin!.on("error", () => {});
    this.ended = new Promise((done) => this.child.once("close", (code) => done(code)));
    t.after(() => this.child.kill("SIGKILL"));
  }

  say(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  /** Waits for words that are there or come. */
  async hears(words: string): Promise<void> {
    await until(`"${words}"`, () => this.output.includes(words), this);
  }
}

async function until(what: string, happened: () => boolean | Promise<boolean>, talk?: Talk): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await happened())) {
    const over = performance.now() > deadline || (talk && talk.child.exitCode !== null && !(await happened()));
    assert.ok(!over, `waited in vain for ${what}: ${talk?.output ?? ""}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function quickstart(t: TestContext, ...args: string[]): Talk {
  return new Talk(t, "npm", "run", "--silent", "quickstart", "--", ...args);
}

interface Ready {
  demo: Talk;
  facts: Facts;
  /** What its JSON says by now. */
  factsNow: () => Facts;
  ports: number[];
}

/** The quickstart on free ports, once everything is ready. */
async function ready(t: TestContext, ...args: string[]): Promise<Ready> {
  const scratch = new Scratch("quickstart-test");
  t.after(() => scratch.remove());
  const { starttls, tls, https, ops } = await freePorts("starttls", "tls", "https", "ops");
  const json = scratch.path("facts.json");
  const demo = quickstart(
    t,
    "--ports",
    `starttls=${starttls},tls=${tls},https=${https},ops=${ops}`,
    "--json",
    json,
    ...args,
  );
  await until("its JSON", () => existsSync(json), demo);
  await demo.hears("sessions:");
  const factsNow = () => JSON.parse(readFileSync(json, "utf8")) as Facts;
  return { demo, facts: factsNow(), factsNow, ports: [starttls, tls, https, ops] };
}

/** Two clients, started by the commands that the quickstart has printed, once both are logged in. */
async function chatAsPrinted(t: TestContext, demo: Talk): Promise<[Talk, Talk]> {
  const trust = /export NODE_EXTRA_CA_CERTS=\S+/.exec(demo.output)![0];
  const commands = [...demo.output.matchAll(/node scripts\/chat\.mjs .+/g)].map(([command]) => command);
  assert.equal(commands.length, 2);
  const [one, two] = commands.map((command) => new Talk(t, "sh", "-c", `${trust}; exec ${command}`)) as [Talk, Talk];
  await Promise.all([one.hears("You are user1@localhost/"), two.hears("You are user2@localhost/")]);
  return [one, two];
}

/** What a chat client has shown of its peer's messages. */
function received({ output }: Talk): string[] {
  return [...output.matchAll(/^user\d@localhost: (.+)$/gm)].map(([, text]) => text!);
}

/** The process and all below it. */
function family(pid: number): number[] {
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === pid);
  return [pid, ...children.flatMap((child) => family(Number(child)))];
}

function parentOf(pid: string): number | null {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return null;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}

async function nothingIsLeft(pids: number[], ports: number[], files: string[]): Promise<void> {
  await until(`the end of ${pids}`, () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  for (const port of ports) assert.ok(await isFree(port), `port ${port} is still in use`);
  for (const file of files) assert.ok(!existsSync(file), `${file} is still there`);
}

for (const core of ALL_CORES) {
  test(`in front of ${core} two accounts chat by the commands that it prints, and Ctrl-C leaves nothing behind`, async (t) => {
    const { demo, facts, ports } = await ready(t, "--core", core);
    assert.deepEqual(facts.accounts, [
      { jid: "user1@localhost", password: "pw" },
      { jid: "user2@localhost", password: "pw" },
    ]);
    assert.deepEqual(
      [facts.starttls, facts.tls],
      ports.slice(0, 2).map((port) => ({ host: "127.0.0.1", port })),
    );
    const https = ports[2]!;
    assert.deepEqual(facts.https, {
      host: "127.0.0.1",
      port: https,
      websocket: `wss://127.0.0.1:${https}/ws`,
      bosh: `https://127.0.0.1:${https}/http-bind`,
    });
    for (const over of [
      { webSocket: { url: facts.https.websocket, ca: facts.ca } },
      { bosh: { port: https, path: new URL(facts.https.bosh).pathname, ca: facts.ca } },
    ]) {
      await (await RawClient.login({ ...over, user: "user1", password: "pw" })).end();
    }
    const { starttls, tls, metrics: metricsUrl, pids } = facts;
    assert.deepEqual(facts.edges, [{ starttls, tls, https: facts.https, metrics: metricsUrl, pid: pids.edge }]);
    assert.equal(facts.redis, null);
    assert.match(demo.output, new RegExp(`browser: https://localhost:${https}/ is a chat of two`));
    const fingerprint = new X509Certificate(readFileSync(join(dirname(facts.ca), "edge.crt"))).fingerprint256;
    assert.ok(demo.output.includes(fingerprint), "what the browser shows of the certificate");
    const everything = family(demo.child.pid!);
    assert.ok(everything.includes(facts.pids.edge) && everything.includes(facts.pids.core!));

    const [one, two] = await chatAsPrinted(t, demo);
    one.say("a butterfly: 🦋");
    await two.hears("user1@localhost: a butterfly: 🦋");
    two.say("/cut");
    await two.hears("The connection is gone");
    one.say("while you were away");
    await two.hears("Back: the session was resumed.");
    await two.hears("user1@localhost: while you were away");
    const metrics = await (await fetch(facts.metrics)).text();
    assert.match(metrics, /^breakwater_sm_resumes_total\{result="resumed"\} 1$/m);
    for (const chat of [one, two]) chat.say("/quit");
    assert.deepEqual(await Promise.all([one.ended, two.ended]), [0, 0]);

    demo.child.kill("SIGINT");
    assert.equal(await demo.ended, 0, demo.output);
    await nothingIsLeft(everything, ports, [facts.ca]);
  });
}

test("one of two edges is killed while two accounts chat: everything arrives, once, and the edge comes back", async (t) => {
  const { demo, facts, factsNow } = await ready(t, "--edges", "2", "--ports", FREE_PORTS);
  const [first, second] = facts.edges as [Facts["edges"][0], Facts["edges"][0]];
  const ports = [facts.redis!.port];
  for (const { starttls, tls, https, metrics } of facts.edges) {
    ports.push(starttls.port, tls.port, https.port, Number(new URL(metrics).port));
    assert.match(await (await fetch(metrics)).text(), /^breakwater_store_up 1$/m, "it reaches Redis");
  }
  const everything = family(demo.child.pid!);
  for (const pid of [first.pid, second.pid, facts.redis!.pid]) assert.ok(everything.includes(pid));

  const [one, two] = await chatAsPrinted(t, demo);
  await two.hears(`on port ${second.starttls.port}. Write`);
  one.say("before");
  await two.hears("user1@localhost: before");
  process.kill(second.pid, "SIGKILL");
  one.say("to the lost edge");
  two.say("from the lost edge");
  await two.hears("The connection is gone");
  one.say("to nobody");
  two.say("from nobody");
  await two.hears(`Back: the session was resumed on port ${first.starttls.port}.`);

  await demo.hears(`Edge 2 (process ${second.pid}) has ended; it is started again in 2 s.`);
  await demo.hears("Edge 2 is back: process ");
  await until("its new process id", () => factsNow().edges[1]!.pid !== second.pid, demo);
  const back = factsNow().edges[1]!;
  assert.ok(family(demo.child.pid!).includes(back.pid));
  assert.deepEqual({ ...back, pid: second.pid }, second);
  two.say("/cut");
  await two.hears(`Back: the session was resumed on port ${second.starttls.port}.`);
  await demo.hears("takeovers: 2 | edges up: 2 of 2");

  one.say("last");
  two.say("last");
  await Promise.all([one.hears("user2@localhost: last"), two.hears("user1@localhost: last")]);
  assert.deepEqual(received(two), ["before", "to the lost edge", "to nobody", "last"]);
  assert.deepEqual(received(one), ["from the lost edge", "from nobody", "last"]);
  for (const chat of [one, two]) chat.say("/quit");
  await Promise.all([one.ended, two.ended]);

  everything.push(...family(demo.child.pid!));
  demo.child.kill("SIGINT");
  assert.equal(await demo.ended, 0, demo.output);
  await nothingIsLeft(everything, ports, [facts.ca]);
});

test("the core has what people use: rooms, carbons, archive, PEP, vCards", async (t) => {
  const { demo, facts } = await ready(t, "--domain", "chat.example", "--accounts", "1");
  const { port } = facts.tls;
  const login = { domain: "chat.example", user: "user1", password: "pw", ca: facts.ca };
  const client = await RawClient.login({ ...login, port, tls: "direct" });
  // The page's origin is not the domain.
  const page = { url: facts.https.websocket, ca: facts.ca, origin: `https://localhost:${facts.https.port}` };
  await (await RawClient.login({ ...login, webSocket: page })).end();
  const features = async (to: string): Promise<string> =>
    (
      await client.request(
        `<iq type='get' id='${to}' to='${to}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
      )
    ).xml;
  assert.match(await features("chat.example"), /urn:xmpp:carbons:2/);
  assert.match(await features("chat.example"), /vcard-temp/);
  assert.match(await features("user1@chat.example"), /urn:xmpp:mam:2/);
  assert.match(await features("user1@chat.example"), /type=['"]pep['"]/);
  assert.match(await features("conference.chat.example"), /http:\/\/jabber\.org\/protocol\/muc/);
  await client.end();
  demo.child.kill("SIGTERM");
  assert.equal(await demo.ended, 0, demo.output);
});

test("a core of one's own is fronted, and accounts that it lacks are told", async (t) => {
  const core = await startCore("prosody", { domain: "own.example" });
  t.after(() => core.stop());
  await core.register("user1", "pw");
  const address = ["--upstream", `tcp://127.0.0.1:${core.port}`, "--core", "prosody"];
  const { demo, facts } = await ready(t, ...address, "--domain", "own.example", "--accounts", "1");
  assert.equal(facts.pids.core, null);
  demo.child.kill("SIGINT");
  assert.equal(await demo.ended, 0, demo.output);
  assert.equal((await core.sessions()).length, 0); // and the core itself lives on

  const ports = ["--ports", FREE_PORTS];
  const more = quickstart(t, ...address, ...ports, "--domain", "own.example", "--accounts", "2");
  assert.notEqual(await more.ended, 0);
  assert.match(more.output, /user "user2" with password "pw" cannot log in/);
  const other = quickstart(t, ...address, ...ports, "--domain", "other.example");
  assert.notEqual(await other.ended, 0);
  assert.match(other.output, /does not serve other\.example \(host-unknown\): add the domain to its hosts/);
});

test("a signal while it starts leaves nothing behind", async (t) => {
  const demo = quickstart(t, "--ports", FREE_PORTS);
  await demo.hears("Starting Breakwater");
  const everything = family(demo.child.pid!);
  demo.child.kill("SIGTERM");
  assert.notEqual(await demo.ended, 0);
  await nothingIsLeft(everything, [], []);
});

test("when the process above it is killed, everything goes with it", async (t) => {
  const { demo, facts, ports } = await ready(t);
  const everything = family(demo.child.pid!);
  demo.child.kill("SIGKILL");
  await nothingIsLeft(everything, ports, [facts.ca]);
});

test("a port in use is told with its owner and a way out", async (t) => {
  const port = await freePort();
  const server = createServer().listen(port, "127.0.0.1");
  t.after(() => server.close());
  const demo = quickstart(t, "--ports", `starttls=0,tls=${port},https=0,ops=0`);
  assert.equal(await demo.ended, 69);
  const told = new RegExp(
    `^quickstart: port ${port} \\(tls\\) is in use by .+ \\(process ${process.pid}\\): stop it, or`,
  );
  assert.match(demo.output, told);
  assert.match(demo.output, /--ports tls=\d+$/m);

  const two = quickstart(t, "--edges", "2", "--ports", `starttls=0,tls=${port - 1000},https=0,ops=0`);
  assert.equal(await two.ended, 69);
  assert.match(two.output, new RegExp(`^quickstart: port ${port} \\(tls of edge 2\\) is in use by`, "m"));
});

test("a core that nobody listens at is told", async (t) => {
  const port = await freePort();
  const address = `tcp://127.0.0.1:${port}`;
  const demo = quickstart(t, "--upstream", address, "--domain", "own.example", "--ports", FREE_PORTS);
  assert.notEqual(await demo.ended, 0);
  assert.match(demo.output, /cannot be reached .+ Is the core running, and does it listen there\?/);
});

for (const [args, told] of [
  [["--cor", "prosody"], "there is no --cor; did you mean --core?"],
  [["--core", "ejabbert"], "there is no --core ejabbert; did you mean ejabberd?"],
  [["--upstream", "tcp://127.0.0.1:1"], "--upstream needs --domain"],
  [["--ports", "stattls=1"], '--ports has no "stattls"; did you mean starttls?'],
  [["--accounts", "many"], "--accounts many: write a number"],
  [["--edges", "5"], "--edges 5: write a number from 1 to 4"],
  [["--edges", "2", "--ports", "tls=6222"], "port 6222 to both tls of edge 1 and starttls of edge 2"],
  [["--edges", "3", "--ports", "ops=64000"], "there is no port 66000 for edge 3; 63535 is the last"],
  [["--json", "/none/demo.json"], "/none is no folder that can be written"],
] as const) {
  test(`a mistake is told before anything is installed or started: ${args.join(" ")}`, async (t) => {
    const demo = new Talk(t, "node", join(ROOT, "scripts/quickstart.mjs"), ...args);
    assert.equal(await demo.ended, 64);
    assert.ok(demo.output.startsWith("quickstart: ") && demo.output.includes(told), demo.output);
  });
}
