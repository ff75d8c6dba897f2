import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { StanzaFramer } from "../../src/xmpp/framer.ts";

const SIZE = 262_144;
const LIMITS = { maxBytes: SIZE, maxDepth: 4096, maxElements: SIZE, maxAttributes: SIZE };
const HEADER = Buffer.from("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");

/** `open`, then as many different `piece(i)` as there is room for in `size` bytes, then `close`. */
function filled(size: number, open: string, piece: (i: number) => string, close: string): string {
  const parts = [open];
  let room = size - Buffer.byteLength(open + close);
  for (let i = 0; ; i++) {
    const next = piece(i);
    room -= Buffer.byteLength(next);
    if (room < 0) return parts.join("") + close;
    parts.push(next);
  }
}

/** A name for each number, all as long as each other, with few first and last letters: hard to tell apart. */
const letters = (i: number) => `n${(i + 36 ** 3).toString(36)}e`;
/** Stanzas of `size` bytes that are as hard as they can be. */
const HARD: Record<string, (size: number) => string> = {
  text: (size) => `<a>${"x".repeat(size - 7)}</a>`,
  "Cyrillic text": (size) => filled(size, "<a>", () => "Привет ", "</a>"),
  "CDATA that seems to end": (size) => filled(size, "<a><![CDATA[", () => "]]", "]]></a>"),
  "one attribute": (size) => `<a b='${"x".repeat(size - 10)}'/>`,
  "one name": (size) => `<${"x".repeat(size / 2 - 3)}></${"x".repeat(size / 2 - 3)}>`,
  "one prefix and its use": (size) => `<a xmlns:${"p".repeat(size / 2 - 20)}='u'><${"p".repeat(size / 2 - 20)}:b/></a>`,
  "one reference": (size) => `<a>&#${"0".repeat(size - 12)}65;</a>`,
  references: (size) => filled(size, "<a>", () => "&amp;&#65;", "</a>"),
  attributes: (size) => filled(size, "<a", (i) => ` ${letters(i)}=''`, "/>"),
  "prefixed attributes": (size) => filled(size, "<a xmlns:p='u:1'", (i) => ` p:${letters(i)}=''`, "/>"),
  "attributes behind a long one": (size) =>
    filled(size, `<a b='${"x".repeat(size / 2)}'`, (i) => ` ${letters(i)}=''`, "/>"),
  "tags with many attributes": (size) =>
    filled(
      size,
      "<a>",
      (i) => `<b${Array.from({ length: 40 }, (_, k) => ` ${letters(i * 40 + k)}=''`).join("")}/>`,
      "</a>",
    ),
  "prefix declarations": (size) => filled(size, "<a", (i) => ` xmlns:${letters(i)}='u'`, "/>"),
  "prefixes, declared and used": (size) => {
    const prefixes = size / 128;
    const declared = Array.from({ length: prefixes }, (_, i) => ` xmlns:${letters(i)}='u'`).join("");
    return filled(size, `<a${declared}>`, (i) => `<${letters((i * 7) % prefixes)}:b/>`, "</a>");
  },
  depth: (size) => "<a>".repeat(size / 64) + "</a>".repeat(size / 64),
  "small elements": (size) => filled(size, "<a>", () => "<b/>", "</a>"),
  "default namespaces": (size) =>
    filled(size, "<a>", () => "<b xmlns='http://www.w3.org/XML/1998/namespacf'/>", "</a>"),
  "white space in tags": (size) => filled(size, "<a", () => " \n\t", "/>"),
};

/** CPU milliseconds for the bytes as one stanza in chunks of `size`. */
function cost(bytes: Buffer, size: number): number {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(Buffer.from(bytes.subarray(at, at + size)));
  const framer = new StanzaFramer(LIMITS);
  framer.feed(HEADER, true);
  framer.next();
  framer.next();
  let frames = 0;
  const before = process.cpuUsage();
  for (const chunk of chunks) {
    framer.feed(chunk, true);
    while (framer.next() !== null) frames++;
  }
  const { user, system } = process.cpuUsage(before);
  assert.equal(frames, 1);
  return (user + system) / 1000;
}

/** How many times longer the whole is than the part that it is compared with. */
const PARTS = 16;
/** What the whole may cost more than the part: linear work costs 16 times as much, quadratic work 256 times. */
const GROWTH = 64;
/** What the whole may cost on the slowest machine (ms): quiet ones need a tenth. */
const DEAR_MS = 1000;
/** Below this (ms) the whole is cheap on any machine, and the part too short to be timed. */
const CHEAP_MS = 10;

/**
 * What the whole and a sixteenth of it cost, each the least of some rounds by turns: other work on the machine only adds to a round, and
 * what slows the machine for good slows both. Rounds beyond the fifth are for machines that are busy.
 */
function costs(whole: Buffer, part: Buffer, size: number): [whole: number, part: number] {
  let [most, least] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 25; round++) {
    if (round >= 5 && (most <= CHEAP_MS || most <= GROWTH * least)) break;
    if (round >= 2 && most >= DEAR_MS) break;
    most = Math.min(most, cost(whole, size));
    for (let i = 0; i < 4; i++) least = Math.min(least, cost(part, size));
  }
  return [most, least];
}

for (const [name, make] of Object.entries(HARD)) {
  test(`256 KiB of ${name} cost in proportion to their length, in one chunk and in chunks of 1, 15, 64 and 1460 bytes`, (t) => {
    const [whole, part] = [Buffer.from(make(SIZE)), Buffer.from(make(SIZE / PARTS))];
    assert(whole.length <= SIZE && (whole.length > SIZE * 0.9 || name === "depth"), `${whole.length}`);
    for (const size of [SIZE, 1460, 64, 15, 1]) {
      const [most, least] = costs(whole, part, size);
      t.diagnostic(`in chunks of ${size}: ${most.toFixed(1)} ms, a sixteenth of it ${least.toFixed(2)} ms`);
      assert(most < DEAR_MS, `in chunks of ${size}: ${most} ms`);
      assert(most <= CHEAP_MS || most <= GROWTH * least, `in chunks of ${size}: ${most} ms, a sixteenth ${least} ms`);
    }
  });
}

test("an idle framer costs a few hundred bytes", (t) => {
  setFlagsFromString("--expose-gc");
  const gc: () => void = runInNewContext("gc");
  const framers = 10_000;
  const collect = () => {
    for (let i = 0; i < 4; i++) gc();
  };
  const stanza = Buffer.from("<message to='a'><body>hi</body></message>");
  const all: StanzaFramer[] = [];
  const usage = () => {
    collect();
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    return heapUsed + external + arrayBuffers;
  };
  const before = usage();
  for (let i = 0; i < framers; i++) {
    const framer = new StanzaFramer(LIMITS);
    for (const chunk of [HEADER, stanza.subarray(0, 20), stanza.subarray(20), stanza]) {
      framer.feed(chunk, true);
      while (framer.next() !== null);
    }
    all.push(framer);
  }
  const each = (usage() - before) / all.length;
  t.diagnostic(`${each.toFixed(0)} bytes each`);
  assert(each < 500, `${each} bytes`);
});
