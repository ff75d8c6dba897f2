// Sessions whose connection to the core is gone, on the wire: what is said to the core, its API and the client, and when.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Element } from "../support/clients/xml-stream.ts";
import type { FakeStream } from "../support/fake-core.ts";
import { FakeCoreApi } from "../support/fake-core-api.ts";
import { type Managed, until, Wire, type WireOptions } from "../support/wire.ts";

const SM = "urn:xmpp:sm:3";
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
const SECRET = `stream_management: { resume_secret: "what all edges know and nobody else" }`;
const RATE = "drain: { rate: 1000 }";

interface SceneOptions extends WireOptions {
  /** Further options of `reattach`. */
  reattach?: string;
}

/** A core that takes tokens and resumes what it is asked for, at the count that `handled` says. */
async function scene(t: TestContext, { reattach = "", ...options }: SceneOptions = {}) {
  const api = await FakeCoreApi.listen();
  t.after(() => api.close());
  const handled = { of: (_stream: FakeStream): number => 0 };
  const core = { refusesTokens: false, resume: "resumed" as "resumed" | "failed" | "silent", handled };
  const wire = await Wire.start(t, {
    turned: true,
    mechanisms: ["PLAIN", "X-OAUTH2"],
    config: `${SECRET}\n${RATE}`,
    coreConfig: `    reattach: { api: "${api.url}"${reattach} }`,
    onElement: (stream, element) => answer(core, stream, element),
    ...options,
  });
  const results = (result: string) => wire.edge.metric("breakwater_core_reattachments_total", { result });
  const before: Record<string, number> = {};
  for (const result of ["attached", "lost", "elsewhere", "refused", "expired", "later"])
    before[result] = await results(result);
  /** The clock goes on until the fact is there. */
  const turn = async (fact: () => boolean | Promise<boolean>, what: string, ms = 20): Promise<void> => {
    await until(async () => {
      if (await fact()) return true;
      wire.clock.advance({ ms });
      return false;
    }, what);
  };
  const counted = async (result: string): Promise<number> => (await results(result)) - before[result]!;
  const ended = (result: string, count = 1, ms = 20): Promise<void> =>
    turn(async () => (await counted(result)) === count, `${count} × ${result}`, ms);
  /** The next stream on which the core is asked to resume; others are probes and logins. */
  const taken = new Set<FakeStream>();
  const next = async (): Promise<FakeStream> => {
    const asked = (): FakeStream | undefined =>
      wire.core.streams.find((one) => !taken.has(one) && one.elements.some(({ name }) => name === "resume"));
    await turn(() => asked() !== undefined, "the core is asked to resume");
    taken.add(asked()!);
    return [...taken].at(-1)!;
  };
  return { wire, api, core, turn, ended, counted, next };
}

function answer(
  core: { refusesTokens: boolean; resume: string; handled: { of: (stream: FakeStream) => number } },
  stream: FakeStream,
  element: Element,
): boolean {
  const { name, ns, attrs } = element;
  if (ns === SASL && name === "auth" && attrs["mechanism"] === "X-OAUTH2") {
    const [, user, token] = Buffer.from(element.text()!, "base64").toString().split("\0");
    if (core.refusesTokens || token !== "let-me-in")
      stream.write(`<failure xmlns='${SASL}'><not-authorized/></failure>`);
    else stream.succeed(user!);
    return true;
  }
  if (ns !== SM || name !== "resume") return false;
  const h = core.handled.of(stream);
  stream.sm = { ns: SM, id: attrs["previd"]!, max: null };
  stream.jid = "alice@localhost/phone";
  stream.handled = h;
  stream.sent = Number(attrs["h"]);
  if (core.resume === "resumed") stream.write(`<resumed xmlns='${SM}' previd='${attrs["previd"]}' h='${h}'/>`);
  if (core.resume === "failed")
    stream.write(
      `<failed xmlns='${SM}' h='${h}'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`,
    );
  return true;
}

const text = (body: string, to = "bob@localhost"): string => `<message to='${to}'><body>${body}</body></message>`;
const bodiesAt = (stream: FakeStream): string[] =>
  stream.elements.filter(({ name }) => name === "message").map((element) => element.text("body")!);
