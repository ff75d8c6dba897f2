import assert from "node:assert/strict";
import { test } from "node:test";
import { type QueueBudget, type QueueLimits, UnackedQueue } from "../../src/xmpp/unacked-queue.ts";
import { Random } from "../support/random.ts";

const NEAR_WRAP = 2 ** 32 - 3;
const ROOMY: QueueLimits = { maxBytes: 1e9, maxStanzas: 1e9 };

/** The same, as plainly as it can be said: a list of what is owed, and how much of it was sent. */
class Model {
  entries: { text: string; sequence: number; at: number }[] = [];
  sent = 0;
  handled: bigint;
  limits: QueueLimits;

  constructor(limits: QueueLimits, handled: number) {
    this.limits = limits;
    this.handled = BigInt(handled);
  }

  get bytes(): number {
    return this.entries.reduce((sum, { text }) => sum + text.length, 0);
  }

  fits(text: string, budget: QueueBudget): boolean {
    return (
      this.bytes + text.length <= this.limits.maxBytes &&
      this.entries.length < this.limits.maxStanzas &&
      budget.used + text.length <= budget.max
    );
  }
}

function check(queue: UnackedQueue, model: Model, received: number): void {
  assert.equal(queue.length, model.entries.length);
  assert.equal(queue.byteLength, model.bytes);
  assert.equal(queue.unacked, model.sent);
  assert.equal(queue.unsent, model.entries.length - model.sent);
  assert.equal(queue.handled, Number(model.handled % 2n ** 32n));
  assert.equal(queue.sent, Number((model.handled + BigInt(model.sent)) % 2n ** 32n));
  const head = model.entries[0];
  assert.equal(queue.coreHandled(received), (head === undefined ? received : head.sequence - 1) >>> 0);
  assert.deepEqual(
    texts(queue),
    model.entries.map(({ text }) => text),
  );
}

function texts(queue: UnackedQueue, from = 0): string[] {
  const all: string[] = [];
  queue.forEach((bytes, start, end) => {
    all.push(bytes.toString("latin1", start, end));
  }, from);
  return all;
}

for (let seed = 1; seed <= 40; seed++) {
  test(`the queue agrees with a plain list through 2,000 random steps and across 2^32 (seed ${seed})`, () => {
    const random = new Random(seed);
    const tight = seed % 2 === 0;
    const limits = tight ? { maxBytes: 3000, maxStanzas: 25 } : { maxBytes: 60_000, maxStanzas: 400 };
    const budget: QueueBudget = { used: 777, max: tight ? 777 + 2500 : 1e9 };
    const start = seed % 3 === 0 ? 0 : NEAR_WRAP;
    const queue = new UnackedQueue(limits, budget, start);
    const model = new Model(limits, start);
    let received = seed % 5 === 0 ? 2 ** 31 - 20 : seed % 5 === 1 ? NEAR_WRAP : 0;
    for (let step = 0; step < 2000; step++) {
      const text = `<${step}>`.padEnd(random.chance(0.05) ? random.integer(1000, 9000) : random.integer(5, 300), "x");
      const bytes = Buffer.from(`before${text}behind`);
      const what = random.integer(0, 9);
      if (what <= 3) {
        received = (received + 1) >>> 0;
        const fits = model.fits(text, budget);
        assert.equal(queue.append(bytes, 6, 6 + text.length, received, step), fits);
        if (fits) model.entries.push({ text, sequence: received, at: step });
        if (fits && random.chance(0.5) && model.sent === model.entries.length - 1) {
          queue.markAllSent();
          model.sent++;
        }
      } else if (what === 4) {
        received = (received + 1) >>> 0;
        const fits = model.fits(text, budget);
        const overtaken = model.entries[model.sent]?.sequence ?? received;
        assert.equal(queue.insertSent(bytes, 6, 6 + text.length, received, step), fits);
        if (fits) model.entries.splice(model.sent++, 0, { text, sequence: overtaken, at: step });
      } else if (what <= 6) {
        const most = random.integer(1, 2000);
        const expected: string[] = [];
        let total = 0;
        while (model.sent < model.entries.length) {
          const next = model.entries[model.sent]!;
          if (total > 0 && total + next.text.length > most) break;
          total += next.text.length;
          expected.push(`${next.at}${next.text}`);
          model.sent++;
        }
        const seen: string[] = [];
        const visited = queue.sendSlice(most, (b, from, to, at) => seen.push(`${at}${b.toString("latin1", from, to)}`));
        assert.equal(visited, total);
        assert.deepEqual(seen, expected);
      } else if (what === 7 && random.chance(0.3)) {
        queue.rewind();
        model.sent = 0;
      } else {
        const count = random.chance(0.9) ? random.integer(0, model.sent) : model.sent + random.integer(1, 1000);
        const answer = queue.ack(Number((model.handled + BigInt(count)) % 2n ** 32n));
        if (count > model.sent) assert.equal(answer, "ack-too-high");
        else {
          assert.equal(answer, count);
          model.entries.splice(0, count);
          model.sent -= count;
          model.handled += BigInt(count);
        }
      }
      if (step % 20 === 0) check(queue, model, received);
      assert.equal(budget.used, 777 + model.bytes);
    }
    check(queue, model, received);
    queue.clear();
    queue.clear();
    assert.equal(budget.used, 777);
  });
}

