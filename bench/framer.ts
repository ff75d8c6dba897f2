/**
 * What framing costs: StanzaFramer beside a plain loop over the bytes (the ceiling of the language), ltx (a tree for each
 * stanza) and saxes with namespaces (events only). MB per second of CPU, garbage collection included; the candidates
 * take turns, and the median of the rounds counts. By itself: `node bench/framer.ts [rounds] [megabytes]`.
 */
import { createRequire } from "node:module";
import { StringDecoder } from "node:string_decoder";
import { SaxesParser } from "saxes";
import { StanzaFramer } from "../src/xmpp/framer.ts";
import { type Corpus, framerCorpora, randomFrom } from "./framer-corpus.ts";

export interface FramerBenchRow {
  readonly corpus: string;
  readonly chunks: string;
  readonly candidate: string;
  /** 10^6 bytes per second of CPU, median of the rounds. */
  readonly megabytesPerSecond: number;
  readonly microsecondsPerStanza: number;
}

type Candidate = (chunks: readonly Buffer[]) => number;

const LIMITS = { maxBytes: 262_144, maxDepth: 64, maxElements: 4096, maxAttributes: 64 };

interface Ltx {
  Parser: { prototype: { DefaultParser: new () => LtxSax } };
  Element: new (name: string, attrs: unknown) => LtxElement;
}
interface LtxSax {
  on(event: string, listener: (...args: never[]) => void): void;
  write(data: string): void;
}
interface LtxElement {
  parent: LtxElement | null;
  cnode(child: LtxElement): LtxElement;
  t(text: string): void;
}
const ltx = createRequire(import.meta.url)("ltx") as Ltx;

function frame(chunks: readonly Buffer[]): number {
  const framer = new StanzaFramer(LIMITS);
  let frames = 0;
  for (const chunk of chunks) {
    framer.feed(chunk, true);
    while (framer.next() !== null) frames++;
  }
  return frames;
}

function byteLoop(chunks: readonly Buffer[]): number {
  let tags = 0;
  for (const chunk of chunks) {
    for (let i = 0; i < chunk.length; i++) if (chunk[i] === 0x3c) tags++;
  }
  return tags;
}

/** A tree for each stanza, dropped when it is complete: what xmpp.js does with ltx. */
function parseWithLtx(chunks: readonly Buffer[]): number {
  const parser = new ltx.Parser.prototype.DefaultParser();
  let depth = 0;
  let cursor: LtxElement | null = null;
  let frames = 0;
  parser.on("startElement", (name: string, attrs: unknown) => {
    if (depth++ === 0) return;
    const element: LtxElement = new ltx.Element(name, attrs);
    cursor = cursor === null ? element : cursor.cnode(element);
  });
  parser.on("endElement", () => {
    if (--depth === 0 || cursor === null) return;
    cursor = cursor.parent;
    if (depth === 1) frames++;
  });
  parser.on("text", (text: string) => cursor?.t(text));
  const decoder = new StringDecoder("utf8");
  for (const chunk of chunks) parser.write(decoder.write(chunk));
  return frames;
}

function parseWithSaxes(chunks: readonly Buffer[]): number {
  const parser = new SaxesParser({ xmlns: true, position: false });
  let depth = 0;
  let frames = 0;
  parser.on("opentag", () => {
    depth++;
  });
  parser.on("closetag", () => {
    if (--depth === 1) frames++;
  });
  const decoder = new StringDecoder("utf8");
  for (const chunk of chunks) parser.write(decoder.write(chunk));
  return frames;
}

const CANDIDATES: Record<string, Candidate> = {
  StanzaFramer: frame,
  "byte loop": byteLoop,
  ltx: parseWithLtx,
  saxes: parseWithSaxes,
};

function cut(bytes: Buffer, size: () => number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + size());
    // A copy, as a socket's reads are: subarrays of one buffer would share its cache lines.
    const chunk = Buffer.allocUnsafeSlow(end - at);
    bytes.copy(chunk, 0, at, end);
    chunks.push(chunk);
    at = end;
  }
  return chunks;
}

function cpuSeconds(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function measure(corpus: Corpus, chunksName: string, chunks: readonly Buffer[], rounds: number): FramerBenchRow[] {
  const times = new Map<string, number[]>(Object.keys(CANDIDATES).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of Object.entries(CANDIDATES)) {
      // The quick ones run as long as the slow ones: a clock tick is 4 ms on some systems.
      const times_ = name === "StanzaFramer" || name === "byte loop" ? 4 : 1;
      const seconds = cpuSeconds(() => {
        for (let i = 0; i < times_; i++) run(chunks);
      });
      if (round >= 0) times.get(name)!.push(seconds / times_);
    }
  }
  return [...times].map(([candidate, seconds]) => ({
    corpus: corpus.name,
    chunks: chunksName,
    candidate,
    megabytesPerSecond: corpus.bytes.length / median(seconds) / 1e6,
    microsecondsPerStanza: (median(seconds) * 1e6) / corpus.stanzas,
  }));
}

/** Runs all candidates on both corpora, in chunks of 16 KiB and of 1 to 1460 bytes. */
export function runFramerBench(rounds = 5, megabytes = 4): FramerBenchRow[] {
  const random = randomFrom(11);
  return framerCorpora(megabytes * 1e6).flatMap((corpus) => [
    ...measure(
      corpus,
      "16 KiB",
      cut(corpus.bytes, () => 16_384),
      rounds,
    ),
    ...measure(
      corpus,
      "1..1460 B",
      cut(corpus.bytes, () => 1 + Math.floor(random() * 1460)),
      rounds,
    ),
  ]);
}

if (import.meta.main) {
  const [rounds = "5", megabytes = "4"] = process.argv.slice(2);
  for (const row of runFramerBench(Number(rounds), Number(megabytes))) {
    const { corpus, chunks, candidate, megabytesPerSecond, microsecondsPerStanza } = row;
    const figures = `${megabytesPerSecond.toFixed(0).padStart(5)} MB/s ${microsecondsPerStanza.toFixed(2).padStart(7)} us/stanza`;
    console.log(`${corpus.padEnd(6)} ${chunks.padEnd(10)} ${candidate.padEnd(13)} ${figures}`);
  }
}
