import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { deflate, inflate } from "../../../src/edge/websocket/deflate.ts";
import { type FrameIn, OP, OPEN, opened, type Peer, type PeerOptions, peer } from "./peer.ts";

const OFFER = "Sec-WebSocket-Extensions: permessage-deflate";
const BYTES = "breakwater_websocket_deflate_bytes_total";
const RSV1 = 4;
const MAX_BYTES = 262_144;

const mode = (compression: string, ...headers: string[]): PeerOptions => ({
  config: `http: { origins: ["*"], websocket: { compression: ${compression} } }`,
  headers: [OFFER, ...headers],
});

/** What a client sends for `text` (RFC 7692 §7.2.1). */
function pressed(text: string | Buffer): Buffer {
  return deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

function plain({ payload, compressed }: { payload: Buffer; compressed: boolean }, windowBits = 15): string {
  if (!compressed) return String(payload);
  return String(inflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH, windowBits }));
}

const compressed = (text: string | Buffer): FrameIn => ({ op: OP.text, rsv: RSV1, payload: pressed(text) });
const uncompressed = (text: string): FrameIn => ({ op: OP.text, payload: text });

const AUTH = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${btoa("\0alice\0pw")}</auth>`;
const BIND = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
const message = (body: string) => `<message xmlns='jabber:client' to='bob@localhost'><body>${body}</body></message>`;

async function text(one: Peer, pattern: RegExp): Promise<string> {
  const found = plain(await one.nextFrame(OP.text));
  assert.match(found, pattern);
  return found;
}

/** Logs in and binds, by messages as `say` makes them. */
async function login(one: Peer, say: (text: string) => FrameIn) {
  one.send(say(OPEN));
  await text(one, /^<open /);
  await text(one, /mechanisms/);
  one.send(say(AUTH));
  await text(one, /^<success /);
  one.send(say(OPEN));
  await text(one, /^<open /);
  await text(one, /bind/);
  one.send(say(BIND));
  await text(one, /<jid>alice@localhost/);
  const core = await one.wire.core.nextBound();
  return { one, core };
}

const bound = async (t: TestContext, compression = "after_login", ...headers: string[]) =>
  login(await peer(t, mode(compression, ...headers)), compression === "always" ? compressed : uncompressed);

async function refused(one: Peer, condition: string, why: RegExp, code: number): Promise<void> {
  const error = await text(one, new RegExp(`^<stream:error .*<${condition} `));
  assert.match(error, why);
  await text(one, /^<close /);
  assert.equal(await one.closeCode(), code);
}

// ---- RFC 7692 §7.2.3

for (const [what, hex, expected] of [
  ["one block", "f248cdc9c90700", "Hello"],
  ["two blocks", "f24805000000ffffcac9c90700", "Hello"],
  ["a stored block", "000500faff48656c6c6f00", "Hello"],
  ["a last block and an empty one", "f348cdc9c9070000", "Hello"],
  ["an empty message", "00", ""],
  ["nothing at all", "", ""],
] as const) {
  test(`${what} is inflated`, () => {
    assert.equal(String(inflate([Buffer.from(hex, "hex")], 100)), expected);
  });
}

test("no message that breaks off, at whatever byte, is taken for a whole one", () => {
  const whole = pressed(message("a body that is long enough for blocks of several kinds"));
  for (let cut = 1; cut < whole.length - 1; cut++) assert.equal(inflate([whole.subarray(0, cut)], 1000), "broken");
});

test("bytes behind a last block are refused, but for an empty block", () => {
  const last = deflateRawSync("Hello");
  assert.equal(String(inflate([last, Buffer.from([0])], 100)), "Hello");
  for (const behind of [[0, 0], [1], [0x4b, 0x04, 0x00]]) {
    assert.equal(inflate([last, Buffer.from(behind)], 100), "broken");
  }
});

test("a message is too long from the first byte past the limit on", () => {
  for (const size of [2, 1000, 16_384, 65_536, MAX_BYTES]) {
    const deflated = pressed(Buffer.alloc(size, " "));
    assert.equal((inflate([deflated], size) as Buffer).length, size);
    assert.equal(inflate([deflated], size - 1), "too-long");
  }
});

/** 100 MiB of white space, made without ever holding it. */
function bomb(): Buffer {
  const mebibyte = deflateRawSync(Buffer.alloc(1 << 20, " "), { finishFlush: constants.Z_SYNC_FLUSH });
  return Buffer.concat(new Array<Buffer>(100).fill(mebibyte)).subarray(0, -4);
}

test("100 MiB in 100 KB cost the memory and the time of one stanza", () => {
  const bytes = bomb();
  assert.ok(bytes.length < 120_000);
  inflate([pressed("warm")], 100);
  const peakBefore = process.resourceUsage().maxRSS;
  let best = Infinity;
  for (let i = 0; i < 20; i++) {
    const started = performance.now();
    assert.equal(inflate([bytes], MAX_BYTES), "too-long");
    best = Math.min(best, performance.now() - started);
  }
  const grown = process.resourceUsage().maxRSS - peakBefore;
  assert.ok(grown < 24 * 1024, `20 bombs took ${grown} KiB at their peak`);
  const started = performance.now();
  assert.equal((inflate([bytes], 1 << 30) as Buffer).length, 100 << 20);
  const whole = performance.now() - started;
  assert.ok(best * 20 < whole, `cut after ${best} ms of ${whole} ms`);
});

test("what does not get smaller is left as it is; what does is inflated with the client's window", () => {
  assert.equal(deflate(randomBytes(2000), 15), null);
  // Repeats at a distance of 1000 bytes, which a window of 512 does not reach.
  const block = randomBytes(500).toString("hex");
  const far = Buffer.from(block + block);
  const lengths = [9, 15].map((windowBits) => {
    const deflated = deflate(far, windowBits)!;
    assert.equal(plain({ payload: deflated, compressed: true }, windowBits), String(far));
    return deflated.length;
  });
  assert.ok(lengths[0]! > lengths[1]! * 1.5, "the window was obeyed");
});

// ---- negotiation

const answered = (one: Peer) => /\r\nSec-WebSocket-Extensions: (.*)\r\n/.exec(one.head)?.[1];
const PAGE = "Origin: https://chat.example.org";
const ACCEPTED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

for (const [compression, headers, expected] of [
  ["off", [], undefined],
  ["off", [PAGE], undefined],
  ["after_login", [], ACCEPTED],
  ["after_login", [PAGE], undefined],
  ["always", [], ACCEPTED],
  ["always", [PAGE], ACCEPTED],
] as const) {
  test(`${compression}: ${headers.length > 0 ? "a page" : "an app"} is ${expected ? "answered" : "given no compression"}`, async (t) => {
    const one = await peer(t, mode(compression, ...headers));
    assert.equal(answered(one), expected);
    if (expected !== undefined) return;
    one.send(compressed(OPEN));
    assert.equal(await one.closeCode(), 1002);
  });
}

test("off is the default", async (t) => {
  assert.equal(answered(await peer(t, { headers: [OFFER] })), undefined);
});

test("a client that asks for nothing gets nothing, also when others do", async (t) => {
  const one = await peer(t, { config: "http: { websocket: { compression: always } }" });
  assert.equal(answered(one), undefined);
  one.send(compressed(OPEN));
  assert.equal(await one.closeCode(), 1002);
});

test("a malformed header is answered 400 and counted", async (t) => {
  const one = await opened(t, mode("always"));
  const url = `http://127.0.0.1:${one.wire.edge.http}/ws`;
  const { get } = await import("node:http");
  const headers = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "xmpp",
    "Sec-WebSocket-Extensions": "permessage-deflate; =",
  };
  const status = await new Promise((resolve, reject) => {
    get(url, { headers }, (response) => resolve(response.resume().statusCode)).on("error", reject);
  });
  assert.equal(status, 400);
  assert.equal(await one.wire.edge.metric("breakwater_http_refused_total", { reason: "extensions" }), 1);
});

