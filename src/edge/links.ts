import type { CloseReason } from "../base/close-reasons.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { meter } from "../base/meter.ts";
import type { Link, LinkOwner } from "../session/ports.ts";
import { FramingError } from "../xmpp/framing-error.ts";

// What links have in common, whatever carries them.

const bytes = meter.counter("breakwater_link_bytes_total", "Bytes on clients' links after decryption, by direction", [
  "direction",
]);
export const bytesFromClient = bytes.cell("from_client");
export const bytesToClient = bytes.cell("to_client");
export const openLinks = meter.gauge("breakwater_links", "Open links of clients, by transport", ["transport"]);
const internalErrors = meter.counter(
  "breakwater_internal_errors_total",
  "Sessions ended by a mistake in the edge itself",
);

/** How long a peer may take to close its half after we have closed ours. */
export const LINGER_MS = 5000;

let lastLinkId = 0;

/** Grows with each link of this process. */
export function nextLinkId(): number {
  return ++lastLinkId;
}

/** What a client sends may end its own stream, never more: tells the owner, who may be null by now. */
export function brokenBy(thrown: unknown, link: Link, owner: LinkOwner | null, log: Log): void {
  if (thrown instanceof FramingError) return owner?.linkRefused(link, thrown);
  internalErrors.inc();
  log.error("a client's input met a mistake in the edge; its connection is closed", {
    client: link.client.address,
    error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown),
  });
  link.drop();
  const reason: CloseReason = "internal-error";
  owner?.linkLost(link, reason);
}
