import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret } from "../../../src/base/secret.ts";
import { ResumeTokens, type Takeable } from "../../../src/features/stream-management/resume-token.ts";
import { NS } from "../../../src/xmpp/ns.ts";
import { TurnedClock } from "../../support/clock.ts";

const DAY = 86_400;
const SESSION: Takeable = {
  core: "main",
  coreId: "g2gCbQAAAAN0YWJoA2IAAAat",
  xmlns: NS.sm,
  jid: "bücher@exämple.org/tab 1",
  maxSeconds: 600,
  beforeClient: 0,
};

function tokens(secret = "s".repeat(32), clock = new TurnedClock()) {
  return { clock, tokens: new ResumeTokens(new Secret(secret), 3 * DAY, clock) };
}

test("every edge with the secret opens a token, and nobody else does", () => {
  const token = tokens().tokens.seal(SESSION);
  assert.match(token, /^[\w-]+$/);
  assert.deepEqual(tokens().tokens.open(token), SESSION);
  assert.deepEqual(tokens().tokens.open(tokens().tokens.seal({ ...SESSION, xmlns: NS.sm2 }))?.xmlns, NS.sm2);
  const late = { ...SESSION, beforeClient: 2 };
  assert.deepEqual(tokens().tokens.open(tokens().tokens.seal(late)), late);
  assert.equal(tokens("t".repeat(32)).tokens.open(token), null);
  assert.ok(!Buffer.from(token, "base64url").includes(SESSION.coreId), "the core's id is not to be read");
});

test("two tokens for one session have nothing in common", () => {
  const { tokens: one } = tokens();
  assert.notEqual(one.seal(SESSION).slice(8), one.seal(SESSION).slice(8));
});

test("a token that was changed in any bit or cut anywhere is worth nothing", () => {
  const { tokens: one } = tokens();
  const bytes = Buffer.from(one.seal(SESSION), "base64url");
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const altered = Buffer.from(bytes);
      altered[i]! ^= 1 << bit;
      assert.equal(one.open(altered.toString("base64url")), null, `byte ${i}, bit ${bit}`);
    }
    assert.equal(one.open(bytes.toString("base64url", 0, i)), null, `${i} bytes`);
  }
  const token = bytes.toString("base64url");
  for (const other of [`${token}=`, ` ${token}`, bytes.toString("hex"), "", "AQ", "🦋".repeat(40), token.repeat(2)]) {
    assert.equal(one.open(other), null, JSON.stringify(other.slice(0, 20)));
  }
});

test("keys change every day; a token is opened until its lifetime is over, also by an edge whose clock is a little behind", () => {
  const { clock, tokens: one } = tokens();
  const token = one.seal(SESSION);
  const behind = tokens(undefined, new TurnedClock());
  clock.advance({ seconds: 1 * DAY });
  const later = one.seal(SESSION);
  assert.deepEqual(behind.tokens.open(later), SESSION);
  clock.advance({ seconds: 2 * DAY });
  assert.deepEqual(one.open(token), SESSION);
  clock.advance({ seconds: 1 * DAY });
  assert.equal(one.open(token), null);
  assert.deepEqual(one.open(later), SESSION);
  assert.equal(behind.tokens.open(one.seal(SESSION)), null, "nor one from the future");
});

test("an edge that knows nothing of stanzas before <enable/> leaves sessions that have some alone", () => {
  const { tokens: one } = tokens();
  const version = (beforeClient: number) => Buffer.from(one.seal({ ...SESSION, beforeClient }), "base64url")[0];
  assert.deepEqual([version(0), version(1)], [1, 2]);
});
