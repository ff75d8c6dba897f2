import assert from "node:assert/strict";
import type { WeakLink } from "../weak-link.ts";
import type { LibraryClient } from "./library-client.ts";
import type { RawClient } from "./raw-client.ts";

/**
 * Cuts the link of `client` without a word while it sends and is sent to, and asserts that it resumes: what came meanwhile arrives once,
 * and what it sent does if its library sends it again. Both clients are stopped at the end.
 */
export async function resumesAfterSilentCut(client: LibraryClient, other: RawClient, relay: WeakLink): Promise<void> {
  const { jid } = client;
  relay.cut("silent");
  await client.message(other.jid!, "sent into the tunnel");
  await client.cut();
  other.message(jid, "while you were away");
  await other.fence();
  assert.equal(await client.reconnect(), "resumed");
  assert.equal(client.jid, jid);
  assert.deepEqual(await client.bodies(1), ["while you were away"]);
  await client.fence();
  await other.fence();
  assert.deepEqual(other.takeBodies(), client.resendsUnacked ? ["sent into the tunnel"] : []);
  await client.stop();
  await other.end();
}
