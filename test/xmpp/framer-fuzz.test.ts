import assert from "node:assert/strict";
import { test } from "node:test";
import type { Frame } from "../../src/xmpp/frame.ts";
import type { FramerLimits } from "../../src/xmpp/framer.ts";
import { StanzaFramer } from "../../src/xmpp/framer.ts";
import { FramingError } from "../../src/xmpp/framing-error.ts";
import { peek } from "../../src/xmpp/peek.ts";
import { Random } from "../support/random.ts";
import { cut, mutate, randomDocument } from "./framer-documents.ts";
import { canGoOn, judge, type OracleFrame, Undecided, type Verdict } from "./framer-oracle.ts";

const CASES = Number(process.env.FUZZ_CASES ?? 200_000);
const SEED = Number(process.env.FUZZ_SEED ?? 20_250_117);
const AMPLE: FramerLimits = { maxBytes: 1 << 20, maxDepth: 1000, maxElements: 100_000, maxAttributes: 10_000 };

interface Outcome {
  readonly outcome: "more" | "end" | "refused";
  readonly condition: string;
  /** One line for each frame. */
  readonly frames: string;
}

function line({ start, end, kind, usesStreamPrefix, name, attributes, child }: OracleFrame): string {
  return `${start}..${end} kind ${kind} ${usesStreamPrefix} ${name} ${child}\n${attributes}`;
}

/** Every chunk is lent in this buffer, which is overwritten as soon as the framer may not look at it any more. */
const lent = Buffer.alloc(1 << 16);

function frameAll(chunks: readonly Buffer[], limits: FramerLimits): Outcome {
  const framer = new StanzaFramer(limits);
  let frames = "";
  let outcome: Outcome["outcome"] = "more";
  let offset = 0;
  try {
    for (const chunk of chunks) {
      const { length } = chunk;
      lent.set(chunk);
      framer.feed(lent.subarray(0, length), false);
      for (let frame = framer.next(); frame !== null; frame = framer.next()) {
        if (frame === "end") outcome = "end";
        else frames += line(describe(frame, offset + length - framer.unread()));
      }
      lent.fill(0x21, 0, length);
      offset += length;
    }
    return { outcome, condition: "", frames };
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    return { outcome: "refused", condition: error.condition, frames };
  }
}

function describe(frame: Frame, end: number): OracleFrame {
  const { kind, usesStreamPrefix } = frame;
  let attributes = "";
  for (const [name, value] of peek.attributes(frame)) attributes += `${name}=${value}\n`;
  const first = peek.firstChild(frame);
  const child = first === null ? "" : `{${first.xmlns ?? UNKNOWN}}${first.name}`;
  return {
    start: end - (frame.end - frame.start),
    end,
    kind,
    usesStreamPrefix,
    name: peek.name(frame),
    attributes,
    child,
  };
}

/** What peek says of a namespace that only the header can tell. */
const UNKNOWN = "(of the header)";

/** One document: against itself in other chunks, and against the oracle. */
function check(random: Random, document: Buffer): "refused" | "accepted" | "undecided" {
  const whole = frameAll([document], AMPLE);
  const tight: FramerLimits = {
    maxBytes: random.integer(1, 300),
    maxDepth: random.integer(1, 4),
    maxElements: random.integer(1, 6),
    maxAttributes: random.integer(0, 5),
  };
  const short = random.chance(0.25) ? frameAll([document], tight) : null;
  for (let i = 0; i < 2; i++) {
    const chunks = cut(random, document);
    assertSame(frameAll(chunks, AMPLE), whole, chunks);
    if (short && i === 0) assertSame(frameAll(chunks, tight), short, chunks);
  }
  let verdict: Verdict;
  try {
    verdict = judge(document);
  } catch (error) {
    if (error instanceof Undecided) return "undecided";
    throw error;
  }
  const expected = verdict.frames.map(line).join("");
  if (expected !== whole.frames) assertSameButUnknown(whole.frames, expected);
  if (whole.outcome === "refused" && verdict.outcome === "more") {
    assert(!canGoOn(document), `refused (${whole.condition}) what could still become well-formed`);
  } else assert.equal(whole.outcome, verdict.outcome, verdict.reason || whole.condition);
  return whole.outcome === "refused" ? "refused" : "accepted";
}

function assertSame(actual: Outcome, expected: Outcome, chunks: readonly Buffer[]): void {
  const { outcome, condition, frames } = expected;
  if (actual.outcome === outcome && actual.condition === condition && actual.frames === frames) return;
  assert.deepEqual(actual, expected, `in chunks of ${chunks.map(({ length }) => length)}`);
}

/** peek cannot know what the header declares, and says so; everything else must be the same. */
function assertSameButUnknown(actual: string, expected: string): void {
  const parts = expected.split("\n");
  const known = actual.split("\n").map((text, i) => {
    const [, before, after] = /^(.*)\{\(of the header\)(\}.*)$/.exec(text) ?? [];
    const part = parts[i];
    return before !== undefined && part?.startsWith(before) && part.endsWith(after!) ? part : text;
  });
  assert.equal(known.join("\n"), expected);
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
