import assert from "node:assert/strict";
import { test } from "node:test";
import { type Frame, KIND, retain, textOf } from "../../src/xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../src/xmpp/framer.ts";
import { FramingError } from "../../src/xmpp/framing-error.ts";
import { NS } from "../../src/xmpp/ns.ts";
import { Random } from "../support/random.ts";
import { CHUNK_SIZES, frame, HEADER, LIMITS, see, textsOf } from "./framing.ts";

/** Feeds `text` and pulls all that is complete. */
function pull(framer: StanzaFramer, text: string | Buffer): string[] {
  framer.feed(Buffer.from(text as string), true);
  const texts: string[] = [];
  for (let next = framer.next(); next !== null; next = framer.next()) texts.push(next === "end" ? next : textOf(next));
  return texts;
}

/** Pulls a frame that must be there. */
function one(framer: StanzaFramer): Frame {
  const next = framer.next();
  assert(next !== null && next !== "end", String(next));
  return next;
}

test("a stream comes apart into its header, its elements and its end, in chunks of any size", () => {
  const elements = [
    "<message to='a'><body>Grüße, мир 👋</body></message>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<iq><![CDATA[</iq>]]></iq>",
  ];
  const stream = `<?xml version='1.0'?>\n${HEADER} ${elements[0]}\n\n${elements[1]}${elements[2]} </stream:stream>\n`;
  for (const size of CHUNK_SIZES) assert.deepEqual(textsOf(frame(stream, size)), [HEADER, ...elements, "end"]);
});

test("a root that is closed at once gives the header and then the end", () => {
  for (const size of CHUNK_SIZES) {
    const { seen } = frame("<a xmlns='u'/> ", size);
    assert.deepEqual(seen, [{ text: "<a xmlns='u'/>", kind: KIND.streamHeader, usesStreamPrefix: false }, "end"]);
  }
});

test("a frame within one chunk is that chunk's bytes, not a copy", () => {
  const framer = new StanzaFramer(LIMITS);
  const chunk = Buffer.from(`${HEADER} <a/><b></b>`);
  framer.feed(chunk, true);
  for (const expected of [HEADER, "<a/>", "<b></b>"]) {
    const next = one(framer);
    assert.equal(next.bytes, chunk);
    assert.equal(textOf(next), expected);
    assert.equal(next.stable, true);
  }
  assert.equal(framer.next(), null);
});

test("a frame tells where its tag and its name are, within a chunk and across chunks", () => {
  const text = "<p:iq xmlns:p='jabber:client' \n a='>'><b/></p:iq>";
  for (const size of CHUNK_SIZES) {
    const framer = new StanzaFramer(LIMITS);
    pull(framer, HEADER);
    let found = false;
    for (let at = 0; at < text.length; at += size) {
      framer.feed(Buffer.from(text.slice(at, at + size)), true);
      const next = framer.next();
      if (next === null) continue;
      assert(next !== "end");
      assert.equal(next.bytes.toString("utf8", next.nameStart, next.nameEnd), "p:iq");
      assert.equal(next.bytes.toString("utf8", next.start, next.tagEnd), "<p:iq xmlns:p='jabber:client' \n a='>'>");
      found = true;
    }
    assert(found);
  }
});

test("a frame is stable when its chunk is, or when it was collected from several", () => {
  const framer = new StanzaFramer(LIMITS);
  const lent = Buffer.from(`${HEADER}<a/><message>first `);
  framer.feed(lent, false);
  assert.equal(one(framer).stable, false);
  assert.equal(one(framer).stable, false);
  assert.equal(framer.next(), null);
  lent.fill(0x21);
  framer.feed(Buffer.from("half</message><b/>"), true);
  const collected = one(framer);
  assert.equal(textOf(collected), "<message>first half</message>");
  assert.equal(collected.stable, true);
  assert.equal(one(framer).stable, true);
});