// ---- before login

test("after_login: a compressed message before login is refused with the option that would let it in", async (t) => {
  const one = await peer(t, mode("after_login"));
  one.send(compressed(OPEN));
  await text(one, /^<open /);
  await refused(one, "policy-violation", /http\.websocket\.compression: after_login/, 1008);
});

test("after_login: not even the first fragment of one is kept", async (t) => {
  const one = await opened(t, mode("after_login"));
  one.send({ ...compressed(AUTH), fin: false });
  await refused(one, "policy-violation", /before login/, 1008);
});

test("after_login: compressed messages that come in one chunk behind <auth/> wait for the verdict", async (t) => {
  const one = await opened(t, mode("after_login"));
  one.send(uncompressed(AUTH), compressed(OPEN), uncompressed(" "), compressed(BIND));
  await text(one, /^<success /);
  await text(one, /^<open /);
  await text(one, /bind/);
  await text(one, /<jid>alice@localhost/);
});

test("after_login: when the password was wrong, what waited is refused", async (t) => {
  const one = await opened(t, mode("after_login"));
  one.send(uncompressed(AUTH.replace(btoa("\0alice\0pw"), btoa("\0alice\0no"))), compressed(OPEN));
  await text(one, /^<failure /);
  await refused(one, "policy-violation", /before login/, 1008);
});

