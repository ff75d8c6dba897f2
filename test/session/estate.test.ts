import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { deserialize, serialize } from "node:v8";
import { type Frame, textOf } from "../../src/xmpp/frame.ts";
import { type FramerLimits, StanzaFramer } from "../../src/xmpp/framer.ts";
import { type QueueBudget, UnackedQueue } from "../../src/xmpp/unacked-queue.ts";
import { Random } from "../support/random.ts";

const LIMITS: FramerLimits = { maxBytes: 1e6, maxDepth: 100, maxElements: 1e4, maxAttributes: 100 };
const ROOMY = { maxBytes: 1e9, maxStanzas: 1e9 };

/** As it travels between two processes. */
function sent<T>(value: T): T {
  return deserialize(serialize(value)) as T;
}

function framesOf(framer: StanzaFramer): string[] {
  const all: string[] = [];
  for (let frame: Frame | "end" | null = framer.next(); frame !== null; frame = framer.next()) {
    all.push(frame === "end" ? "end" : `${frame.kind} ${frame.usesStreamPrefix} ${textOf(frame)}`);
  }
  return all;
}

describe("a framer that goes on with another one's stream", () => {
  const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db="jabber:server:dialback" xmlns:o='a&amp;b&lt;&apos;"' id='1'>`;
  const stanzas = [
    "<message to='a@b'><body>é ü 🙂 &amp; &lt;</body></message>",
    "<presence/>",
    "<db:result from='x'>1</db:result>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<o:x o:y='z>'><o:i/></o:x>",
    `<iq type='result' id='1'><query xmlns='x'>${"<item/>".repeat(300)}</query></iq>`,
    "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
  ].join(" ");
  const bytes = Buffer.from(`${header}${stanzas}</stream:stream>`);
  const whole = new StanzaFramer(LIMITS);
  whole.feed(bytes, true);
  const expected = framesOf(whole);

  test("reads the same frames, wherever the other one stopped", () => {
    for (let at = header.length; at <= bytes.length; at++) {
      const first = new StanzaFramer(LIMITS);
      first.feed(bytes.subarray(0, at), false);
      const frames = framesOf(first);
      if (frames.at(-1) === "end") break;
      const [opening, unread] = sent([first.openingTag()!, first.unreadBytes()]);
      const second = new StanzaFramer(LIMITS);
      second.feed(opening!, true);
      second.next();
      second.feed(unread!, true);
      second.feed(bytes.subarray(at), true);
      assert.deepEqual([...frames, ...framesOf(second)], expected, `cut at ${at}`);
    }
  });

  test("also when it is handed on again and again, a few bytes at a time", () => {
    const random = new Random(7);
    let framer = new StanzaFramer(LIMITS);
    framer.feed(bytes.subarray(0, header.length), true);
    const frames = framesOf(framer);
    for (let at = header.length; at < bytes.length; ) {
      const next = Math.min(bytes.length, at + 1 + random.integer(0, 39));
      const chunk = Buffer.from(bytes.subarray(at, next));
      framer.feed(chunk, false);
      frames.push(...framesOf(framer));
      chunk.fill(0); // a shared read buffer
      at = next;
      if (frames.at(-1) === "end") break;
      const [opening, unread] = sent([framer.openingTag()!, framer.unreadBytes()]);
      framer = new StanzaFramer(LIMITS);
      framer.feed(opening!, true);
      framer.next();
      framer.feed(unread!, true);
    }
    assert.deepEqual(frames, expected);
  });
});

for (let seed = 1; seed <= 20; seed++) {
  test(`a queue that travels knows all that the one knows that stayed, through 500 random steps (seed ${seed})`, () => {
    const random = new Random(seed);
    const budgets: QueueBudget[] = [
      { used: 0, max: 1e9 },
      { used: 0, max: 1e9 },
    ];
    const start = seed % 3 === 0 ? 2 ** 32 - 5 : 0;
    const stays = new UnackedQueue(ROOMY, budgets[0]!, start);
    let travels = new UnackedQueue(ROOMY, budgets[1]!, start);
    let sequence = start;
    for (let step = 0; step < 500; step++) {
      const what = random.integer(0, 6);
      const text = Buffer.from("x".repeat(1 + random.integer(0, random.chance(0.1) ? 8999 : 199)));
      const h = (stays.handled + random.integer(0, stays.unacked + 1)) >>> 0;
      const maxBytes = random.integer(0, 1999);
      const results = [stays, travels].map((queue) => {
        if (what <= 1) return queue.append(text, 0, text.length, sequence + 1, step);
        if (what === 2) return queue.insertSent(text, 0, text.length, sequence + 1, step);
        if (what === 3) return queue.ack(h);
        if (what === 4) return queue.sendSlice(maxBytes, () => {});
        if (what === 5) return queue.rewind();
        return queue.isBehind((h - 3) >>> 0);
      });
      if (what <= 2) sequence = (sequence + 1) >>> 0;
      assert.deepEqual(results[0], results[1], `step ${step}`);
      if (random.chance(0.1)) {
        const saved = sent(travels.save());
        travels.clear();
        travels = UnackedQueue.restore(saved, ROOMY, budgets[1]!);
      }
      assert.deepEqual(travels.save(), stays.save(), `step ${step}`);
      assert.equal(travels.coreHandled(sequence), stays.coreHandled(sequence));
      assert.equal(budgets[1]!.used, budgets[0]!.used);
    }
  });
}