test("frames that were collected from several chunks never change afterwards", () => {
  const framer = new StanzaFramer(LIMITS);
  pull(framer, HEADER);
  const kept: { bytes: Buffer; text: string }[] = [];
  for (let i = 0; i < 500; i++) {
    const text = `<message id='${i}'>${"x".repeat((i * 37) % 3000)}</message>`;
    const cut = (i * 13) % text.length;
    const others = new StanzaFramer(LIMITS);
    pull(others, `${HEADER}<iq>other ${i}`);
    framer.feed(Buffer.from(text.slice(0, cut)), false);
    assert.equal(framer.next(), null);
    pull(others, "'s</iq>");
    framer.feed(Buffer.from(`${text.slice(cut)}<b/><c`), false);
    const next = one(framer);
    assert(next.stable || cut === 0);
    if (next.stable) kept.push({ bytes: next.bytes.subarray(next.start, next.end), text });
    assert.equal(textOf(one(framer)), "<b/>");
    assert.equal(framer.next(), null);
    assert.deepEqual(pull(framer, "/>"), ["<c/>"]);
  }
  for (const { bytes, text } of kept) assert.equal(bytes.toString(), text);
});

test("framers that stop in the middle of frames do not disturb each other", () => {
  const framers = Array.from({ length: 40 }, (_, i) => {
    const name = `n${i}`;
    const inner = `<p:${name} xmlns:p='u:${i}' p:a='${i}' b='&amp;' c='2' d='é'><x${i}>text ${i} é&lt;</x${i}></p:${name}>`;
    return {
      text: `<${name} e='1' f='2'>${inner.repeat(3)}<![CDATA[]]]]></${name}>`,
      framer: new StanzaFramer(LIMITS),
      got: [] as string[],
    };
  });
  for (const { framer } of framers) pull(framer, HEADER);
  for (let at = 0; at < 400; at += 3) {
    for (const { framer, text, got } of framers) got.push(...pull(framer, text.slice(at, at + 3)));
  }
  for (const { text, got } of framers) assert.deepEqual(got, [text]);
});

test("streams with different headers do not mix", () => {
  const usual = new StanzaFramer(LIMITS);
  const foreign = new StanzaFramer(LIMITS);
  pull(usual, HEADER);
  pull(foreign, "<root xmlns='u' xmlns:c='jabber:client'>");
  for (let i = 0; i < 3; i++) {
    usual.feed(Buffer.from("<message a='1'><body>a text that is long enough for a chunk</body></message>"), true);
    foreign.feed(Buffer.from("<message a='1'><body>a text that is long enough for a chunk</body></message>"), true);
    const [one_, other] = [one(usual), one(foreign)];
    assert.deepEqual([one_.kind, one_.usesStreamPrefix], [KIND.message, false]);
    assert.deepEqual([other.kind, other.usesStreamPrefix], [KIND.other, true]);
    assert.equal(usual.next() ?? foreign.next(), null);
  }
});

test("frames that many framers collect in turns never change, however long they are kept", () => {
  const random = new Random(5);
  const streams = Array.from({ length: 12 }, () => {
    const framer = new StanzaFramer(LIMITS);
    pull(framer, HEADER);
    const stanzas = Array.from(
      { length: 60 },
      (_, i) => `<m${i}>${"text ".repeat(random.integer(0, random.pick([20, 200, 900])))}</m${i}>`,
    );
    return { framer, stanzas, input: Buffer.from(stanzas.join("")), at: 0, got: [] as (() => string)[] };
  });
  for (let left = streams.length; left > 0; ) {
    const stream = random.pick(streams);
    const { framer, input, at, got } = stream;
    if (at >= input.length) continue;
    stream.at += random.integer(1, random.pick([30, 300, 2000]));
    framer.feed(Buffer.from(input.subarray(at, stream.at)), true);
    for (let next = framer.next(); next !== null; next = framer.next()) {
      assert(next !== "end" && next.stable);
      const bytes = next.bytes.subarray(next.start, next.end);
      got.push(() => bytes.toString());
    }
    if (stream.at >= input.length) left--;
  }
  for (const { got, stanzas } of streams)
    assert.deepEqual(
      got.map((read) => read()),
      stanzas,
    );
});

test("a framer that refuses a frame in the middle leaves others as they are", () => {
  const good = new StanzaFramer(LIMITS);
  const bad = new StanzaFramer(LIMITS);
  pull(good, `${HEADER}<message><body a='1`);
  assert.throws(() => pull(bad, `${HEADER}<message><body a='1' a='`), FramingError);
  assert.deepEqual(pull(good, "'>hi</body></message>"), ["<message><body a='1'>hi</body></message>"]);
});