test("always: a login may be compressed, up to the limit before login", async (t) => {
  await bound(t, "always");
  for (const size of [16_384, 16_385]) {
    const another = await opened(t, mode("always"));
    another.send(compressed(" ".repeat(size)), uncompressed(AUTH));
    if (size === 16_384) await text(another, /^<success /);
    else await refused(another, "policy-violation", /inflates to more than 16384 bytes/, 1009);
  }
});

test("always: before login the compressed bytes have the same limit, however they are cut", async (t) => {
  const noise = pressed(randomBytes(20_000));
  for (const size of [20_000, 1000, 100]) {
    const one = await opened(t, mode("always"));
    const frames: FrameIn[] = [];
    for (let at = 0; at < noise.length; at += size) {
      const payload = noise.subarray(at, at + size);
      frames.push({ op: at === 0 ? OP.text : OP.continuation, rsv: at === 0 ? RSV1 : 0, fin: false, payload });
    }
    one.send(...frames);
    await refused(one, "policy-violation", /a message longer than 16384 bytes/, 1009);
  }
});

test("nothing is compressed for a client that has not logged in", async (t) => {
  const one = await peer(t, mode("always"));
  one.send(uncompressed(OPEN));
  const core = await one.wire.core.nextStream();
  await text(one, /^<open /);
  await text(one, /mechanisms/);
  core.write(`<x xmlns='urn:x'>${"y".repeat(5000)}</x>`);
  const frame = await one.nextFrame(OP.text);
  assert.equal(frame.compressed, false);
  assert.match(String(frame.payload), /^<x xmlns='urn:x'>y{5000}<\/x>$/);
});

// ---- messages

test("compressed and plain messages reach the core in order, whole, in fragments and byte by byte", async (t) => {
  const { one, core } = await bound(t);
  one.socket.setNoDelay(true);
  const deflated = pressed(message("κόσμε, in fragments"));
  one.send(compressed(message("1")), uncompressed(message("2")), compressed(message("3")), compressed(message("4")));
  one.send({ op: OP.text, rsv: RSV1, fin: false, payload: deflated.subarray(0, 1) });
  one.send({ op: OP.ping, payload: "between" });
  assert.equal(String(await one.next(OP.pong)), "between");
  for (const byte of deflated.subarray(1)) {
    one.send({ op: OP.continuation, fin: false, payload: Buffer.from([byte]) });
  }
  one.send({ op: OP.continuation, payload: "" }, uncompressed(message("last")));
  await core.expect(/last/);
  assert.deepEqual(
    core.stanzas.map((stanza) => /<body>(.*)<\/body>/.exec(stanza)![1]),
    ["1", "2", "3", "4", "κόσμε, in fragments", "last"],
  );
});

test("messages compressed to nothing are white space, and the next one is read", async (t) => {
  const { one, core } = await bound(t);
  one.send({ op: OP.text, rsv: RSV1, payload: Buffer.from([0]) }, { op: OP.text, rsv: RSV1 }, compressed(" \n"));
  one.send(compressed(message("next")));
  await core.expect(/next/);
  assert.equal(core.stanzas.length, 1);
});

test("a Close behind compressed messages is answered when they have been read", async (t) => {
  const { one, core } = await bound(t);
  one.send(compressed(message("1")), compressed(message("2")), { op: OP.close, payload: Buffer.from([3, 232]) });
  assert.equal(await one.closeCode(), 1000);
  await core.expect(/>2</);
  await one.closed;
});

test("small messages behind a large one in its last chunk are not counted as parts of it", async (t) => {
  const { one, core } = await bound(t);
  const large = pressed(message(randomBytes(95_000).toString("base64").slice(0, 120_000)));
  one.send({ op: OP.text, rsv: RSV1, payload: large }, ...new Array(3000).fill(compressed(message("small"))));
  one.send(compressed(message("last")));
  await core.expect(/>last</);
  assert.equal(core.stanzas.length, 3002);
});

