import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { StanzaFramer } from "../../src/xmpp/framer.ts";

const SIZE = 262_144;
const LIMITS = { maxBytes: SIZE, maxDepth: 4096, maxElements: SIZE, maxAttributes: SIZE };
const HEADER = Buffer.from("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");

/** `open`, then as many different `piece(i)` as there is room for, then `close`. */
function filled(open: string, piece: (i: number) => string, close: string): string {
  const parts = [open];
  let room = SIZE - Buffer.byteLength(open + close);
  for (let i = 0; ; i++) {
    const next = piece(i);
    room -= Buffer.byteLength(next);
    if (room < 0) return parts.join("") + close;
    parts.push(next);
  }
}

/** A name for each number, all as long as each other, with few first and last letters: hard to tell apart. */
const letters = (i: number) => `n${(i + 36 ** 3).toString(36)}e`;
/** Stanzas of 256 KiB that are as hard as they can be. */
const HARD: Record<string, string> = {
  text: `<a>${"x".repeat(SIZE - 7)}</a>`,
  "Cyrillic text": filled("<a>", () => "Привет ", "</a>"),
  "CDATA that seems to end": filled("<a><![CDATA[", () => "]]", "]]></a>"),
  "one attribute": `<a b='${"x".repeat(SIZE - 10)}'/>`,
  "one name": `<${"x".repeat(SIZE / 2 - 3)}></${"x".repeat(SIZE / 2 - 3)}>`,
  "one prefix and its use": `<a xmlns:${"p".repeat(SIZE / 2 - 20)}='u'><${"p".repeat(SIZE / 2 - 20)}:b/></a>`,
  "one reference": `<a>&#${"0".repeat(SIZE - 12)}65;</a>`,
  references: filled("<a>", () => "&amp;&#65;", "</a>"),
  attributes: filled("<a", (i) => ` ${letters(i)}=''`, "/>"),
  "prefixed attributes": filled("<a xmlns:p='u:1'", (i) => ` p:${letters(i)}=''`, "/>"),
  "attributes behind a long one": filled(`<a b='${"x".repeat(SIZE / 2)}'`, (i) => ` ${letters(i)}=''`, "/>"),
  "tags with many attributes": filled(
    "<a>",
    (i) => `<b${Array.from({ length: 40 }, (_, k) => ` ${letters(i * 40 + k)}=''`).join("")}/>`,
    "</a>",
  ),
  "prefix declarations": filled("<a", (i) => ` xmlns:${letters(i)}='u'`, "/>"),
  "prefixes, declared and used": filled(
    `<a${Array.from({ length: 2000 }, (_, i) => ` xmlns:${letters(i)}='u'`).join("")}>`,
    (i) => `<${letters((i * 7) % 2000)}:b/>`,
    "</a>",
  ),
  depth: "<a>".repeat(4096) + "</a>".repeat(4096),
  "small elements": filled("<a>", () => "<b/>", "</a>"),
  "default namespaces": filled("<a>", () => "<b xmlns='http://www.w3.org/XML/1998/namespacf'/>", "</a>"),
  "white space in tags": filled("<a", () => " \n\t", "/>"),
};

/** CPU milliseconds for the stanza in chunks of `size`, the least of some rounds: other work on the machine only adds. */
function cost(text: string, size: number, rounds: number): number {
  const bytes = Buffer.from(text);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(Buffer.from(bytes.subarray(at, at + size)));
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
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
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

for (const [name, text] of Object.entries(HARD)) {
  test(`256 KiB of ${name} costs little, in one chunk and in chunks of 1, 15, 64 and 1460 bytes`, (t) => {
    assert(
      Buffer.byteLength(text) <= SIZE && (Buffer.byteLength(text) > SIZE * 0.9 || name === "depth"),
      `${text.length}`,
    );
    const costs = [SIZE, 1460, 64, 15, 1].map((size) => cost(text, size, 5));
    t.diagnostic(`ms in chunks of 256 KiB, 1460, 64, 15, 1: ${costs.map((ms) => ms.toFixed(1)).join(" ")}`);
    // Quadratic work would take seconds. A quiet machine needs a quarter of this.
    for (const ms of costs) assert(ms < 100, `${ms} ms`);
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