test("a refusal is final: the same error for ever", () => {
  const framer = new StanzaFramer(LIMITS);
  pull(framer, HEADER);
  framer.feed(Buffer.from("<a></b>"), true);
  let first: unknown;
  assert.throws(
    () => framer.next(),
    (error) => {
      first = error;
      return error instanceof FramingError && error.condition === "not-well-formed";
    },
  );
  framer.feed(Buffer.from("<a/>"), true);
  assert.throws(
    () => framer.next(),
    (error) => error === first,
  );
  framer.restart();
  assert.throws(() => framer.next(), FramingError);
});

test("frames before a refusal are handed out first", () => {
  for (const size of CHUNK_SIZES) {
    const { seen, refused } = frame(`${HEADER}<a/><b/><c><d></c>`, size);
    assert.equal(seen.length, 3);
    assert.equal(refused, "not-well-formed");
  }
});

test("a stream restarts in the middle of a chunk, with a new root and new prefixes", () => {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(
    Buffer.from(`${HEADER}<a/>\n<?xml version='1.0'?><p:root xmlns:p='u:p' xmlns='u:d'><p:b/></p:root>`),
    true,
  );
  assert.equal(textOf(one(framer)), HEADER);
  assert.equal(textOf(one(framer)), "<a/>");
  framer.restart();
  assert.equal(framer.header, null);
  // The line feed belongs to the new stream, and no XML declaration may follow it.
  assert.throws(() => framer.next(), /processing instruction/);

  const other = new StanzaFramer(LIMITS);
  other.feed(Buffer.from(`${HEADER}<a/><?xml version='1.0'?><p:root xmlns:p='u:p' xmlns='u:d'><p:b/></p:root>`), true);
  one(other);
  one(other);
  other.restart();
  assert.equal(textOf(one(other)), "<p:root xmlns:p='u:p' xmlns='u:d'>");
  assert.equal(textOf(one(other)), "<p:b/>");
  assert.equal(other.next(), "end");
});

test("a restart forgets the prefixes of the old header", () => {
  const framer = new StanzaFramer(LIMITS);
  pull(framer, HEADER);
  framer.restart();
  pull(framer, "<root xmlns='jabber:client'>");
  assert.throws(() => pull(framer, "<stream:a/>"), /"stream" is not declared/);
});

test("what came of a frame before a restart belongs to the new stream", () => {
  const framer = new StanzaFramer(LIMITS);
  pull(framer, `${HEADER}<auth/>${HEADER.slice(0, 30)}`);
  assert.equal(framer.unread(), 30);
  framer.restart();
  assert.deepEqual(pull(framer, `${HEADER.slice(30)}<a/>`), [HEADER, "<a/>"]);
});

test("unread counts what was fed and is in no frame yet, white space included", () => {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(`${HEADER}<starttls xmlns='${NS.tls}'/> <b`), true);
  one(framer);
  assert.equal(one(framer).kind, KIND.tls);
  assert.equal(framer.unread(), 3);
  assert.equal(framer.midFrame, false);
  assert.equal(framer.next(), null);
  assert.equal(framer.unread(), 2);
  assert.equal(framer.midFrame, true);
  assert.deepEqual(pull(framer, "/>\n\n"), ["<b/>"]);
  assert.equal(framer.unread(), 0);
  assert.equal(framer.midFrame, false);
});

test("the header's declarations are at hand for whoever must repeat them", () => {
  for (const size of CHUNK_SIZES) {
    const framer = new StanzaFramer(LIMITS);
    const header =
      "<s:stream xmlns:s='http://etherx.jabber.org/streams' to='a' xmlns='jabber:clien&#116;' xmlns:é='u:&amp;' xmlns:xml='http://www.w3.org/XML/1998/namespace'>";
    const bytes = Buffer.from(header);
    for (let at = 0; at < bytes.length; at += size) pull(framer, bytes.subarray(at, at + size));
    assert.equal(framer.header?.defaultNamespace, NS.client);
    assert.deepEqual(
      [...framer.header.prefixes],
      [
        ["s", NS.streams],
        ["é", "u:&"],
      ],
    );
  }
  assert.equal(new StanzaFramer(LIMITS).header, null);
  const bare = new StanzaFramer(LIMITS);
  pull(bare, "<root>");
  assert.equal(bare.header?.defaultNamespace, "");
  assert.equal(bare.header.prefixes.size, 0);
});

