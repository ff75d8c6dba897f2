import type { IncomingMessage } from "node:http";

/** "aborted": the client went away before its body was complete. */
export type BodyTaker = (body: Buffer | "too-large" | "aborted") => void;

/**
 * Collects the body of a request, at most `maxBytes` of it. Calls `take` once. After "too-large" nothing more is read:
 * answer with `Connection: close`.
 */
export function readBody(request: IncomingMessage, maxBytes: number, take: BodyTaker): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let taken = false;
  const done = (body: Parameters<BodyTaker>[0]): void => {
    if (taken) return;
    taken = true;
    take(body);
  };
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return done("too-large");
  request.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= maxBytes) {
      chunks.push(chunk);
      return;
    }
    request.pause();
    done("too-large");
  });
  request.on("end", () => done(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)));
  request.on("close", () => done("aborted"));
  request.on("error", () => done("aborted"));
}
