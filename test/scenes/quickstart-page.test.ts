// What the quickstart serves beside XMPP, byte by byte; converse.test.ts has a browser look at it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { pageRoutes } from "../../scripts/quickstart/page.ts";
import { silentLog } from "../../src/base/log.ts";
import { type HttpRoute, start } from "../../src/breakwater.ts";
import { type LoadedConfig, loadConfig } from "../../src/config/load.ts";
import { edgeFiles } from "../support/edge.ts";
import { FakeCore } from "../support/fake-core.ts";
import { RawHttp } from "../support/raw-http.ts";

const FACTS = {
  domain: "localhost",
  accounts: [{ jid: "user1@localhost", password: "pw" }],
  websocketPath: "/ws",
  boshPath: "/http-bind",
};

/** The port for browsers of an edge with these routes. */
async function serve(t: TestContext, routes: readonly HttpRoute[]): Promise<(request: string) => Promise<Answer>> {
  const core = await FakeCore.listen({});
  t.after(() => core.close());
  const { scratch, configFile, ca } = edgeFiles({ core });
  t.after(() => scratch.remove());
  const { config } = loadConfig(configFile) as LoadedConfig;
  const edge = await start({ config, log: silentLog, routes });
  t.after(() => edge.stop());
  const https = edge.listeners[config.listeners.findIndex(({ kind }) => kind === "https")]!;
  const http = await RawHttp.connect({ port: https.port, ca });
  t.after(() => http.drop());
  return (line) => http.request(`${line} HTTP/1.1\nHost: localhost`);
}

type Answer = Awaited<ReturnType<RawHttp["request"]>>;

test("the page, converse.js and what both need are served with their types and a policy that keeps them at home", async (t) => {
  const request = await serve(t, pageRoutes(FACTS));
  for (const [path, type] of [
    ["/", "text/html; charset=utf-8"],
    ["/chat?as=user1@localhost", "text/html; charset=utf-8"],
    ["/page/chat.js", "text/javascript; charset=utf-8"],
    ["/page/facts.json", "application/json"],
    ["/converse/converse.min.js", "text/javascript; charset=utf-8"],
    ["/converse/converse.min.css", "text/css; charset=utf-8"],
    ["/converse/webfonts/muli.ttf", "font/ttf"],
    ["/converse/sounds/msg_received.ogg", "audio/ogg"],
    ["/converse/images/favicon.ico", "image/x-icon"],
  ]) {
    const { status, head } = await request(`HEAD ${path}`);
    assert.equal(status, 200, path);
    assert.match(head, new RegExp(`^content-type: ${type}\r$`, "im"), path);
    assert.match(head, /^content-security-policy: default-src 'none'; script-src 'self';/im, path);
  }
  const file = new URL("../../scripts/quickstart/page/chat.js", import.meta.url);
  assert.equal((await request("GET /page/chat.js")).body, readFileSync(file, "utf8"));
  assert.deepEqual(JSON.parse((await request("GET /page/facts.json")).body), FACTS);
});

test("nothing else of the machine is served", async (t) => {
  const request = await serve(t, pageRoutes(FACTS));
  for (const path of [
    "/converse/../package.json",
    "/converse/%2e%2e/package.json",
    "/converse/..%2fpackage.json",
    "/page/../page.ts",
    "/page//etc/passwd",
    "/converse/",
    "/converse/converse.min.js.map",
  ]) {
    assert.equal((await request(`GET ${path}`)).status, 404, path);
  }
  assert.equal((await request("POST /page/chat.js")).status, 405);
});

test("the edge's own paths cannot be hidden, and without routes it serves no page", async (t) => {
  const own = ["/ws", "/http-bind", "/.well-known/host-meta.json"];
  const hiding = (path: string): HttpRoute => ({
    path,
    methods: ["GET"],
    handle: (_request, response) => void response.writeHead(418, { "Content-Length": 0 }).end(),
  });
  const request = await serve(t, [...own, "/extra"].map(hiding));
  const bare = await serve(t, []);
  assert.equal((await request("GET /extra")).status, 418);
  for (const path of own) assert.equal((await request(`GET ${path}`)).status, (await bare(`GET ${path}`)).status, path);
  assert.equal((await bare("GET /")).status, 404);
});