test("streams with the usual header share one record of it", () => {
  const [one, other] = [new StanzaFramer(LIMITS), new StanzaFramer(LIMITS)];
  pull(one, HEADER);
  pull(other, HEADER.replace("version", "to='x' version"));
  assert.equal(one.header, other.header);
});

/** [what comes, its kind, whether it uses the header's prefixes] */
const KINDS: readonly (readonly [string, number, boolean])[] = [
  ["<message/>", KIND.message, false],
  ["<presence></presence>", KIND.presence, false],
  ["<iq type='get'/>", KIND.iq, false],
  ["<messages/>", KIND.other, false],
  ["<Message/>", KIND.other, false],
  ["<iqx/>", KIND.other, false],
  ["<message xmlns='jabber:client'/>", KIND.message, false],
  ["<message xmlns='jabber:clien&#116;'/>", KIND.message, false],
  ["<message xmlns='jabber:server'/>", KIND.other, false],
  ["<message xmlns=''/>", KIND.other, false],
  ["<c:iq xmlns:c='jabber:client'/>", KIND.iq, false],
  ["<c:iq xmlns:c='jabber:&#x63;lient'/>", KIND.iq, false],
  ["<c:message xmlns:c='u'/>", KIND.other, false],
  ["<r xmlns='urn:xmpp:sm:3'/>", KIND.smRequest, false],
  ["<a xmlns='urn:xmpp:sm:2' h='1'/>", KIND.smAnswer, false],
  ["<r xmlns='urn:xmpp:sm:4'/>", KIND.other, false],
  ["<r/>", KIND.other, false],
  ["<enable xmlns='urn:xmpp:sm:3'/>", KIND.sm, false],
  ["<x:failed xmlns:x='urn:xmpp:sm:2'/>", KIND.sm, false],
  ["<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", KIND.sasl, false],
  ["<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", KIND.tls, false],
  ["<active xmlns='urn:xmpp:csi:0'/>", KIND.csi, false],
  ["<stream:features/>", KIND.features, true],
  ["<stream:error><x xmlns='u'/></stream:error>", KIND.streamError, true],
  ["<stream:other/>", KIND.other, true],
  ["<features xmlns='http://etherx.jabber.org/streams'/>", KIND.features, false],
  ["<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>", KIND.streamError, false],
  ["<message><stream:x/></message>", KIND.message, true],
  ["<message stream:x=''/>", KIND.message, true],
  ["<message><a><b stream:x=''/></a></message>", KIND.message, true],
  ["<message xmlns:stream='u'><stream:x/></message>", KIND.message, false],
  ["<message><a xmlns:stream='u'/><stream:x/></message>", KIND.message, true],
  ["<message xml:lang='de'><xml:a/></message>", KIND.message, false],
];

test("a frame's kind comes from its expanded name, however it is spelled", () => {
  for (const [text, kind, usesStreamPrefix] of KINDS) {
    for (const size of CHUNK_SIZES) {
      assert.deepEqual(frame(HEADER + text, size).seen[1], { text, kind, usesStreamPrefix }, `in chunks of ${size}`);
    }
  }
});