const range = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

/** alice, whose core stream is cut. */
async function parted(wire: Wire, cut: (core: FakeStream) => void = (core) => core.cut()): Promise<Managed> {
  const managed = await wire.managed();
  wire.core.opened.items.length = 0;
  cut(managed.core);
  await parked(wire);
  return managed;
}
const parked = (wire: Wire, count = 1): Promise<void> =>
  until(async () => (await wire.edge.metric("breakwater_core_parked_sessions")) === count, `${count} parked`);

test("the core is sent what it has not handled, and nothing that it has; new stanzas follow", async (t) => {
  const { wire, core, next, ended } = await scene(t);
  const { client, core: old } = await wire.managed();
  wire.core.script.answersRequests = false;
  wire.core.opened.items.length = 0;
  client.send(...range(1, 5).map((body) => text(body)));
  await old.expect(/>5</);
  core.handled.of = () => 3; // of which two acknowledgements were lost
  old.cut();
  await parked(wire);
  client.send(text("6"), text("7"));
  const fresh = await next();
  await ended("attached");
  client.send(text("8"));
  await fresh.expect(/>8</);
  assert.deepEqual(bodiesAt(fresh), ["4", "5", "6", "7", "8"]);
  fresh.ack(8);
  wire.core.script.answersRequests = true;
  await client.allAcked();
  assert.equal(client.sm!.acked, 8);
});

test("what the client said before it enabled XEP-0198 is sent again, too: the core counts it", async (t) => {
  const { wire, core, next, ended } = await scene(t);
  wire.core.script.answersRequests = false;
  const { client, core: old } = await wire.login();
  client.write("<presence/>");
  client.write(text("1"));
  await client.enable();
  client.send(text("2"), text("3"));
  await old.expect(/>3</);
  core.handled.of = () => 1;
  wire.core.opened.items.length = 0;
  old.cut();
  await parked(wire);
  const fresh = await next();
  await ended("attached");
  await fresh.expect(/>3</);
  assert.deepEqual(bodiesAt(fresh), ["1", "2", "3"]);
  fresh.ack();
  wire.core.script.answersRequests = true;
  await client.allAcked();
  assert.equal(client.sm!.acked, 2);
});

test("what the core sends again is skipped as far as the session has it, and the counts go on as they were", async (t) => {
  const { wire, core, next, ended } = await scene(t);
  core.handled.of = () => 1; // the fence
  const { client, core: old } = await wire.managed();
  client.autoAck = false;
  wire.core.opened.items.length = 0;
  for (const body of range(1, 5)) old.message(body);
  await client.expect(/>5</);
  client.write(`<a xmlns='${SM}' h='2'/>`);
  client.inbox.items.length = 0;
  await client.fence();
  old.cut();
  await parked(wire);
  const fresh = await next();
  await ended("attached");
  assert.equal((await fresh.expect(/<resume /)).attrs["h"], "2");
  // five messages and the fence's answer were sent: 3, 4, 5 and that one come again, as ejabberd sends them, and then news
  for (const body of range(3, 5)) fresh.message(body, { attributes: "xml:lang='en'" });
  fresh.send("<iq type='result' id='again'/>");
  fresh.message("7");
  await client.expect(/>7</);
  assert.deepEqual(client.takeBodies(), []);
  assert.equal(client.sm!.handled, 7);
  client.ack();
  fresh.request();
  await fresh.acknowledged(7);
});

test("the client's own stream header and address reach the core again", async (t) => {
  const { wire, next, ended } = await scene(t, {
    proxy: true,
    reattach: ` }
    proxy_protocol: v2 #`,
  });
  const { core: old } = await wire.managed({ headerAttributes: "xml:lang='eo' xmlns:x='urn:x'" });
  old.cut();
  await parked(wire);
  const fresh = await next();
  await ended("attached");
  assert.deepEqual(fresh.headers, old.headers);
  assert.equal(fresh.headers.at(-1)!["xml:lang"], "eo");
  assert.ok(old.proxyHeader !== null && old.proxyHeader.length > 16);
  assert.deepEqual(fresh.proxyHeader, old.proxyHeader);
});

