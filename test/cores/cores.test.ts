// What every test with a real server takes for granted.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { RawClient } from "../support/clients/index.ts";
import {
  ALL_CORES,
  type Core,
  type CoreKind,
  startCore,
  startEjabberd,
  streamFeatures,
} from "../support/cores/index.ts";

for (const kind of ALL_CORES) {
  describe(`${kind} as a core`, () => {
    let core: Core;
    before(async () => {
      core = await startCore(kind, { domain: "one.example", domains: ["two.example"], resumeTimeout: 60 });
      await core.register("alice", "pw", "one.example");
      await core.register("alice", "pw", "two.example");
    });
    after(() => core.stop());

    const login = (domain = "one.example") =>
      RawClient.login({ port: core.port, domain, user: "alice", password: "pw" });

    test("serves each of its domains", async () => {
      for (const domain of ["one.example", "two.example"]) {
        const client = await login(domain);
        assert.match(client.jid!, new RegExp(`^alice@${domain}/`));
        await client.end();
      }
    });

    test("registers 200 accounts in one go", async () => {
      const accounts = Array.from({ length: 200 }, (_, i) => ({ user: `user${i}`, password: "pw" }));
      await core.registerAll(accounts);
      for (const user of ["user0", "user199"]) {
        const client = await RawClient.login({ port: core.port, domain: core.domain, user, password: "pw" });
        await client.end();
      }
    });

    test("offers PLAIN, SCRAM-SHA-1 and SCRAM-SHA-256 at once, no TLS and no channel binding", async () => {
      const features = await streamFeatures(core);
      for (const mechanism of ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"]) {
        assert.ok(features.includes(`<mechanism>${mechanism}</mechanism>`), features);
      }
      assert.doesNotMatch(features, /-PLUS|starttls/);
    });

    test("keeps a session whose transport died, for the time that it was told", async () => {
      const client = await login();
      assert.equal((await client.enable()).attrs["max"], "60");
      client.drop();
      await client.closed;
      assert.deepEqual(await core.sessions(), [client.jid]);
      const next = await RawClient.authenticated({ ...client.options, user: "alice", password: "pw" });
      assert.equal((await next.resume(client.sm!)).name, "resumed");
      await next.end();
    });

    test("comes back after a crash with its port and its accounts", async () => {
      const client = await login();
      const pid = core.pid;
      await core.kill();
      assert.notEqual(await client.closed, "stream-end");
      await core.restart();
      assert.notEqual(core.pid, pid);
      await (await login()).end();
    });

    test("answers nothing while it is frozen, and goes on when it thaws", async () => {
      const client = await login();
      core.freeze();
      await assert.rejects(streamFeatures(core, 300), /no stream features/);
      core.thaw();
      await client.fence();
      await client.end();
    });

    test("without stream management offers none", async (t) => {
      const plain = await startCore(kind, { streamManagement: false });
      t.after(() => plain.stop());
      await plain.register("alice", "pw");
      const client = await RawClient.authenticated({ port: plain.port, user: "alice", password: "pw" });
      assert.equal(client.features?.child("sm"), undefined);
      client.hangUp();
    });

    test("is gone with its directory when the process that started it is killed", async () => {
      const { child, pid, dir } = await startedElsewhere(kind);
      child.kill("SIGKILL");
      while (existsSync(dir) || isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  });
}

describe("ejabberd's further listeners", () => {
  let core: Awaited<ReturnType<typeof startEjabberd>>;
  before(async () => {
    core = await startEjabberd({ tls: true, channelBinding: true });
    await core.register("alice", "pw");
  });
  after(() => core.stop());

  test("the PROXY port takes the client's address from the header", async () => {
    const client = await RawClient.login({
      port: core.proxyPort,
      preamble: "PROXY TCP4 203.0.113.7 192.0.2.1 50003 5222\r\n",
      user: "alice",
      password: "pw",
    });
    const [session] = (await core.api("connected_users_info", {})) as { ip: string; port: number }[];
    assert.match(session!.ip, /203\.0\.113\.7$/);
    assert.equal(session!.port, 50003);
    await client.end();
  });

  test("the unix socket and the compressing port serve clients", async () => {
    const overSocket = await RawClient.login({ unixPath: core.unixPath, user: "alice", password: "pw" });
    await overSocket.end();
    const zlib = await RawClient.authenticated({ port: core.zlibPort, user: "alice", password: "pw" });
    assert.match(zlib.features!.xml, /<method>zlib<\/method>/);
    zlib.hangUp();
  });

  test("with channel binding, TLS offers -PLUS and EXTERNAL; the STARTTLS port insists", async () => {
    const overTls = await streamFeatures({ domain: core.domain, port: core.tlsPort!, tls: true });
    assert.match(overTls, /SCRAM-SHA-256-PLUS/);
    assert.match(overTls, /EXTERNAL/);
    const insisting = await streamFeatures({ domain: core.domain, port: core.starttlsRequiredPort! });
    assert.match(insisting, /<required\/>/);
    assert.doesNotMatch(insisting, /<mechanism>/);
  });
});

/** A core that another process of ours has started. */
async function startedElsewhere(kind: CoreKind) {
  const support = join(import.meta.dirname, "../support/cores/index.ts");
  const script = `const core = await (await import(${JSON.stringify(support)})).startCore(${JSON.stringify(kind)});
    console.log(JSON.stringify({ pid: core.pid, dir: core.dir })); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    return { child, ...(JSON.parse(line) as { pid: number; dir: string }) };
  }
  throw new Error("it ended before it said anything");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
