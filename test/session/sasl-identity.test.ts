import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isSameUser, saslUser } from "../../src/session/sasl-identity.ts";
import { Wire } from "../support/wire.ts";

const DOMAIN = "localhost";
const plain = (text: string) => saslUser("PLAIN", Buffer.from(text, "utf8"), DOMAIN);
const scram = (text: string) => saslUser("SCRAM-SHA-256", Buffer.from(text, "utf8"), DOMAIN);

describe("whom a SASL message logs in", () => {
  for (const [message, user] of [
    ["\0alice\0pw", "alice"],
    ["alice\0alice\0pw", "alice"],
    ["alice@localhost\0alice\0pw", "alice"],
    ["\0alice@localhost\0pw", "alice"],
    ["\0alice@LOCALHOST\0pw", "alice"],
    ["\0älice\0pw", "älice"],
    ["bob\0alice\0pw", null],
    ["alice\0bob\0pw", null],
    ["alice@victim.example\0alice\0pw", null],
    ["\0alice@victim.example\0pw", null],
    ["\0alice@localhost@victim.example\0pw", null],
    ["\0@localhost\0pw", null],
    ["\0\0pw", null],
    ["\0alice", null],
    ["alice", null],
    ["", null],
    ["\0bob\0pw\0alice\0x", null],
    ["\0alice\0p\0w", null],
  ] as const) {
    test(`PLAIN ${JSON.stringify(message)} is ${user ?? "nobody"}`, () => assert.equal(plain(message), user));
  }

  for (const [message, user] of [
    ["n,,n=alice,r=abc", "alice"],
    ["y,,n=alice,r=abc", "alice"],
    ["p=tls-exporter,,n=alice,r=abc", "alice"],
    ["n,a=alice,n=alice,r=abc", "alice"],
    ["n,a=alice@localhost,n=alice,r=abc", "alice"],
    ["n,,n=al=2Cice,r=abc", "al,ice"],
    ["n,,n=al=3Dice,r=abc", "al=ice"],
    ["n,,n=al=3D2Cice,r=abc", "al=2Cice"],
    ["n,a=alice,n=bob,r=abc", null],
    ["n,a=alice@victim.example,n=alice,r=abc", null],
    ["n,,n=alice@victim.example,r=abc", null],
    ["n,,n=al=41ice,r=abc", null],
    ["n,,n=al==2Cice,r=abc", null],
    ["n,,n=al=2cice,r=abc", null],
    ["n,,n=alice", null],
    ["n,,n=,r=abc", null],
    ["n,,m=x,n=alice,r=abc", null],
    ["n,,n=bob,n=alice,r=abc", null],
    ["n,,n=alice,r=abc,n=bob", null],
    ["n=alice,r=abc", null],
    ["x,,n=alice,r=abc", null],
    ["n,,n=bob,r=abc\nn,,n=alice,r=abc", null],
    ["", null],
  ] as const) {
    test(`SCRAM ${JSON.stringify(message)} is ${user ?? "nobody"}`, () => assert.equal(scram(message), user));
  }

  test("bytes that are not UTF-8 name nobody", () => {
    const garbage = (mechanism: string, before: string, behind: string) =>
      saslUser(
        mechanism,
        Buffer.concat([Buffer.from(before), Buffer.from([0xff, 0xc0, 0xed, 0xa0]), Buffer.from(behind)]),
        DOMAIN,
      );
    assert.equal(garbage("PLAIN", "\0al", "ice\0pw"), null);
    assert.equal(garbage("PLAIN", "\0alice\0", ""), null);
    assert.equal(garbage("SCRAM-SHA-1", "n,,n=al", "ice,r=x"), null);
    assert.equal(plain("\0al\uFFFDice\0pw"), null);
  });

  test("mechanisms whose message does not prove the user name nobody", () => {
    for (const mechanism of [
      "OAUTHBEARER",
      "EXTERNAL",
      "ANONYMOUS",
      "GSSAPI",
      "DIGEST-MD5",
      "HT-SHA-256-NONE",
      "plain",
      "X-OAUTH",
      "",
    ]) {
      for (const message of ["\0alice\0token", "n,a=alice,\x01auth=Bearer x\x01\x01", "n,,n=alice,r=x", "alice"]) {
        assert.equal(saslUser(mechanism, Buffer.from(message), DOMAIN), null, mechanism);
      }
    }
    assert.equal(saslUser("X-OAUTH2", Buffer.from("\0alice\0token"), DOMAIN), "alice");
  });

  test("names are the same when only ASCII letters differ in case, and otherwise not", () => {
    assert.ok(isSameUser("Alice", "alice"));
    assert.ok(isSameUser("älice", "älice"));
    for (const [one, other] of [
      ["Älice", "älice"],
      ["aﬁ", "afi"],
      ["\u212Aate", "kate"],
      ["alice ", "alice"],
      ["alıce", "alice"],
      ["ali\u00ADce", "alice"],
    ]) {
      assert.ok(!isSameUser(one!, other!), `${one} ${other}`);
    }
  });
});