test("a dormant session is attached, and its client finds it as it left it", async (t) => {
  const { wire, core, next, ended, turn } = await scene(t);
  const { client, core: old, sm } = await wire.managed();
  core.handled.of = () => old.handled;
  client.drop();
  await turn(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 1, "dormant");
  old.message("1");
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 0, "it is queued");
  wire.core.opened.items.length = 0;
  old.cut();
  await parked(wire);
  const fresh = await next();
  await ended("attached");
  fresh.message("1"); // again
  fresh.message("2");
  const again = wire.resume(sm);
  await turn(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 0, "she is back");
  const { client: back, answer: said } = await again;
  assert.equal(said.name, "resumed");
  await back.expect(/>1</);
  await back.expect(/>2</);
  assert.equal(back.sm!.handled, 2);
});

test("a client that is looked away is so for the core, too, after the core has forgotten it", async (t) => {
  const { wire, next, ended } = await scene(t);
  const { client, core: old } = await wire.managed();
  client.write("<inactive xmlns='urn:xmpp:csi:0'/>");
  await old.expect(/<inactive/);
  wire.core.opened.items.length = 0;
  old.cut();
  await parked(wire);
  const fresh = await next();
  await ended("attached");
  await fresh.expect(/<inactive/);
});

test("the core refuses the token, does not know the mechanism, or the API the edge: the client returns, and is told nothing", async (t) => {
  const { wire, api, core, turn, ended } = await scene(t);
  const troubles: [() => void, () => void][] = [
    [
      () => {
        core.refusesTokens = true;
      },
      () => {
        core.refusesTokens = false;
      },
    ],
    [
      () => {
        wire.core.script.mechanisms = ["PLAIN"];
      },
      () => {},
    ],
    [
      () => {
        api.mood = { status: 403, text: "{}" };
      },
      () => {},
    ],
  ];
  for (const [i, [begin, end]] of troubles.entries()) {
    wire.core.forget();
    const { client, core: old } = await wire.managed({ user: `u${i}` });
    begin();
    old.cut();
    await ended("refused", i + 1);
    await turn(() => client.isClosed, "the link is cut");
    assert.notEqual(await client.closed, "stream-end");
    assert.deepEqual(
      client.inbox.items.filter(({ name }) => name === "error"),
      [],
    );
    end();
  }
});

test("an API that is down, slow or talks nonsense is asked again, at longer and longer intervals, and the session waits", async (t) => {
  const { wire, api, ended, counted, turn } = await scene(t, { reattach: ", timeout: 0.2, wait: 3600" });
  api.mood = { status: 200, text: "<html>" };
  const { client } = await parted(wire);
  const moods: FakeCoreApi["mood"][] = [
    { status: 200, text: "[]]" },
    { status: 200, text: '{"a":1}' },
    { status: 200, text: `[{"resource":"phone"}]` },
    { status: 503, text: "" },
    { status: 200, text: "x".repeat(400_000) },
    "silent",
  ];
  const at: number[] = [];
  for (const mood of moods) {
    const before = await counted("later");
    await turn(async () => (await counted("later")) > before, "one more attempt", 200);
    at.push(wire.clock.now());
    api.mood = mood;
  }
  const gaps = at.slice(1).map((now, i) => now - at[i]!);
  assert.ok(gaps[1]! > gaps[0]! && gaps[2]! > gaps[1]! && gaps[3]! > gaps[2]!, `${gaps}`);
  await turn(() => api.calls.length > 6, "the last mood is met");
  api.mood = "well";
  await ended("attached", 1, 200);
  assert.ok(!client.isClosed);
});

test("the API is called with the credentials that are configured", async (t) => {
  for (const [more, expected] of [
    [
      ", username: edge@localhost, password: pass-word",
      `Basic ${Buffer.from("edge@localhost:pass-word").toString("base64")}`,
    ],
    [", bearer: bear-er", "Bearer bear-er"],
    ["", undefined],
  ] as const) {
    const { wire, api, ended } = await scene(t, { reattach: more });
    await parted(wire);
    await ended("attached");
    assert.deepEqual(
      api.calls.map(({ path, authorization, args }) => [path, authorization, args]),
      [
        ["/api/user_sessions_info", expected, { user: "alice", host: "localhost" }],
        ["/api/oauth_issue_token", expected, { jid: "alice@localhost", ttl: 60, scopes: "sasl_auth" }],
      ],
    );
  }
});

