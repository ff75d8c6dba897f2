import assert from "node:assert/strict";
import { test } from "node:test";
import { shareOf } from "../../src/cli/share.ts";
import { loaded, SMALL } from "../config/support.ts";

const OWN = "the supervisor's own, for all its workers";

test("what may be spent in all is divided, and rounded up", () => {
  const text = `${SMALL}limits: { max_connections: 100, max_connections_per_ip: 9 }
stream_management: { max_total_bytes: 3000000, max_tombstones: 10 }
drain: { rate: 30 }\n`;
  const { limits, drain, stream_management: sm } = shareOf(loaded(text).config, 3, OWN);
  assert.deepEqual([limits.max_connections, limits.max_connections_per_ip, drain.rate], [34, 9, 10]);
  assert.deepEqual([sm.max_total_bytes, sm.max_tombstones], [1_048_576, 4], "one queue fits at least");
  assert.equal(shareOf(loaded(text).config, 2, OWN).stream_management.max_total_bytes, 1_500_000);
});

test("all workers have one secret for TLS tickets: the configured one, else the supervisor's", () => {
  assert.equal(shareOf(loaded(SMALL).config, 2, OWN).tls.ticket_secret?.reveal(), OWN);
  const written = loaded(`${SMALL}tls: { ticket_secret: 0123456789abcdef0123456789abcdef }\n`).config;
  assert.equal(shareOf(written, 2, OWN).tls.ticket_secret?.reveal(), "0123456789abcdef0123456789abcdef");
});
