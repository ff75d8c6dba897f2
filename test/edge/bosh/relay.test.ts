// Two processes' worth of edges: whatever comes to the one that does not have the session has to reach the other.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { meter, Series } from "../../../src/base/meter.ts";
import type { Breakwater } from "../../../src/breakwater.ts";
import { startEdge } from "../../support/edge.ts";
import { until } from "../../support/wire.ts";
import { attribute, type Bosh, bodies, bosh, type Client, message, OneByOne, Pipe, requestHead } from "./peer.ts";

interface Two {
  /** Logged in at the first edge; from here on every request goes to the second, on a connection of its own. */
  readonly client: Client;
  readonly core: Awaited<ReturnType<Bosh["login"]>>["core"];
  readonly first: Breakwater;
  readonly secondPort: number;
}

async function two(t: TestContext, config = ""): Promise<Two> {
  const folder = mkdtempSync(join(tmpdir(), "breakwater-relay-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const sockets = [1, 2].map((number) => join(folder, `${number}.sock`));
  const here = await bosh(t, { seat: { number: 1, sockets }, config });
  const { domain, port } = here.wire.core;
  const second = await startEdge({ core: { domain, port }, config, seat: { number: 2, sockets } });
  t.after(() => second.stop());
  here.wire.core.forget();
  const { client, core } = await here.login();
  client.channel = new OneByOne(second.http);
  t.after(() => client.channel.drop());
  return { client, core, first: here.wire.edge.breakwater, secondPort: second.http };
}

function total(name: string): number {
  const series = [...meter.all()].find((one) => one.name === name);
  assert.ok(series instanceof Series);
  return [...series.cells()].reduce((sum, { cell }) => sum + cell.value, 0);
}

function relayed(): number {
  return total("breakwater_bosh_relayed_total");
}

test("requests reach the edge with the session, and its answers come back, in both directions and in order", async (t) => {
  const { client, core } = await two(t);
  const before = relayed();
  const counted = total("breakwater_http_requests_total");
  assert.match(client.sid, /^1\.[\w-]{24}$/);
  for (let n = 1; n <= 5; n++) {
    const held = client.post(message(n));
    assert.equal((await core.expect(/<message/)).text("body"), String(n));
    core.send(`<message><body>answer ${n}</body></message>`);
    assert.deepEqual(bodies(await held), [`answer ${n}`]);
  }
  assert.equal(relayed() - before, 5);
  // Both edges of this test count into the same meter.
  await until(() => total("breakwater_http_requests_total") >= counted + 5, "the answers are through");
  assert.equal(total("breakwater_http_requests_total") - counted, 5, "each request of the client once");
});

test("one that is logged in may send a stanza larger than strangers may, in pieces, chunked or compressed", async (t) => {
  const { client, core, secondPort } = await two(t);
  const large = "x".repeat(100_000);
  const arrives = async (answer: Promise<unknown>): Promise<void> => {
    assert.equal((await core.expect(/<message/)).text("body"), large);
    core.send("<presence/>");
    await answer;
  };
  await arrives(client.post(message(large)));
  const pipe = new Pipe(secondPort);
  t.after(() => pipe.drop());
  const text = client.request(++client.rid, message(large));
  const chunk = (part: string): string => `${part.length.toString(16)}\r\n${part}\r\n`;
  const head = requestHead(null, { "Transfer-Encoding": "chunked" });
  const answer = pipe.write(`${head}${chunk(text.slice(0, 9))}${chunk(text.slice(9, 5000))}`);
  pipe.socket.write(`${chunk(text.slice(5000))}0\r\n\r\n`);
  await arrives(answer);
  client.headers = { "Content-Encoding": "gzip" };
  await arrives(client.channel.send(gzipSync(client.request(++client.rid, message(large))), client.headers));
});

test("the limits are those of the edge with the session: a stanza that is too large ends it", async (t) => {
  for (const length of [40_000, 1_000_000]) {
    const { client } = await two(t, "limits: { after_login: { max_bytes: 20000 } }");
    const answer = await client.post(message("x".repeat(length)));
    // When more is on its way than the sockets hold, the refusal is lost with it: the client asks again.
    assert.ok(answer.status === 413 || (length > 40_000 && answer.status === 503), String(answer.status));
    assert.match(answer.head, /^connection: close\r$/im);
    assert.equal(attribute(await client.post(), "type"), "terminate");
  }
});

test("an answer to a page has its origin once", async (t) => {
  const { client } = await two(t);
  client.headers = { Origin: "https://localhost" };
  const answer = await client.post("", { type: "terminate" });
  assert.equal(answer.head.match(/^access-control-allow-origin: https:\/\/localhost\r$/gim)?.length, 1);
  assert.equal(attribute(answer, "type"), "terminate");
});

test("a client that drops its connection and asks again gets what it missed; what it said counts once", async (t) => {
  const { client, core, secondPort } = await two(t);
  const dropped = new Pipe(secondPort);
  const lost = dropped.send(client.request(++client.rid, message("said")));
  assert.equal((await core.expect(/<message/)).text("body"), "said");
  dropped.drop();
  await assert.rejects(lost);
  core.send("<message><body>not lost</body></message>");
  assert.deepEqual(bodies(await client.postAs(client.rid, message("said"))), ["not lost"]);
  core.send("<presence/>");
  await client.post(message("next"));
  assert.equal((await core.expect(/<message/)).text("body"), "next");
});

test("when the edge with the session has ended, the client hears that there is no such session", async (t) => {
  const { client, first } = await two(t);
  await first.stop();
  const answer = await client.post(message("late"));
  assert.equal(answer.status, 200);
  assert.equal(attribute(answer, "condition"), "item-not-found");
});

test("a sid with the number of nobody is no session, and reaches nobody", async (t) => {
  const { client } = await two(t);
  const before = relayed();
  for (const sid of ["3.x", "0.x", "999.x", "1x", "", "2."]) {
    client.sid = sid;
    assert.equal(attribute(await client.post(), "condition"), "item-not-found", sid);
  }
  assert.equal(relayed(), before);
});