test("a session that the core has no more, or that began later than here, is given up without a login", async (t) => {
  const { wire, api, ended, turn } = await scene(t);
  for (const [uptime, result] of [
    [null, "lost"],
    [3, "elsewhere"],
  ] as const) {
    const { client, core: old } = await wire.managed({ user: result });
    wire.clock.advance({ seconds: 10 });
    wire.core.opened.items.length = 0;
    api.uptime = uptime;
    old.cut();
    await ended(result);
    await turn(() => client.isClosed, "the link is cut");
    assert.equal(wire.core.opened.items.length, 0);
    assert.equal(api.named("oauth_issue_token").length, 0);
  }
});

test("what the core says of a lost session is what its client hears when it asks for it", async (t) => {
  const { wire, core, ended, turn } = await scene(t);
  const { client, core: old, sm } = await wire.managed();
  wire.core.script.answersRequests = false;
  client.send(text("1"), text("2"), text("3"));
  await old.expect(/>3</);
  core.resume = "failed";
  core.handled.of = () => 2;
  old.cut();
  await ended("lost");
  await turn(() => client.isClosed, "the link is cut");
  const { answer: said } = await wire.resume(sm);
  assert.equal(said.name, "failed");
  assert.equal(said.attrs["h"], "2");
});

test("a core that counts more than was ever sent here is left without a word: the session is another's", async (t) => {
  const { wire, core, next, ended } = await scene(t);
  core.handled.of = () => 1;
  await parted(wire);
  const fresh = await next();
  await ended("elsewhere");
  assert.notEqual(await fresh.ended, "stream-end");
});