test("under another default namespace only what declares its own is independent of the header", () => {
  const cases: readonly (readonly [string, number, boolean])[] = [
    ["<message/>", KIND.other, true],
    ["<c:message/>", KIND.message, true],
    ["<message xmlns='jabber:client'><body/></message>", KIND.message, false],
    ["<x:message xmlns:x='jabber:client'/>", KIND.message, false],
    ["<x:message xmlns:x='jabber:client'><body/></x:message>", KIND.message, true],
    ["<x:message xmlns:x='jabber:client'><a xmlns='u'><b/></a></x:message>", KIND.message, false],
    ["<x:message xmlns:x='jabber:client'><a xmlns='u'/><b/></x:message>", KIND.message, true],
    ["<x:message xmlns:x='jabber:client'><x:a><a xmlns=''/></x:a></x:message>", KIND.message, false],
  ];
  for (const header of [
    "<s:stream xmlns:s='u:s' xmlns='u:d' xmlns:c='jabber:client'>",
    "<s:stream xmlns:s='u:s' xmlns:c='jabber:client'>",
  ]) {
    for (const [text, kind, usesStreamPrefix] of cases) {
      for (const size of CHUNK_SIZES) {
        assert.deepEqual(frame(header + text, size).seen[1], { text, kind, usesStreamPrefix }, `in chunks of ${size}`);
      }
    }
  }
});

/** Asserts that `good` passes and that `bad`, one step further, is refused, in chunks of every size. */
function assertLimit(limits: Partial<FramerLimits>, before: string, good: string, bad: string): void {
  for (const size of CHUNK_SIZES) {
    const all = { ...LIMITS, ...limits };
    assert.equal(frame(before + good, size, all).refused, null, `${good.slice(0, 99)} in chunks of ${size}`);
    assert.equal(
      frame(before + bad, size, all).refused,
      "policy-violation",
      `${bad.slice(0, 99)} in chunks of ${size}`,
    );
  }
}

test("a frame of exactly maxBytes passes, and the next byte is refused at once", () => {
  const text = `<message>${"x".repeat(300)}é</message>`;
  const maxBytes = Buffer.byteLength(text);
  const root = "<root>";
  assertLimit(
    { maxBytes },
    `${root}   ${" ".repeat(maxBytes)}`,
    `${text}<a/>${text}`,
    `<a/>${text.replace("x", "xx")}`,
  );
  // Not at the frame's end: it need not even come.
  for (const size of [1, 2, 3]) {
    const { refused, given } = frame(`${root}<a>${"x".repeat(1000)}`, size, { ...LIMITS, maxBytes });
    assert.equal(refused, "policy-violation");
    assert(given <= root.length + maxBytes + size, `refused after ${given} bytes`);
  }
  assert.equal(frame(`${root}<a>${"x".repeat(maxBytes - 3)}`, 1, { ...LIMITS, maxBytes }).refused, null);
});

test("the limit on bytes comes first, whatever is wrong behind it", () => {
  for (const size of CHUNK_SIZES) {
    const { refused } = frame(`<root><a>${"x".repeat(20)}\0</b>`, size, { ...LIMITS, maxBytes: 20 });
    assert.equal(refused, "policy-violation");
    assert.equal(frame("<root><a>x\0", size, { ...LIMITS, maxBytes: 20 }).refused, "not-well-formed");
  }
});

test("the XML declaration and the white space before the header count towards its limit", () => {
  const declaration = "<?xml version='1.0'?>";
  const root = "<root a='1'>";
  assertLimit(
    { maxBytes: declaration.length + 2 + root.length },
    "",
    `${declaration}\n\n${root}<a/>`,
    `${declaration}\n\n\n${root}<a/>`,
  );
  assertLimit({ maxBytes: root.length + 5 }, "", `     ${root}   ${" ".repeat(99)}<a/>`, `      ${root}`);
  assertLimit({ maxBytes: 20 }, "", " ".repeat(20), " ".repeat(21));
  assertLimit({ maxBytes: 30 }, "", `<?xml version='1.0'${" ".repeat(11)}`, `<?xml version='1.0'${" ".repeat(12)}`);
});

test("white space between stanzas is free of limits", () => {
  assert.deepEqual(textsOf(frame(`<root>${" \n".repeat(5000)}<a/>`, 7, { ...LIMITS, maxBytes: 10 })), [
    "<root>",
    "<a/>",
  ]);
});

test("depth is counted from the first-level element, which is 1", () => {
  assertLimit({ maxDepth: 1 }, "<root>", "<a/><a></a>", "<a><b/></a>");
  assertLimit({ maxDepth: 3 }, "<root>", "<a><b><c/></b><b><c>x</c></b></a>", "<a><b><c><d/></c></b></a>");
  const deep = (n: number) => "<a>".repeat(n) + "</a>".repeat(n);
  assertLimit({ maxDepth: 500 }, "<root>", deep(500), deep(501));
});

