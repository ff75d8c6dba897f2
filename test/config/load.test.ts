import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigMistakes } from "../../src/config/mistakes.ts";
import { loaded, mistakesOf, SMALL } from "./support.ts";

test("the smallest configuration is completed: defaults, the only core, absolute paths", () => {
  const { config } = loaded(SMALL);
  assert.equal(config.domains[0]?.core, "main");
  assert.deepEqual(config.domains[0]?.certificates, [
    { certificate: "/etc/breakwater/example.org.crt", key: "/etc/breakwater/example.org.key" },
  ]);
  assert.deepEqual(config.listeners[0]?.listen, { host: "::", port: 5222 });
  assert.deepEqual(config.cores[0]?.connect, { transport: "tcp", host: "127.0.0.1", port: 14222 });
  assert.equal(config.stream_management.hold_time, 600);
  assert.deepEqual(config.ops.listen, { host: "127.0.0.1", port: 9090 });
});

test("what a core may leave unacknowledged follows from its kind, unless it is written", () => {
  const core = (text: string) => loaded(SMALL.replace("name: main,", `name: main, ${text},`)).config.cores[0];
  const byKind = { ejabberd: 4000, prosody: 400, tigase: 1600, openfire: 8000, mongooseim: 80, other: 400 };
  for (const [kind, count] of Object.entries(byKind)) assert.equal(core(`kind: ${kind}`)?.max_unacked, count);
  assert.equal(core("kind: ejabberd, max_unacked: 50")?.max_unacked, 50);
});

test("a section of which only the name is written has its defaults", () => {
  assert.equal(loaded(`${SMALL}log:\ntls:\n`).config.log.level, "info");
});

test("all mistakes are told at once, in the order of the file, each with line, key, what was expected and what was found", () => {
  const text = `domains:
  - name: example.org
    certificate: a.crt
  - name: Example.ORG
    core: mian
    certificate: a.crt
    key: a.key
listeners:
  - kind: startls
    listen: 5222
cores:
  - name: main
    conect: tcp://x:1
    connect_timeout: 1000
stream_managment: {}
limits:
  before_login: { max_bytes: 1 }
  max_connections: 1.5
log: { level: loud }
`;
  assert.deepEqual(mistakesOf(text), [
    "3:18: domains[0].certificate: needs `key` beside it",
    '4:11: domains[1].name: the domain "example.org" is here twice',
    '5:11: domains[1].core: no core is named "mian"; did you mean "main"?',
    '9:11: listeners[0].kind: expected one of starttls, tls, plaintext, https, http, all, found "startls"',
    '10:13: listeners[0].listen: expected "host:port", "[IPv6 address]:port" or ":port", found 5222',
    '12:5: cores[0].connect: is missing: expected "tcp://host:port", "tls://host:port" or "unix:/path"',
    "13:5: cores[0].conect: unknown key; did you mean `connect`?",
    "14:22: cores[0].connect_timeout: expected a number from 0.1 to 60 (seconds), found 1000",
    "15:1: stream_managment: unknown key; did you mean `stream_management`?",
    "17:30: limits.before_login.max_bytes: expected a whole number from 8192 to 67108864 (bytes), found 1",
    "18:20: limits.max_connections: expected a whole number from 1 to 1000000 (connections), found 1.5",
    '19:15: log.level: expected one of debug, info, warn, error, silent, found "loud"',
  ]);
});

test("a key that belongs to another section is sent there", () => {
  assert.deepEqual(mistakesOf(`${SMALL}session: { hold_time: 5 }\n`), [
    "9:12: session.hold_time: unknown key here; it belongs to `stream_management.hold_time`",
  ]);
});

test("an unknown key that resembles nothing is answered with the keys that there are", () => {
  assert.match(mistakesOf(`${SMALL}log: { xyzzyx: 5 }\n`)[0]!, /unknown key; known here: level$/);
});

test("the keys of JavaScript's own objects are unknown keys like any other", () => {
  assert.match(
    mistakesOf(`${SMALL}__proto__: { a: 1 }\nconstructor: 1\n`).join("\n"),
    /__proto__: unknown.*\n.*constructor: unknown/,
  );
});

test("missing sections are named", () => {
  assert.deepEqual(
    mistakesOf("log: {}\n").map((line) => line.split(": ").slice(1, 3).join(" ")),
    ["domains is missing", "listeners is missing", "cores is missing"],
  );
});

test("a key that is written twice is told with both lines", () => {
  assert.deepEqual(mistakesOf(`${SMALL}log:\n  level: info\n  level: warn\n`), [
    "11:3: log.level: is here twice; first on line 10",
  ]);
});

test("what is no YAML is told with its line", () => {
  assert.match(mistakesOf("domains:\n\t- a\n")[0]!, /^2:1: not valid YAML: Tabs/);
  assert.match(mistakesOf("a: [1\nb: 2")[0]!, /^2:1: not valid YAML/);
  assert.match(mistakesOf("a: !secret x\n")[0]!, /^1:4: not valid YAML: Unresolved tag/);
  assert.match(mistakesOf("a: 1\n---\nb: 1\n")[0]!, /^2:1: a second YAML document/);
  assert.match(mistakesOf("? { a: 1 }\n: 2\n")[0]!, /^1:3: not valid YAML/);
  assert.match(mistakesOf("a: *nowhere\n")[0]!, /^1:1: not usable/);
});

test("aliases that grow without end are refused", () => {
  const rows = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(", ")}]`);
  assert.match(mistakesOf(`l0: &l0 [x]\n${rows.join("\n")}\n`)[0]!, /not usable: Excessive alias count/);
});

test("another top than a mapping, and an empty file, are told", () => {
  assert.match(mistakesOf("- a\n")[0]!, /found a list$/);
  assert.match(mistakesOf("hello\n")[0]!, /found "hello"$/);
  assert.match(mistakesOf("# nothing\n")[0]!, /^is empty/);
  assert.equal(mistakesOf("{}\n").length, 3);
});

test("a long value is cut where it is shown", () => {
  assert.match(mistakesOf(SMALL.replace("starttls", "x".repeat(5000)))[0]!, /found "x{60}…"$/);
});

test("a file that cannot be read gets a sentence", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "breakwater-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const wrong = (name: string, content?: Buffer) => {
    const file = join(folder, name);
    if (content) writeFileSync(file, content);
    const result = loadConfig(file);
    assert.ok(result instanceof ConfigMistakes);
    return result.lines().map((line) => line.slice(file.length));
  };
  assert.deepEqual(wrong("none.yaml"), [": does not exist"]);
  assert.deepEqual(wrong("."), [": is a folder, not a file"]);
  assert.deepEqual(wrong("binary", Buffer.from([0, 255, 3])), [
    ": is no text in UTF-8; the configuration is a YAML file",
  ]);
  assert.deepEqual(wrong("nul", Buffer.from("a: \0")), [": is no text in UTF-8; the configuration is a YAML file"]);
  assert.match(wrong("huge", Buffer.alloc(5_000_000, " "))[0]!, /has 5000000 bytes/);
});

test("Windows line ends and a byte order mark are no mistake", () => {
  assert.deepEqual(mistakesOf(`\uFEFF${SMALL.replaceAll("\n", "\r\n")}`), []);
});