test("past its bound a client is not read while the core is away, and nothing of what it sends is lost", async (t) => {
  const { wire, api, next, ended } = await scene(t, { reattach: ", max_stanzas: 20" });
  api.mood = { status: 503, text: "" };
  const { client } = await parted(wire);
  const read = () => wire.edge.metric("breakwater_stanzas_total", { direction: "from_client" });
  const begun = await read();
  const bodies = range(1, 3000).map((i) => `${i} ${"x".repeat(1000)}`);
  for (let i = 0; i < bodies.length; i += 10) {
    client.send(...bodies.slice(i, i + 10).map((body) => text(body)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  let stopped = -1;
  await until(async () => {
    const before = stopped;
    stopped = await read();
    return stopped > 0 && stopped === before;
  }, "it is read no more");
  assert.ok(stopped - begun < 300, `${stopped - begun} of 3000 were read`);
  api.mood = "well";
  const fresh = await next();
  await ended("attached");
  await fresh.expect(/>3000 /);
  assert.deepEqual(bodiesAt(fresh), bodies);
  await client.allAcked();
});

test("a client does not wait longer than `wait`; its session does, and what it had sent arrives", async (t) => {
  const { wire, api, next, ended, turn } = await scene(t, { reattach: ", wait: 10" });
  api.mood = { status: 503, text: "" };
  const { client } = await parted(wire);
  client.send(text("1"));
  await until(async () => (await wire.edge.metric("breakwater_sm_queue_bytes")) > 0, "it is kept");
  const from = wire.clock.now();
  await turn(() => client.isClosed, "the link is cut", 100);
  assert.ok(wire.clock.now() - from >= 9000, `${wire.clock.now() - from} ms`);
  assert.notEqual(await client.closed, "stream-end");
  assert.equal(await wire.edge.metric("breakwater_sessions", { phase: "dormant" }), 1);
  api.mood = "well";
  const fresh = await next();
  await ended("attached");
  await fresh.expect(/>1</);
});

test("a session that the core keeps no longer ends", async (t) => {
  const { wire, api, ended, turn } = await scene(t, { reattach: ", wait: 3600" });
  api.mood = { status: 503, text: "" };
  const { client } = await parted(wire); // kept for 300 s there
  const from = wire.clock.now();
  await turn(() => client.isClosed, "the link is cut", 1000);
  await ended("expired");
  assert.ok(wire.clock.now() - from >= 299_000);
  assert.equal(await wire.edge.metric("breakwater_sessions"), 0);
});

test("a client that logs out while its core is away: what it sent arrives, and then the core hears the end", async (t) => {
  const { wire, next } = await scene(t);
  const { client } = await parted(wire);
  client.send(text("the last word"));
  client.write("</stream:stream>");
  await until(async () => (await wire.edge.metric("breakwater_sessions", { phase: "draining" })) === 1, "draining");
  const fresh = await next();
  await fresh.expect(/the last word/);
  assert.equal(await fresh.ended, "stream-end");
  assert.equal(await client.closed, "stream-end");
});

test("a core that owes an answer for 30 s is dead: the session goes on on another stream", async (t) => {
  const { wire, next, ended, turn } = await scene(t);
  const { client, core: old } = await wire.managed();
  wire.core.opened.items.length = 0;
  wire.core.script.answersRequests = false;
  client.send(text("1"));
  await old.expect(/>1</);
  const from = wire.clock.now();
  await turn(() => old.isEnded, "the old stream is given up", 500);
  assert.ok(wire.clock.now() - from >= 30_000);
  const fresh = await next();
  await ended("attached");
  await fresh.expect(/>1</);
});

test("an idle session looks every two minutes whether its core is there", async (t) => {
  const { wire, turn } = await scene(t);
  const { client, core: old } = await wire.managed();
  client.drop();
  wire.core.script.answersRequests = false;
  old.inbox.items.length = 0;
  wire.core.opened.items.length = 0;
  const from = wire.clock.now();
  await turn(() => old.inbox.items.some(({ name }) => name === "r"), "the core is asked", 1000);
  assert.ok(wire.clock.now() - from >= 118_000, `${wire.clock.now() - from}`);
  await turn(() => old.isEnded, "its silence is noticed", 1000);
});

test("a core that announces its end is not quoted: clients return in their turn", async (t) => {
  const { wire, turn } = await scene(t, { coreConfig: "", config: `${SECRET}\ndrain: { rate: 2 }` });
  const clients: Managed[] = [];
  for (let i = 0; i < 5; i++) clients.push(await wire.managed({ user: `u${i}`, resume: i !== 1 }));
  for (const { core } of clients) core.error("system-shutdown");
  for (let i = 0; i < 5; i++) {
    const from = wire.clock.now();
    await turn(() => clients.filter(({ client }) => client.isClosed).length === i + 1, `${i + 1} are cut`, 100);
    if (i > 0) assert.ok(wire.clock.now() - from >= 300, `${wire.clock.now() - from}`);
  }
  for (const [i, { client }] of clients.entries()) {
    // one of them cannot resume: it is told to log in anew
    assert.equal((await client.closed) === "stream-end", i === 1);
    assert.equal(client.inbox.items.filter(({ name }) => name === "error").length, i === 1 ? 1 : 0);
  }
});

test("sessions are attached at drain.rate, those whose clients wait first", async (t) => {
  const { wire, turn, counted } = await scene(t, { config: `${SECRET}\ndrain: { rate: 2 }` });
  const all: Managed[] = [];
  for (let i = 0; i < 6; i++) all.push(await wire.managed({ user: `u${i}` }));
  for (const { client } of all.slice(0, 3)) client.drop();
  await turn(async () => (await wire.edge.metric("breakwater_sessions", { phase: "dormant" })) === 3, "dormant");
  const from = wire.clock.now();
  for (const { core: old } of all) old.cut();
  await parked(wire, 6);
  wire.core.opened.items.length = 0;
  await turn(async () => (await counted("attached")) === 6, "all are attached", 50);
  const seconds = (wire.clock.now() - from) / 1000;
  assert.ok(seconds >= 2.4 && seconds < 6, `${seconds} s for six at 2/s`);
  const order = wire.core.streams.slice(-6).map(({ user }) => Number(user!.slice(1)));
  assert.deepEqual(order.slice(0, 3).sort(), [3, 4, 5]);
});
