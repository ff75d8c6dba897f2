import type { IncomingMessage } from "node:http";

/** "aborted": the client went away before its body was complete. */
export type BodyTaker = (body: Buffer | "too-large" | "aborted") => void;

export interface BodyLimit {
  readonly maxBytes: number;
  /** Asked once, when more comes than that: how much may it be, seeing what has come so far? */
  raise?(soFar: Buffer): number;
}

/**
 * Collects the body of a request, at most as much of it as `limit` says. Calls `take` once. After "too-large" nothing
 * more is read: answer with `Connection: close`.
 */
export function readBody(request: IncomingMessage, limit: BodyLimit, take: BodyTaker): void {
  const announced = Number(request.headers["content-length"] ?? 0);
  const chunks: Buffer[] = [];
  let { maxBytes } = limit;
  let raised = limit.raise === undefined;
  let length = 0;
  let taken = false;
  const done = (body: Parameters<BodyTaker>[0]): void => {
    if (taken) return;
    taken = true;
    take(body);
  };
  if (raised && announced > maxBytes) return done("too-large");
  request.on("data", (chunk: Buffer) => {
    length += chunk.length;
    chunks.push(chunk);
    if (length > maxBytes && !raised) {
      raised = true;
      maxBytes = limit.raise!(Buffer.concat(chunks, length));
    }
    if (length <= maxBytes && (!raised || announced <= maxBytes)) return;
    request.pause();
    done("too-large");
  });
  request.on("end", () => done(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)));
  request.on("close", () => done("aborted"));
  request.on("error", () => done("aborted"));
}