for (const [what, frames, condition, why, code] of [
  ["garbage", [{ op: OP.text, rsv: RSV1, payload: "not DEFLATE" }], "bad-format", /not DEFLATE/, 1007],
  [
    "a message that breaks off",
    [{ op: OP.text, rsv: RSV1, payload: pressed(message("x".repeat(50))).subarray(0, 40) }],
    "bad-format",
    /not DEFLATE/,
    1007,
  ],
  [
    "bytes behind the last block",
    [{ op: OP.text, rsv: RSV1, payload: Buffer.concat([deflateRawSync(message("x")), Buffer.from("more")]) }],
    "bad-format",
    /not DEFLATE/,
    1007,
  ],
  [
    "a message that needs the one before it",
    [compressed(message("x")), { op: OP.text, rsv: RSV1, payload: Buffer.from("0a0013", "hex") }],
    "bad-format",
    /not DEFLATE/,
    1007,
  ],
  ["two stanzas", [compressed(message("1") + message("2"))], "bad-format", /one complete element/, 1000],
  ["a binary message", [{ ...compressed(message("x")), op: OP.binary }], "bad-format", /binary/, 1003],
  ["a bomb", [{ op: OP.text, rsv: RSV1, payload: bomb() }], "policy-violation", /inflates to more than 262144/, 1009],
  [
    "a bomb in fragments",
    [
      { op: OP.text, rsv: RSV1, fin: false, payload: bomb().subarray(0, 50_000) },
      { op: OP.continuation, payload: bomb().subarray(50_000) },
    ],
    "policy-violation",
    /inflates to more than 262144/,
    1009,
  ],
  [
    "a chunk full of small bombs",
    new Array<FrameIn>(100).fill(compressed(" ".repeat(MAX_BYTES))),
    "policy-violation",
    /more than 100 times their size/,
    1009,
  ],
] as const) {
  test(`${what} ends the stream with ${condition} and the WebSocket with ${code}`, async (t) => {
    const { one, core } = await bound(t);
    const inflated = () => one.wire.edge.metric(BYTES, { direction: "from_client", form: "plain" });
    const before = await inflated();
    one.send(...(frames as readonly FrameIn[]));
    await refused(one, condition, why, code);
    await core.ended;
    assert.ok(core.stanzas.every((stanza) => stanza === message("x")));
    const grown = (await inflated()) - before;
    assert.ok(grown < 6 * MAX_BYTES, `${grown} bytes were inflated`);
  });
}

for (const [what, frames, code] of [
  ["UTF-8 that is none once inflated", [compressed(Buffer.from([0x3c, 0xff, 0x3e]))], 1007],
  [
    "reserved bit 1 in a continuation",
    [
      { ...compressed(message("x")), fin: false },
      { op: OP.continuation, rsv: RSV1 },
    ],
    1002,
  ],
  ["reserved bit 1 in a ping", [{ op: OP.ping, rsv: RSV1 }], 1002],
  ["reserved bit 1 in a Close", [{ op: OP.close, rsv: RSV1 }], 1002],
  ["reserved bits 1 and 2", [{ ...compressed(message("x")), rsv: 6 }], 1002],
] as const) {
  test(`${what} fails the WebSocket with ${code}, also where messages may be compressed`, async (t) => {
    const { one, core } = await bound(t);
    one.send(...frames);
    assert.equal(await one.closeCode(), code);
    await core.ended;
    assert.deepEqual(core.stanzas, []);
  });
}

test("a stanza of the greatest size passes, compressed to a thousandth of it", async (t) => {
  const { one, core } = await bound(t);
  const frame = message("").length;
  one.send(compressed(message("x".repeat(MAX_BYTES - frame))), compressed(message("behind")));
  await core.expect(/behind/);
  assert.equal(core.stanzas[0]!.length, MAX_BYTES);
});

// ---- to the client

test("large stanzas are compressed, each by itself, and counted; small ones are not", async (t) => {
  const { one, core } = await bound(t);
  const { edge } = one.wire;
  const count = async () => ({
    plain: await edge.metric(BYTES, { direction: "to_client", form: "plain" }),
    deflated: await edge.metric(BYTES, { direction: "to_client", form: "deflated" }),
  });
  const before = await count();
  const large = message("all the same ".repeat(200));
  core.write(large + large + message("small"));
  const first = await one.nextFrame(OP.text);
  const second = await one.nextFrame(OP.text);
  const small = await one.nextFrame(OP.text);
  assert.deepEqual([first.compressed, second.compressed, small.compressed], [true, true, false]);
  assert.equal(plain(first), large);
  // Nothing of the first shows in the length of the second.
  assert.deepEqual(second.payload, first.payload);
  assert.ok(first.payload.length < large.length / 10);
  assert.equal(plain(small), message("small"));
  const after = await count();
  assert.equal(after.plain - before.plain, 2 * large.length);
  assert.equal(after.deflated - before.deflated, 2 * first.payload.length);
});

test("stanzas of every length form of a frame arrive whole, compressed with the window that the client asked for", async (t) => {
  const one = await peer(t, { ...mode("always"), headers: [`${OFFER}; server_max_window_bits=9`] });
  assert.equal(answered(one), `${ACCEPTED}; server_max_window_bits=9`);
  const { core } = await login(one, compressed);
  for (const size of [900, 1024, 5000, 65_535, 65_536, 200_000, 400_000]) {
    const body = randomBytes(size).toString("hex").slice(0, size);
    core.write(message(body));
    const frame = await one.nextFrame(OP.text);
    assert.equal(frame.compressed, size >= 1024);
    assert.equal(plain(frame, 9), message(body));
  }
});
