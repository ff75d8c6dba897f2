import type { IncomingMessage } from "node:http";

/** "aborted": the client went away before its body was complete. */
export type BodyTaker = (body: Buffer | "too-large" | "aborted") => void;

/** How the body of a request is coded; null: in a way that is not read here. */
export function contentEncoding({ headers }: IncomingMessage): "identity" | "gzip" | null {
  const name = headers["content-encoding"]?.toLowerCase() ?? "identity"; // RFC 9110 §8.4.1
  if (name === "x-gzip") return "gzip"; // §8.4.1.3
  return name === "identity" || name === "gzip" ? name : null;
}

export interface BodyLimit {
  readonly maxBytes: number;
  /** Asked once, when more comes than that: how much may it be, seeing what has come so far? */
  raise?(soFar: Buffer): number;
}

/** A body that is on its way. */
interface Collecting {
  readonly announced: number;
  readonly limit: BodyLimit;
  readonly take: BodyTaker;
  readonly chunks: Buffer[];
  length: number;
  maxBytes: number;
  raised: boolean;
}

// Handlers are shared by all requests. A request lives until it is answered, which over BOSH takes a minute: it forgets
// its body when that is taken.
const BODY = Symbol("body");
type BodyRequest = IncomingMessage & { [BODY]?: Collecting | null };

/**
 * Collects the body of a request, at most as much of it as `limit` says. Calls `take` once. After "too-large" nothing
 * more is read: answer with `Connection: close`.
 */
export function readBody(request: BodyRequest, limit: BodyLimit, take: BodyTaker): void {
  const announced = Number(request.headers["content-length"] ?? 0);
  const { maxBytes } = limit;
  const raised = limit.raise === undefined;
  if (raised && announced > maxBytes) return take("too-large");
  request[BODY] = { announced, limit, take, chunks: [], length: 0, maxBytes, raised };
  request.on("data", onData);
  request.on("end", onEnd);
  request.on("close", onBreak);
  request.on("error", onBreak);
}

function onData(this: BodyRequest, chunk: Buffer): void {
  const body = this[BODY];
  if (!body) return;
  const { announced, limit, chunks } = body;
  body.length += chunk.length;
  chunks.push(chunk);
  if (body.length > body.maxBytes && !body.raised) {
    body.raised = true;
    body.maxBytes = limit.raise!(Buffer.concat(chunks, body.length));
  }
  if (body.length <= body.maxBytes && (!body.raised || announced <= body.maxBytes)) return;
  this.pause();
  taken(this, "too-large");
}

function onEnd(this: BodyRequest): void {
  const body = this[BODY];
  if (!body) return;
  const { chunks, length } = body;
  taken(this, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length));
}

function onBreak(this: BodyRequest): void {
  taken(this, "aborted");
}

function taken(request: BodyRequest, what: Parameters<BodyTaker>[0]): void {
  const body = request[BODY];
  if (!body) return;
  request[BODY] = null;
  body.take(what);
}
