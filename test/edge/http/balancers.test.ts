import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort } from "../../support/cores/index.ts";
import { Scratch } from "../../support/scratch.ts";
import { until, Wire } from "../../support/wire.ts";

// The configurations of docs/web.md, with ports of the test's own.

const NGINX = "/usr/sbin/nginx";
const HAPROXY = "/usr/sbin/haproxy";

async function balancer(t: TestContext, program: string, port: number, config: string, args: string[]): Promise<void> {
  const scratch = new Scratch("balancer");
  const file = scratch.path("balancer.conf");
  writeFileSync(file, config.replaceAll("DIR", scratch.dir));
  let said = "";
  const child = spawn(program, [...args, file], { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
  t.after(async () => {
    child.kill("SIGKILL");
    await scratch.remove();
  });
  await until(async () => {
    if (child.exitCode !== null) throw new Error(said);
    const socket = connect(port, "127.0.0.1");
    return await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    }).finally(() => socket.destroy());
  }, `${program} listens`);
}

// A client of its own address, which the balancer's is not, and who claims another one.
const from = (url: string) => ({ url, localAddress: "127.0.0.2", headers: { "X-Forwarded-For": "198.51.100.6" } });
const trusted = `trusted: ["127.0.0.1"]`;
const script = { proxy: true, coreConfig: "    proxy_protocol: v1" };

for (const [program, args, config] of [
  [
    NGINX,
    ["-g", "daemon off; master_process off;", "-c"],
    (port: number, edge: number) => `
pid DIR/pid; error_log stderr; events {}
http {
  access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
  server {
    listen 127.0.0.1:${port};
    location ~ ^/(ws|\\.well-known/host-meta(\\.json)?)$ {
        proxy_pass http://127.0.0.1:${edge};
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_read_timeout 90s;
        proxy_buffering off;
    }
  }
}`,
  ],
  [
    HAPROXY,
    ["-db", "-f"],
    (port: number, edge: number) => `
defaults
    timeout connect 5s
frontend web
    mode http
    bind 127.0.0.1:${port}
    option forwardfor
    timeout client 90s
    timeout tunnel 90s
    default_backend edge
backend edge
    mode http
    timeout server 90s
    timeout tunnel 90s
    server edge1 127.0.0.1:${edge}
`,
  ],
] as const) {
  test(`behind ${program} that ends TLS, a client chats and its own address reaches the core`, async (t) => {
    const wire = await Wire.start(t, { ...script, listenerConfigs: { http: `    forwarded: { ${trusted} }` } });
    const port = await freePort();
    await balancer(t, program, port, config(port, wire.edge.http), [...args]);
    const { client, core } = await wire.login({ webSocket: from(`ws://127.0.0.1:${port}/ws`) });
    assert.match(String(core.proxyHeader), /^PROXY TCP4 127\.0\.0\.2 /);
    core.message("through");
    await client.expect(/through/);
    const meta = await fetch(`http://127.0.0.1:${port}/.well-known/host-meta.json`);
    assert.equal(meta.status, 200);
    assert.equal(await client.end(), "stream-end");
  });
}

test("behind HAProxy that passes TLS on, XMPP and WebSocket share the port", async (t) => {
  const wire = await Wire.start(t, { ...script, listenerConfigs: { all: `    proxy_protocol: { ${trusted} }` } });
  const port = await freePort();
  const config = `
defaults
    timeout connect 5s
frontend xmpp
    mode tcp
    bind 127.0.0.1:${port}
    timeout client 5m
    default_backend edge
backend edge
    mode tcp
    timeout server 5m
    server edge1 127.0.0.1:${wire.edge.all} send-proxy-v2
`;
  await balancer(t, HAPROXY, port, config, ["-db", "-f"]);
  const web = await wire.login({ webSocket: { ...from(`wss://127.0.0.1:${port}/ws`), ca: wire.edge.ca } });
  assert.match(String(web.core.proxyHeader), /^PROXY TCP4 127\.0\.0\.2 /);
  const tcp = await wire.login({ port, tls: "direct", ca: wire.edge.ca });
  assert.match(String(tcp.core.proxyHeader), /^PROXY TCP4 127\.0\.0\.1 /);
  await web.client.end();
  await tcp.client.end();
});
