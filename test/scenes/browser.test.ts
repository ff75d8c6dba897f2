import assert from "node:assert/strict";
import { resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { chromium, type Page } from "playwright-core";
import { pageClient } from "../support/clients/page-client.ts";
import { RawClient } from "../support/clients/raw-client.ts";
import { ALL_CORES, type CoreKind, startCore } from "../support/cores/index.ts";
import { startEdge } from "../support/edge.ts";
import { until } from "../support/wire.ts";

const CHROMIUM = "/usr/bin/chromium";
const STROPHE = resolve(import.meta.dirname, "../../node_modules/strophe.js/dist/strophe.umd.min.js");

/** In the page: strophe.js logs in where host-meta says, by `transport`, and keeps the bodies that come. */
const LOGIN = (transport: "websocket" | "xbosh"): string => `(async () => {
  const { links } = await (await fetch("/.well-known/host-meta.json")).json();
  const { Strophe, $pres, $msg } = window.strophe ?? window;
  const connection = new Strophe.Connection(links.find(({ rel }) => rel.endsWith(":${transport}")).href);
  window.bodies = [];
  window.say = (to, text) => connection.send($msg({ to, type: "chat" }).c("body").t(text));
  connection.addHandler((stanza) => {
    const body = stanza.getElementsByTagName("body")[0];
    if (body) window.bodies.push(body.textContent);
    return true;
  }, null, "message");
  return await new Promise((resolve, reject) => connection.connect("alice@localhost/tab", "pw", (status) => {
    if (status === Strophe.Status.CONNECTED) { connection.send($pres()); resolve(connection.jid); }
    if (status === Strophe.Status.CONNFAIL || status === Strophe.Status.AUTHFAIL) reject(new Error("status " + status));
  }));
})()`;

const OPENS = (url: string) => `new Promise((resolve) => {
  const socket = new WebSocket(${JSON.stringify(url)}, "xmpp");
  socket.onopen = () => resolve(true);
  socket.onerror = () => resolve(false);
})`;

const POSTS = (url: string) =>
  `fetch(${JSON.stringify(url)}, { method: "POST", headers: { "Content-Type": "text/xml" } }).then(() => true, () => false)`;

/** A core, an edge in front, a page of its domain in Chromium, and bob on TCP. */
async function scene(t: TestContext, kind: CoreKind = "prosody") {
  const core = await startCore(kind);
  t.after(() => core.stop());
  for (const user of ["alice", "bob"]) await core.register(user, "pw");
  const edge = await startEdge({ core });
  t.after(() => edge.stop());
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--ignore-certificate-errors"],
  });
  t.after(() => browser.close());
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await page.goto(`https://localhost:${edge.all}/.well-known/host-meta.json`);
  const options = { port: edge.all, tls: "direct", ca: edge.ca, domain: core.domain } as const;
  const bob = await RawClient.login({ ...options, user: "bob", password: "pw" });
  bob.presence();
  return { edge, page, bob };
}

test("a page in Chromium logs in over WebSocket on the port that XMPP has too, also after a reload", async (t) => {
  const { edge, page, bob } = await scene(t);
  await chatAndReload(page, bob, "websocket");
  await bob.end();

  const url = `wss://localhost:${edge.all}/ws`;
  assert.equal(await page.evaluate(OPENS(url)), true, "a page of the domain may connect");
  await page.goto(`https://127.0.0.1:${edge.all}/.well-known/host-meta.json`);
  assert.equal(await page.evaluate(OPENS(url)), false, "another page may not");
  assert.equal(await edge.metric("breakwater_http_refused_total", { reason: "origin" }), 1);
});

for (const kind of ALL_CORES) {
  test(`strophe.js in Chromium logs in over BOSH and chats both ways, also after a reload (${kind})`, async (t) => {
    const { edge, page, bob } = await scene(t, kind);
    await chatAndReload(page, bob, "xbosh");
    await bob.end();
    assert.equal(await edge.metric("breakwater_bosh_refused_total", { condition: "policy-violation" }), 0);

    const bind = `https://localhost:${edge.all}/http-bind`;
    assert.equal(await page.evaluate(POSTS(bind)), true, "a page of the domain may ask");
    await page.goto(`https://127.0.0.1:${edge.all}/.well-known/host-meta.json`);
    assert.equal(await page.evaluate(POSTS(bind)), false, "another page may not");
  });
}

test("a page that loses the network gets what it missed once and in order, and so does who talks to it", async (t) => {
  const { edge, page, bob } = await scene(t);
  const jid = (await page.evaluate(pageClient(`wss://localhost:${edge.all}/ws`, "alice"))) as string;
  const expected: string[] = [];
  const send = (text: string): void => {
    bob.message(jid, text);
    expected.push(text);
  };
  for (let round = 1; round <= 3; round++) {
    send(`${round}, before`);
    await until(async () => (await page.evaluate("bodies.length")) === expected.length, "the page has it");
    await page.context().setOffline(true);
    for (const part of ["a", "b", "c"]) send(`${round}, meanwhile ${part}`);
    await page.evaluate(`say(${JSON.stringify(bob.jid)}, "written while away, ${round}")`);
    await bob.fence();
    await page.context().setOffline(false);
    assert.match((await bob.expect(/written while away/)).xml, new RegExp(`away, ${round}<`));
    await until(async () => (await page.evaluate("bodies.length")) === expected.length, "the page has all");
  }
  assert.deepEqual(await page.evaluate("bodies"), expected);
  assert.equal(await page.evaluate("resumes"), 3);
  await bob.end();
});

async function chatAndReload(page: Page, bob: RawClient, transport: "websocket" | "xbosh"): Promise<void> {
  for (const round of ["first", "after the reload"]) {
    await page.addScriptTag({ path: STROPHE });
    const jid = (await page.evaluate(LOGIN(transport))) as string;
    bob.message(jid, `to the tab, ${round}`);
    await until(async () => String(await page.evaluate("bodies")) === `to the tab, ${round}`, "the tab has it");
    await page.evaluate(`say(${JSON.stringify(bob.jid)}, "from the tab, ${round}")`);
    assert.equal((await bob.expect(/<body>from/)).text("body"), `from the tab, ${round}`);
    await page.reload();
  }
}