test("h goes from 4294967295 to 0 (XEP-0198 §4)", () => {
  const queue = new UnackedQueue(ROOMY, { used: 0, max: 1e9 }, NEAR_WRAP);
  for (let i = 1; i <= 6; i++) queue.append(Buffer.from(`${i}`), 0, 1, i, 0);
  queue.markAllSent();
  assert.equal(queue.sent, 3);
  assert.equal(queue.ack(2 ** 32 - 1), 2);
  assert.equal(queue.ack(0), 1);
  assert.equal(queue.ack(4), "ack-too-high");
  assert.equal(queue.ack(3), 3);
  assert.equal(queue.length, 0);
});

test("an h that the client has told before, or has gone beyond, is not taken for one of stanzas never sent", () => {
  const queue = new UnackedQueue(ROOMY, { used: 0, max: 1e9 }, NEAR_WRAP);
  for (let i = 1; i <= 6; i++) queue.append(Buffer.from(`${i}`), 0, 1, i, 0);
  queue.markAllSent();
  queue.ack(2);
  assert.equal(queue.ack(2), 0);
  assert.equal(queue.ack(1), "ack-behind");
  assert.equal(queue.ack(NEAR_WRAP), "ack-behind");
  assert.equal(queue.ack(NEAR_WRAP - 1), "ack-too-high", "before the first stanza there was none");
  assert.deepEqual(texts(queue), ["6"]);
  assert.equal(queue.handled, 2);
});

test("a stanza past the limit of bytes, of stanzas or of all queues together is refused and changes nothing", () => {
  for (const [limits, max] of [
    [{ maxBytes: 10, maxStanzas: 99 }, 99],
    [{ maxBytes: 99, maxStanzas: 2 }, 99],
    [{ maxBytes: 99, maxStanzas: 99 }, 10],
  ] as const) {
    const budget = { used: 0, max };
    const queue = new UnackedQueue(limits, budget);
    const stanza = Buffer.from("12345");
    assert.ok(queue.append(stanza, 0, 5, 1, 0));
    assert.ok(queue.append(stanza, 0, 5, 2, 0));
    assert.ok(!queue.append(stanza, 0, 5, 3, 0));
    assert.ok(!queue.insertSent(stanza, 0, 5, 3, 0));
    assert.deepEqual([queue.length, queue.byteLength, budget.used, queue.coreHandled(3)], [2, 10, 10, 0]);
    queue.markAllSent();
    assert.equal(queue.ack(1), 1);
    assert.ok(queue.append(stanza, 0, 5, 3, 0));
  }
});

test("the bytes handed over may change at once", () => {
  const queue = new UnackedQueue(ROOMY, { used: 0, max: 1e9 });
  const shared = Buffer.from("first");
  queue.append(shared, 0, 5, 1, 0);
  shared.write("xxxxx");
  assert.deepEqual(texts(queue), ["first"]);
});

test("queues that give their memory back never see each other's stanzas", () => {
  const budget = { used: 0, max: 1e9 };
  const queues = Array.from({ length: 20 }, () => new UnackedQueue(ROOMY, budget));
  for (let round = 0; round < 50; round++) {
    for (const [i, queue] of queues.entries()) {
      for (let n = 0; n < 3; n++) queue.append(Buffer.from(`${i} ${round}`), 0, `${i} ${round}`.length, 1, 0);
      queue.markAllSent();
    }
    for (const [i, queue] of queues.entries()) {
      assert.deepEqual(texts(queue), [`${i} ${round}`, `${i} ${round}`, `${i} ${round}`]);
      if (i % 3 === 0) queue.clear();
      else queue.ack((queue.handled + 3) >>> 0);
    }
  }
  assert.equal(budget.used, 0);
});