describe("nobody resumes another account's session", () => {
  // The core lets everybody in as mallory, whatever the message says: only the edge's own reading is under test.
  const AUTH = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
  const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64");
  const victim = base64("\0alice\0x");
  const mallory = base64("\0mallory\0pw");

  for (const [what, elements] of [
    ["her own name", [`<auth ${AUTH} mechanism='PLAIN'>${mallory}</auth>`]],
    ["an authzid", [`<auth ${AUTH} mechanism='PLAIN'>${base64("alice\0mallory\0pw")}</auth>`]],
    ["another domain", [`<auth ${AUTH} mechanism='PLAIN'>${base64("\0alice@victim.example\0pw")}</auth>`]],
    // Each é is two bytes and one character: a reader that mixes both up skips what logs mallory in.
    [
      "a start tag of many bytes and few characters",
      [
        `<auth ${AUTH} mechanism='PLAIN' x='${"é".repeat(base64("\0mallory\0pw").length)}'>${base64("\0mallory\0pw")}${victim}</auth>`,
      ],
    ],
    ["a password that holds NUL", [`<auth ${AUTH} mechanism='PLAIN'>${base64("\0mallory\0pw\0alice\0x")}</auth>`]],
    [
      "characters that some decoders skip",
      [`<auth ${AUTH} mechanism='PLAIN'>${victim.slice(0, 4)}-_${victim.slice(4)}</auth>`],
    ],
    ["CDATA", [`<auth ${AUTH} mechanism='PLAIN'><![CDATA[${victim}]]></auth>`]],
    ["a comment of a child", [`<auth ${AUTH} mechanism='PLAIN'>${victim}<x/></auth>`]],
    ["references", [`<auth ${AUTH} mechanism='PLAIN'>&#65;${victim.slice(1)}</auth>`]],
    ["two padded messages", [`<auth ${AUTH} mechanism='PLAIN'>${base64("\0mallory\0p")}${victim}</auth>`]],
    [
      "bits behind the end",
      [`<auth ${AUTH} mechanism='PLAIN'>${base64("\0alice\0pw1").replace(/Q==$/, "R==")}</auth>`],
    ],
    ["a mechanism in small letters", [`<auth ${AUTH} mechanism='plain'>${victim}</auth>`]],
    ["no mechanism", [`<auth ${AUTH}>${victim}</auth>`]],
    [
      "a bearer token with an authzid",
      [`<auth ${AUTH} mechanism='OAUTHBEARER'>${base64("n,a=alice,\x01auth=Bearer t\x01\x01")}</auth>`],
    ],
    ["SCRAM with an authzid", [`<auth ${AUTH} mechanism='SCRAM-SHA-1'>${base64("n,a=alice,n=mallory,r=x")}</auth>`]],
    [
      "an authzid in another domain",
      [`<auth ${AUTH} mechanism='PLAIN'>${base64("alice@evil.example\0alice\0pw")}</auth>`],
    ],
    ["nothing at all", [`<auth ${AUTH} mechanism='PLAIN'>=</auth>`]],
    ["an empty element", [`<auth ${AUTH} mechanism='PLAIN'/>`]],
  ] as const) {
    test(`not with ${what}`, async (t) => {
      const wire = await Wire.start(t);
      const { sm, client: alice } = await wire.managed();
      wire.core.script.onElement = (stream, { name }) => {
        if (name === "auth") stream.succeed("mallory");
        return name === "auth";
      };
      const { client } = await wire.opened();
      for (const element of elements) client.write(element);
      assert.equal((await client.next()).name, "success");
      await client.open();
      const answer = await client.resume(sm);
      assert.match(answer.xml, /<failed xmlns='urn:xmpp:sm:3'><item-not-found /, "no h either: that would be a hint");
      await alice.fence();
      await client.bind("hers");
    });
  }

  test("not with a name from an exchange that failed, or was aborted", async (t) => {
    const wire = await Wire.start(t);
    wire.core.script.mechanisms = ["PLAIN", "EXTERNAL"];
    const { sm } = await wire.managed();
    const { client } = await wire.opened();
    client.write(`<auth ${AUTH} mechanism='PLAIN'>${victim}</auth>`);
    assert.equal((await client.next()).name, "failure");
    wire.core.script.onElement = (stream, { name }) => {
      if (name === "auth") stream.write(`<challenge ${AUTH}>${base64("who?")}</challenge>`);
      if (name === "response") stream.succeed("mallory");
      return name === "auth" || name === "response";
    };
    client.write(`<auth ${AUTH} mechanism='PLAIN'>${victim}</auth>`);
    assert.equal((await client.next()).name, "challenge");
    client.write(`<abort ${AUTH}/>`);
    assert.equal((await client.next()).name, "failure");
    client.write(`<auth ${AUTH} mechanism='EXTERNAL'>${base64("alice")}</auth>`);
    assert.equal((await client.next()).name, "challenge");
    client.write(`<response ${AUTH}>${victim}</response>`);
    assert.equal((await client.next()).name, "success");
    await client.open();
    assert.match((await client.resume(sm)).xml, /item-not-found/);
  });

  test("and its owner does, with other letters and with her domain", async (t) => {
    const wire = await Wire.start(t);
    const { sm, client } = await wire.managed();
    client.drop();
    for (const user of ["ALICE", "alice@localhost"]) {
      const again = await wire.authenticated({ user });
      assert.equal((await again.client.resume(sm)).name, "resumed");
    }
  });

  test("and an account of the same name in another domain is another account", async (t) => {
    const wire = await Wire.start(t, { domains: ["localhost", "other.example"] });
    const { sm } = await wire.managed();
    const { client } = await wire.authenticated({ domain: "other.example" });
    assert.match((await client.resume(sm)).xml, /item-not-found/);
  });
});
