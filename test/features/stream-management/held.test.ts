// What waits in this process only, because the store is still asked at a login (leftovers.ts), the core is not told to be handled.
import assert from "node:assert/strict";
import { test } from "node:test";
import { StandIn } from "../../../src/features/stream-management/stand-in.ts";
import type { Session } from "../../../src/session/session.ts";
import { frameOver, KIND } from "../../../src/xmpp/frame.ts";
import { NS } from "../../../src/xmpp/ns.ts";

const ENABLED = Buffer.from(`<enabled xmlns='${NS.sm}'/>`);

/** A stand-in on legs of its own, and what the core was told: every h. */
function scene() {
  const told: number[] = [];
  const write = (bytes: Buffer) => {
    const h = / h='(\d+)'/.exec(bytes.toString())?.[1];
    if (h !== undefined) told.push(Number(h));
  };
  const link = { transport: "tcp", writtenBytes: 0, takenBytes: 0, pendingBytes: 0, flush() {}, recall() {} };
  const core = { traits: { maxUnacked: 1000, pastMaxUnacked: "forgets" }, write, flush() {} };
  const counts = { stanzasFromCore: 0, stanzasToCore: 0, linkRoom: 1000, injectedToCore: null };
  const host = { clock: { now: () => 0 } };
  const session = { id: "s", phase: "active", log: { info() {} }, link, core, host, ...counts };
  const standIn = new StandIn(session as unknown as Session, NS.sm, { used: 0, max: 1000 }, 1000);
  /** So many bytes go to the client, and it has them. */
  const send = (bytes: number) => {
    link.writtenBytes += bytes;
    link.takenBytes = link.writtenBytes;
  };
  return { standIn, session, send, told };
}

test("of what is held the core is told as it goes out, and what is held at the end is the core's", () => {
  const { standIn, session, send, told } = scene();
  session.stanzasFromCore++;
  standIn.hold(); // before the core counts
  standIn.heard(frameOver(ENABLED, 0, ENABLED.length, KIND.sm), null);
  for (let i = 0; i < 3; i++) {
    session.stanzasFromCore++;
    standIn.hold();
  }
  standIn.tell();
  assert.deepEqual(told, []);
  for (const [behind, h] of [
    [3, 0], // the one before
    [2, 1],
    [1, 2],
  ] as const) {
    standIn.deliverHeld(behind);
    send(10);
    standIn.tell();
    assert.equal(told.at(-1) ?? 0, h);
  }
  standIn.end();
  assert.deepEqual(told, [1, 2]);
});
