import assert from "node:assert/strict";
import { test } from "node:test";
import { frame, OP, opened, type Peer } from "./peer.ts";

// After the groups of the Autobahn test suite: framing (1), pings (2), reserved bits (3), opcodes (4), fragmentation (5),
// UTF-8 (6) and closing (7). What is sent inside is XMPP, since nothing else is echoed here: the answer to a ping.

// The core answers it with a failure: proof that the text arrived whole.
const AUTH = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-κόσμε'>=</auth>";

async function answers(one: Peer): Promise<void> {
  assert.match(String(await one.next(OP.text)), /^<failure /);
}

test("1: text of every length form is understood", async (t) => {
  const one = await opened(t);
  for (const size of [90, 125, 126, 127, 128, 1000]) {
    const padding = " ".repeat(Math.max(0, size - Buffer.byteLength(AUTH)));
    one.send({ op: OP.text, payload: AUTH.replace("<auth", `<auth${padding}`) });
    await answers(one);
  }
  one.socket.destroy();
});

test("1: frames cut into single bytes are understood", async (t) => {
  const one = await opened(t);
  one.socket.setNoDelay(true);
  for (const byte of frame({ op: OP.text, payload: AUTH })) one.socket.write(Buffer.from([byte]));
  await answers(one);
  one.socket.destroy();
});

test("2: a ping is answered with its own payload, up to 125 bytes; an unasked pong is ignored", async (t) => {
  const one = await opened(t);
  for (const payload of ["", "ping", Buffer.alloc(125, 0xfe)]) {
    one.send({ op: OP.ping, payload });
    assert.deepEqual(await one.next(OP.pong), Buffer.from(payload as string));
  }
  one.send({ op: OP.pong, payload: "unasked" }, { op: OP.ping, payload: "x" });
  assert.equal(String(await one.next(OP.pong)), "x");
  one.socket.destroy();
});

for (const [what, frames, code] of [
  ["2: a ping of more than 125 bytes", [{ op: OP.ping, payload: Buffer.alloc(126) }], 1002],
  ["3: reserved bit 1 without an extension", [{ op: OP.text, rsv: 4, payload: AUTH }], 1002],
  ["3: reserved bit 2", [{ op: OP.text, rsv: 2, payload: AUTH }], 1002],
  ["3: reserved bit 3", [{ op: OP.text, rsv: 1, payload: AUTH }], 1002],
  ["3: a reserved bit in a ping", [{ op: OP.ping, rsv: 4 }], 1002],
  ["4: opcode 3", [{ op: 3 }], 1002],
  ["4: opcode 7", [{ op: 7, payload: "x" }], 1002],
  ["4: control opcode 11", [{ op: 11 }], 1002],
  ["4: control opcode 15", [{ op: 15, payload: "x" }], 1002],
  ["5: a ping in fragments", [{ op: OP.ping, fin: false }, { op: OP.continuation }], 1002],
  ["5: a continuation of nothing", [{ op: OP.continuation, payload: AUTH }], 1002],
  [
    "5: a text inside a fragmented text",
    [
      { op: OP.text, fin: false, payload: "<" },
      { op: OP.text, payload: AUTH },
    ],
    1002,
  ],
  ["6: a byte that UTF-8 does not have", [{ op: OP.text, payload: Buffer.from([0x3c, 0xff, 0x3e]) }], 1007],
  ["6: an overlong form", [{ op: OP.text, payload: Buffer.from([0xc0, 0xaf]) }], 1007],
  ["6: a surrogate", [{ op: OP.text, payload: Buffer.from([0xed, 0xa0, 0x80]) }], 1007],
  ["6: beyond U+10FFFF", [{ op: OP.text, payload: Buffer.from([0xf4, 0x90, 0x80, 0x80]) }], 1007],
  ["6: a character that ends early", [{ op: OP.text, payload: Buffer.from([0x3c, 0xce]) }], 1007],
  ["7: a Close of one byte", [{ op: OP.close, payload: "x" }], 1002],
  ["7: a Close with a reason that is not UTF-8", [{ op: OP.close, payload: Buffer.from([3, 232, 0xff]) }], 1007],
  ["7: a Close of more than 125 bytes", [{ op: OP.close, payload: Buffer.alloc(126, 3) }], 1002],
  ["7: code 999", [{ op: OP.close, payload: Buffer.from([3, 231]) }], 1002],
  ["7: code 1005, which is never sent", [{ op: OP.close, payload: Buffer.from([3, 237]) }], 1002],
  ["7: code 1015, which is never sent", [{ op: OP.close, payload: Buffer.from([3, 247]) }], 1002],
  ["5.1: a frame without a mask", [{ op: OP.text, masked: false, payload: AUTH }], 1002],
  ["9: a message larger than a stanza may be", [{ op: OP.text, length: 262_145, payload: "<" }], 1009],
] as const) {
  test(`${what} fails the WebSocket with ${code}`, async (t) => {
    const one = await opened(t);
    one.send(...frames);
    assert.equal(await one.closeCode(), code);
    one.send({ op: OP.close, payload: Buffer.from([code >> 8, code & 255]) });
    await one.closed;
  });
}

test("5: text in fragments, with pings between them and a character across two, is one message", async (t) => {
  const one = await opened(t);
  const bytes = Buffer.from(AUTH);
  const cut = bytes.indexOf(0xce) + 1;
  one.send({ op: OP.text, fin: false, payload: bytes.subarray(0, cut) });
  one.send({ op: OP.ping, payload: "between" });
  assert.equal(String(await one.next(OP.pong)), "between");
  one.send({ op: OP.continuation, fin: false, payload: "" });
  one.send({ op: OP.continuation, payload: bytes.subarray(cut) });
  await answers(one);
  one.socket.destroy();
});

for (const code of [1000, 1001, 1003, 1007, 1011, 3000, 4999]) {
  test(`7: a Close with ${code} is answered with the same, and the connection closed by the server`, async (t) => {
    const one = await opened(t);
    one.send({ op: OP.close, payload: Buffer.from([code >> 8, code & 255]) });
    assert.equal(await one.closeCode(), code);
    await one.closed;
  });
}

test("7: a Close without a code is answered", async (t) => {
  const one = await opened(t);
  one.send({ op: OP.close });
  await one.next(OP.close);
  await one.closed;
});

test("7: what comes behind a Close is ignored", async (t) => {
  const one = await opened(t);
  one.send({ op: OP.close, payload: Buffer.from([3, 232]) }, { op: OP.ping, payload: "late" });
  await one.next(OP.close);
  await one.closed;
  assert.equal(one.frames.items.length, 0);
});
