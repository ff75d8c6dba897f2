import assert from "node:assert/strict";
import { test } from "node:test";
import { changesNeedingRestart } from "../../src/config/changes.ts";
import { loaded, SMALL } from "./support.ts";

const changes = (before: string, after: string) => changesNeedingRestart(loaded(before).config, loaded(after).config);

test("what a reload applies needs no restart", () => {
  assert.deepEqual(changes(SMALL, SMALL), []);
  assert.deepEqual(changes(SMALL, `${SMALL}stream_management: { hold_time: 5 }\n`), []);
  const secret = (text: string) => `${SMALL}tls: { ticket_secret: ${text.repeat(32)} }\n`;
  assert.deepEqual(changes(secret("a"), secret("b")), []);
});

test("what a reload cannot apply is named", () => {
  assert.deepEqual(changes(SMALL, SMALL.replace("5222", "5223")), ["listeners[0].listen"]);
  assert.deepEqual(changes(SMALL, `${SMALL}ops: { listen: ":9091" }\n`), ["ops.listen"]);
});

test("a listener that came or went is named as a whole", () => {
  const two = SMALL.replace("cores:", "  - { kind: tls, listen: ':5223' }\ncores:");
  assert.deepEqual(changes(SMALL, two), ["listeners[1]"]);
  assert.deepEqual(changes(two, SMALL), ["listeners[1]"]);
});

test("a list of values that only a restart applies is named", () => {
  const behind = (range: string) => SMALL.replace("starttls,", `starttls, proxy_protocol: { trusted: ["${range}"] },`);
  assert.deepEqual(changes(behind("10.0.0.0/8"), behind("10.0.0.0/9")), ["listeners[0].proxy_protocol.trusted"]);
});
