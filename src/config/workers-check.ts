import type { Draft } from "./cross-checks.ts";
import type { OptionPath } from "./option-tree.ts";

/** What more than one process needs (docs/workers.md). */
export function workersFit(draft: Draft, tell: (path: OptionPath, message: string) => void): void {
  const { workers = 1, listeners = [], stream_management: sm } = draft;
  if (workers === 1) return;
  // A client that comes back may reach any of them. When sessions are resumed through the store, it is demanded here, too.
  if (sm?.enabled && sm.resume_secret === undefined) {
    tell(
      ["workers"],
      "needs `stream_management.resume_secret`, so that a client can resume at any worker: " +
        "write what `openssl rand -base64 32` prints",
    );
  }
  for (const [i, { listen }] of listeners.entries()) {
    if (listen?.port === 0)
      tell(["listeners", i, "listen"], `port 0 would be another one in each of the ${workers} workers: write a number`);
  }
}