test("elements are counted in each first-level element, itself included", () => {
  assertLimit({ maxElements: 3 }, "<root>", "<a><b/><c/></a><a><b/><c/></a>", "<a><b/><c/><d/></a>");
  assertLimit({ maxElements: 1 }, "<root>", "<a/><é></é>", "<a><é/></a>");
});

test("attributes are counted in each tag, namespace declarations included", () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => ` a${i}=''`).join("");
  assertLimit(
    { maxAttributes: 2 },
    "<root>",
    "<a b='' xmlns='u'><a b='' c=''/></a>",
    "<a b='' xmlns='u' xmlns:p='u'/>",
  );
  assertLimit({ maxAttributes: 0 }, "<root>", "<a><b></b ></a>", "<a é=''/>");
  assertLimit({ maxAttributes: 40 }, "<root>", `<a${many(40)}/>`, `<a${many(41)}/>`);
  assertLimit({ maxAttributes: 1 }, "", "<root a=''>", "<root a='' b=''>");
});

test("limits may be replaced between frames, and may be as large as one likes", () => {
  const framer = new StanzaFramer({ ...LIMITS, maxBytes: 100 });
  pull(framer, "<root>");
  framer.limits = {
    maxBytes: Number.POSITIVE_INFINITY,
    maxDepth: Number.MAX_SAFE_INTEGER,
    maxElements: 2 ** 32,
    maxAttributes: 2 ** 31,
  };
  assert.equal(pull(framer, `<a>${"x".repeat(1000)}<b c=''/></a>`).length, 1);
  framer.limits = { ...LIMITS, maxBytes: 10 };
  assert.throws(() => pull(framer, "<a>123456789"), /more than 10 bytes/);
});

test("an empty chunk changes nothing", () => {
  const framer = new StanzaFramer(LIMITS);
  assert.deepEqual(
    [
      ...pull(framer, ""),
      ...pull(framer, HEADER),
      ...pull(framer, ""),
      ...pull(framer, "<a"),
      ...pull(framer, ""),
      ...pull(framer, "/>"),
    ],
    [HEADER, "<a/>"],
  );
});

test("a chunk that comes before the last one is used up is read behind it", () => {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(`${HEADER}<a/><b`), true);
  framer.feed(Buffer.from("/><c/>"), false);
  assert.deepEqual(pull(framer, ""), [HEADER, "<a/>", "<b/>", "<c/>"]);
});

test("a retained frame outlives its chunk", () => {
  const framer = new StanzaFramer(LIMITS);
  const chunk = Buffer.from(`${HEADER}<a>kept</a>`);
  framer.feed(chunk, false);
  one(framer);
  const kept = retain(one(framer));
  framer.next();
  chunk.fill(0);
  assert.equal(kept.toString(), "<a>kept</a>");
});

test("a chunk that is read to its end can be let go, and nothing is lost of one that is not", () => {
  const framer = new StanzaFramer(LIMITS);
  framer.feed(Buffer.from(`${HEADER}<a/><b/>`), true);
  one(framer);
  const frame = one(framer);
  framer.release();
  assert.equal(textOf(frame), "<a/>");
  assert.equal(textOf(one(framer)), "<b/>");
  framer.release();
  assert.equal(frame.bytes.length, 0);
  assert.deepEqual(pull(framer, "<c/>"), ["<c/>"]);
});

test("a chunk may begin anywhere in its memory", () => {
  const text = `${HEADER}<message from="a'b" to='c"d'>text &amp; 'quoted' "so" > é</message><presence/>`;
  for (let offset = 0; offset < 9; offset++) {
    const memory = Buffer.alloc(offset + Buffer.byteLength(text) + 5, "<");
    memory.write(text, offset);
    const framer = new StanzaFramer(LIMITS);
    framer.feed(memory.subarray(offset, offset + Buffer.byteLength(text)), true);
    const seen = [see(one(framer)), see(one(framer)), see(one(framer))];
    assert.equal(seen.map((item) => (item === "end" ? "" : item.text)).join(""), text);
    assert.equal(framer.next(), null);
  }
});
