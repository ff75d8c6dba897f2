import assert from "node:assert/strict";
import { test } from "node:test";
import type { FramerLimits } from "../../src/xmpp/framer.ts";
import { StanzaFramer } from "../../src/xmpp/framer.ts";
import { FramingError } from "../../src/xmpp/framing-error.ts";
import { peek } from "../../src/xmpp/peek.ts";
import { Random } from "../support/random.ts";
import { cut, mutate, randomDocument } from "./framer-documents.ts";
import { canGoOn, judge, type OracleFrame, Undecided } from "./framer-oracle.ts";

const CASES = Number(process.env.FUZZ_CASES ?? 200_000);
const SEED = Number(process.env.FUZZ_SEED ?? 20_250_117);
const AMPLE: FramerLimits = { maxBytes: 1 << 20, maxDepth: 1000, maxElements: 100_000, maxAttributes: 10_000 };

interface Outcome {
  readonly frames: OracleFrame[];
  readonly outcome: "more" | "end" | "refused";
  readonly condition: string;
}

/** Feeds the chunks, each in a buffer that is overwritten as soon as the framer may not look at it any more. */
function frameAll(chunks: readonly Buffer[], limits: FramerLimits, details: boolean): Outcome {
  const framer = new StanzaFramer(limits);
  const frames: OracleFrame[] = [];
  let outcome: Outcome["outcome"] = "more";
  let offset = 0;
  try {
    for (const chunk of chunks) {
      const lent = Buffer.from(chunk);
      framer.feed(lent, false);
      for (let frame = framer.next(); frame !== null; frame = framer.next()) {
        const end = offset + chunk.length - framer.unread();
        if (frame === "end") outcome = "end";
        else {
          const { kind, usesStreamPrefix } = frame;
          const attributes = details ? peek.attributes(frame) : new Map<string, string>();
          const first = details ? peek.firstChild(frame) : null;
          const children: [string, string][] = first === null ? [] : [[first.name, first.xmlns ?? "?"]];
          const start = end - (frame.end - frame.start);
          frames.push({ start, end, kind, usesStreamPrefix, name: peek.name(frame), attributes, children });
        }
      }
      lent.fill(0x21);
      offset += chunk.length;
    }
    return { frames, outcome, condition: "" };
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    return { frames, outcome: "refused", condition: error.condition };
  }
}

function assertSameFrames(actual: readonly OracleFrame[], expected: readonly OracleFrame[]): void {
  const shape = ({ start, end, kind, usesStreamPrefix, name }: OracleFrame) => [
    start,
    end,
    kind,
    usesStreamPrefix,
    name,
  ];
  assert.deepEqual(actual.map(shape), expected.map(shape));
  for (const [i, frame] of actual.entries()) {
    assert.deepEqual([...frame.attributes], [...expected[i]!.attributes]);
    const child = frame.children[0];
    const first = expected[i]!.children[0];
    assert.equal(child?.[0], first?.[0]);
    if (child && child[1] !== "?") assert.equal(child[1], first?.[1]);
  }
}

/** One document: against the oracle, and against itself in other chunks. */
function check(random: Random, document: Buffer): "refused" | "accepted" | "undecided" {
  const whole = frameAll([document], AMPLE, true);
  const tight: FramerLimits = {
    maxBytes: random.integer(1, 300),
    maxDepth: random.integer(1, 4),
    maxElements: random.integer(1, 6),
    maxAttributes: random.integer(0, 5),
  };
  const short = random.chance(0.25) ? frameAll([document], tight, false) : null;
  for (let i = 0; i < 2; i++) {
    const chunks = cut(random, document);
    assert.deepEqual(frameAll(chunks, AMPLE, true), whole, `in chunks of ${chunks.map(({ length }) => length)}`);
    if (short) assert.deepEqual(frameAll(chunks, tight, false), short, `with limits, in ${chunks.length} chunks`);
  }
  try {
    const verdict = judge(document);
    assertSameFrames(whole.frames, verdict.frames);
    if (whole.outcome === "refused" && verdict.outcome === "more") {
      assert(!canGoOn(document), `refused (${whole.condition}) what could still become well-formed`);
    } else assert.equal(whole.outcome, verdict.outcome, verdict.reason || whole.condition);
    return whole.outcome === "refused" ? "refused" : "accepted";
  } catch (error) {
    if (error instanceof Undecided) return "undecided";
    throw error;
  }
}

test(`${CASES} random streams, right and nearly right, are framed as saxes parses them and the same in any chunks`, (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED} FUZZ_CASES=${CASES}`);
  // Half of the time would go into stack traces of refusals that are as they should be.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  t.after(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  const counts = { refused: 0, accepted: 0, undecided: 0 };
  const root = new Random(SEED);
  for (let i = 0; i < CASES; i++) {
    const random = root.fork(i);
    let document = randomDocument(random);
    if (random.chance(0.75)) {
      for (let times = random.pick([1, 1, 1, 2, 3]); times > 0; times--) document = mutate(random, document);
    }
    try {
      counts[check(random, document)]++;
    } catch (error) {
      const text = JSON.stringify(document.toString("latin1"));
      throw new Error(`case ${i} of seed ${SEED}: ${text} (latin1)`, { cause: error });
    }
  }
  t.diagnostic(JSON.stringify(counts));
  // A generator that only makes rubbish, or never makes any, proves nothing.
  assert(counts.refused > CASES / 10 && counts.accepted > CASES / 10 && counts.undecided < CASES / 50);
});
